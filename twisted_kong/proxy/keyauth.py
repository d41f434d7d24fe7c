"""``key-auth``: who asks is found out by a key, in a header or in the query. Pure.

Kong's documented behaviour (3.9). Which plugin asks for a key is the router's to say; here a request gets past it or
does not. Who has got past is told to the origin in fields that no client can make up.
"""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import unquote_to_bytes

from twisted_kong.errors import NoAnonymous, Unauthorized
from twisted_kong.model.access import KeyAuthConfig
from twisted_kong.model.entities import Consumer, KeyauthCredential
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.proxy.headers import RequestHead

NO_KEY = "No API key found in request"
SEVERAL_KEYS = "Duplicate API key found"
WRONG_KEY = "Unauthorized"

TOLD = frozenset(
    [
        b"x-consumer-id",
        b"x-consumer-custom-id",
        b"x-consumer-username",
        b"x-credential-identifier",
        b"x-anonymous-consumer",
    ]
)
"""The fields in which the origin is told who asks."""

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def admit(config: KeyAuthConfig, head: RequestHead, snapshot: Snapshot, now: float) -> Consumer | None:
    """Who asks; ``head`` is changed to say so, and to hide the key where ``config`` wants that.

    ``now`` is seconds since the epoch. None is a preflight that nobody need own.

    :raise Unauthorized: nobody has this key, or there is none or more than one, and no anonymous consumer.
    :raise NoAnonymous: there is meant to be one, but there is not.
    """
    if head.method == b"OPTIONS" and not config.run_on_preflight:
        _rewrite(head, b"", TOLD)
        return None
    name, keys = _find(config, head)
    credential: KeyauthCredential | None = None
    try:
        credential = _owned(keys, snapshot, now, _challenge(config))
        consumer = cast(Consumer, snapshot.get("consumers", credential.consumer.id))
    except Unauthorized:
        if config.anonymous is None:
            raise
        consumer = _anonymous(config.anonymous, snapshot)
    if name and config.hide_credentials:
        _rewrite(head, b"", frozenset([_dashed(name)]))
        head.query = _without_argument(head.query, name)
    _rewrite(head, _lines(consumer, credential), TOLD)
    return consumer


# -- the key ---------------------------------------------------------------------------------------------------


def _find(config: KeyAuthConfig, head: RequestHead) -> tuple[bytes, list[bytes]]:
    """The first of the names under which there is anything, and what there is; a header counts before the query."""
    for name in (name.encode() for name in config.key_names):
        values = head.values(name.lower()) if config.key_in_header else []
        if not values and config.key_in_query and head.query:
            values = _argument(head.query, name)
        if values:
            return name, values
    return b"", []


def _argument(query: bytes, name: bytes) -> list[bytes]:
    """The values of an argument, in order; one that never has a value is as good as none."""
    found = [piece.partition(b"=") for piece in query[1:].split(b"&") if _names(piece, name)]
    return [_decoded(value) for _, _, value in found] if any(equals for _, equals, _ in found) else []


def _without_argument(query: bytes, name: bytes) -> bytes:
    """The query without an argument, otherwise as it came."""
    pieces = query[1:].split(b"&")
    kept = [piece for piece in pieces if not _names(piece, name)]
    if len(kept) == len(pieces):
        return query
    return b"?" + b"&".join(kept) if kept else b""


def _names(piece: bytes, name: bytes) -> bool:
    return _decoded(piece.partition(b"=")[0]) == name


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _owned(keys: list[bytes], snapshot: Snapshot, now: float, challenge: bytes) -> KeyauthCredential:
    """Whose key it is.

    :raise Unauthorized: nobody's.
    """
    if not any(keys):
        raise Unauthorized(NO_KEY, challenge)
    if len(keys) > 1:
        raise Unauthorized(SEVERAL_KEYS, challenge)
    found = cast(
        KeyauthCredential | None, snapshot.find("keyauth_credentials", keys[0].decode("utf-8", "surrogateescape"))
    )
    if found is None or (found.ttl and found.updated_at + found.ttl <= now):
        raise Unauthorized(WRONG_KEY, challenge)
    return found


def _challenge(config: KeyAuthConfig) -> bytes:
    """What a client is told to bring (RFC 9110 §11.6.1); the realm is a quoted string (§5.6.4)."""
    if config.realm is None:
        return b"Key"
    return b'Key realm="%b"' % re.sub(rb'(["\\])', rb"\\\1", _field(config.realm))


def _anonymous(name: str, snapshot: Snapshot) -> Consumer:
    """The consumer of this id or username."""
    found = snapshot.get("consumers", name.lower()) or snapshot.find("consumers", name)
    if found is None:
        raise NoAnonymous(name)
    return cast(Consumer, found)


# -- what the origin is told -------------------------------------------------------------------------------------


def _lines(consumer: Consumer, credential: KeyauthCredential | None) -> bytes:
    """Who asks; a key of nobody's makes the consumer the anonymous one."""
    told = (
        (b"X-Consumer-ID", consumer.id),
        (b"X-Consumer-Custom-ID", consumer.custom_id),
        (b"X-Consumer-Username", consumer.username),
        (b"X-Credential-Identifier", credential and credential.id),
        (b"X-Anonymous-Consumer", None if credential else "true"),
    )
    return b"".join(b"%b: %b\r\n" % (name, _field(value)) for name, value in told if value)


def _field(text: str) -> bytes:
    """A text as the value of a field, which cannot hold control characters: they are percent-encoded."""
    return _CONTROL.sub(lambda found: b"%%%02X" % found[0][0], text.encode())


def _rewrite(head: RequestHead, lines: bytes, dropped: frozenset[bytes]) -> None:
    """Let ``head`` pass on these lines instead of the fields that are ``dropped``.

    Underscores count as dashes: to many an origin, they are.
    """
    kept = [line for line in head.passing.split(b"\r\n") if _dashed(line.partition(b":")[0]) not in dropped]
    head.passing = lines + b"\r\n".join(kept)


def _dashed(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")
