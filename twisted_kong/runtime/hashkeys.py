"""What requests are hashed by: the upstream's ``hash_on`` and ``hash_fallback``, and the cookie of sticky sessions.

`hash_keys` makes of an upstream what asks its requests, once, so that a request to an upstream that does not hash costs
nothing. A request is asked when its first attempt is made, and its `Bond` lasts for all of them. Pure: what is known of
a request comes in, bytes come out.

Sources: Kong's documented behaviour (3.9), with these differences: names of headers may have dashes, the cookie says
``SameSite``, and a request without a key has none, instead of the key of all those without one. An empty key is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from twisted_kong.balancing.sticky import ALGORITHM as STICKY
from twisted_kong.balancing.sticky import session
from twisted_kong.interfaces import IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.routing.paths import normalise

ARGUMENTS = 100
"""How many query arguments are looked at (Kong's ``lua_max_uri_args``)."""


class Asked(Protocol):
    """The head of a request."""

    @property
    def path(self) -> bytes: ...
    @property
    def query(self) -> bytes: ...
    def values(self, name: bytes) -> Sequence[bytes]: ...


class Asker(Protocol):
    """Who a request is from: ``address`` after what is believed of it, ``consumer`` is an id, ``captures`` the named
    groups of the route's path."""

    @property
    def address(self) -> str: ...
    @property
    def consumer(self) -> str | None: ...
    def capture(self, name: str) -> bytes | None: ...


Source = Callable[[Asked, Asker], bytes | None]
"""Finds the key of a request; None or empty where it has none."""


class Bond:
    """What binds one request: its ``key``, if any, and the cookie that its answer is to set, if any."""

    __slots__ = ("_cookies", "_made", "key")

    def __init__(self, key: bytes | None, cookies: Cookies | None = None, *, made: bool = False) -> None:
        self.key = key
        self._cookies = cookies
        self._made = made  # the key is the value of a cookie that the client has not got yet

    def mark(self, lines: bytes, peer: IPeer | None) -> bytes:
        """The header ``lines`` of its answer, with the cookie in place of any of that name where it is to be set.

        ``peer`` is who answered: a session that is not with that one yet is from now on. None if nobody did.
        """
        cookies = self._cookies
        if cookies is None:
            return lines
        if cookies.upstream is None:
            return cookies.set(self.key or b"", lines) if self._made else lines
        value = self.key if peer is None else session(cookies.upstream, peer)
        return lines if value is None or value == self.key else cookies.set(value, lines)


class Cookies:
    """A cookie of the gateway's own. ``upstream`` is the id of the one whose sessions it keeps, where it does."""

    def __init__(self, name: str, path: str | None, upstream: str | None = None) -> None:
        self.upstream = upstream
        self._name = name.encode()
        self._end = b"; Path=%b; SameSite=Lax; HttpOnly\r\n" % (path or "/").encode()
        self._same = re.compile(rb"(?m)^(?i:set-cookie): *" + re.escape(self._name) + rb"=[^\r]*\r\n")

    def value(self, asked: Asked) -> bytes | None:
        """What a request brings."""
        for line in asked.values(b"cookie"):
            for pair in line.split(b";"):
                name, equals, value = pair.strip().partition(b"=")
                if equals and value and name == self._name:
                    return value
        return None

    def set(self, value: bytes, lines: bytes) -> bytes:
        """``lines`` that set it to ``value``, once."""
        return b"%bSet-Cookie: %b=%b%b" % (self._same.sub(b"", lines), self._name, value, self._end)


class HashKeys:
    """Binds requests: by the ``sources`` in their order, then by the cookie, which is made where it is missing."""

    def __init__(self, sources: Sequence[Source], cookies: Cookies | None, new_value: Callable[[], str]) -> None:
        self._sources = sources
        self._cookies = cookies
        self._new_value = new_value

    def bind(self, asked: Asked, asker: Asker) -> Bond:
        for source in self._sources:
            key = source(asked, asker)
            if key:
                return Bond(key)
        cookies = self._cookies
        if cookies is None:
            return Bond(None)
        key = cookies.value(asked)
        if key is not None or cookies.upstream is not None:
            return Bond(key, cookies)
        return Bond(self._new_value().encode(), cookies, made=True)


def hash_keys(upstream: Upstream, new_value: Callable[[], str] = lambda: str(uuid4())) -> HashKeys | None:
    """What binds the requests to ``upstream``; None if nothing does. ``new_value`` makes cookies nobody else has."""
    if upstream.algorithm == STICKY:
        session_cookie = Cookies(upstream.sticky_cookie or STICKY, upstream.sticky_cookie_path, upstream.id)
        return HashKeys((), session_cookie, new_value)
    inputs = [upstream.hash_on, upstream.hash_fallback]
    if upstream.hash_on == "none":
        return None
    cookies = None
    if "cookie" in inputs:
        cookies = Cookies(upstream.hash_on_cookie or "", upstream.hash_on_cookie_path)
    makers = zip(("hash_on", "hash_fallback"), inputs, strict=True)
    found = [_source(upstream, which, each) for which, each in makers if each not in ("none", "cookie")]
    return HashKeys(found, cookies, new_value)


def _source(upstream: Upstream, which: str, hash_input: str) -> Source:
    """The source that ``hash_input`` names, with the upstream's field for it."""
    if hash_input == "consumer":
        return lambda asked, asker: (asker.consumer or "").encode()
    if hash_input == "ip":
        return lambda asked, asker: asker.address.encode()
    if hash_input == "path":
        return lambda asked, asker: unquote_to_bytes(normalise(asked.path))
    name = getattr(upstream, f"{which}_{hash_input}") or ""
    if hash_input == "header":
        field = name.lower().encode()
        return lambda asked, asker: b", ".join(asked.values(field))
    if hash_input == "query_arg":
        argument = name.encode()
        return lambda asked, asker: argument_of(asked.query, argument)
    return lambda asked, asker: asker.capture(name)


def argument_of(query: bytes, name: bytes) -> bytes | None:
    """All values of an argument, sorted and joined with commas; one without a value says ``true`` (Kong).

    ``query`` begins with its question mark; at most `ARGUMENTS` of it count.
    """
    found = []
    for argument in query[1:].split(b"&", ARGUMENTS)[:ARGUMENTS]:
        given, equals, value = argument.partition(b"=")
        if given == name or ((b"%" in given or b"+" in given) and _decoded(given) == name):
            found.append(_decoded(value) if equals else b"true")
    return b",".join(sorted(found)) if found else None


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
