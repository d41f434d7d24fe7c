"""What requests are hashed by, and the cookies that keep them where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from twisted_kong.balancing.sticky import session
from twisted_kong.model.entities import Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.runtime.hashkeys import ARGUMENTS, Bond, HashKeys, argument_of, hash_keys
from twisted_kong.testing import some_peers

SCHEMA = Schema(["sticky"])


@dataclass
class Asked:
    """A request that says this."""

    path: bytes = b"/"
    query: bytes = b""
    fields: Sequence[tuple[bytes, bytes]] = ()

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each == name]


@dataclass
class Asker:
    """Who says it."""

    address: str = "10.1.2.3"
    consumer: str | None = None
    captures: dict[str, bytes] = field(default_factory=dict)

    def capture(self, name: str) -> bytes | None:
        return self.captures.get(name)


def keys_of(**fields: Any) -> HashKeys:
    found = hash_keys(SCHEMA.build(Upstream, {"name": "orders", **fields}, now=1500000000.0), lambda: "made-up")
    assert found is not None
    return found


def bound(asked: Asked, asker: Asker | None = None, **fields: Any) -> Bond:
    return keys_of(**fields).bind(asked, asker or Asker())


def test_nothing_to_hash_by() -> None:
    """An upstream that does not hash has nothing to ask."""
    upstream = SCHEMA.build(Upstream, {"name": "orders"}, now=1500000000.0)
    assert hash_keys(upstream) is None


@pytest.mark.parametrize(
    ("fields", "asked", "asker", "key"),
    [
        ({"hash_on": "ip"}, Asked(), Asker(), b"10.1.2.3"),
        ({"hash_on": "consumer"}, Asked(), Asker(consumer="c-1"), b"c-1"),
        ({"hash_on": "consumer"}, Asked(), Asker(), None),
        ({"hash_on": "header", "hash_on_header": "X-Some-Name"}, Asked(fields=[(b"x-some-name", b"v")]), Asker(), b"v"),
        (
            {"hash_on": "header", "hash_on_header": "a"},
            Asked(fields=[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]),
            Asker(),
            b"1, 3",
        ),
        ({"hash_on": "header", "hash_on_header": "a"}, Asked(), Asker(), None),
        ({"hash_on": "path"}, Asked(b"/root/../%2e/root///././x/../.y/./%28%29"), Asker(), b"/root/.y/()"),
        ({"hash_on": "query_arg", "hash_on_query_arg": "q"}, Asked(query=b"?q=1"), Asker(), b"1"),
        ({"hash_on": "uri_capture", "hash_on_uri_capture": "u"}, Asked(), Asker(captures={"u": b"7"}), b"7"),
        ({"hash_on": "uri_capture", "hash_on_uri_capture": "u"}, Asked(), Asker(), None),
        ({"hash_on": "cookie", "hash_on_cookie": "c"}, Asked(fields=[(b"cookie", b"b=1; c=x=y")]), Asker(), b"x=y"),
    ],
    ids=str,
)
def test_inputs(fields: dict[str, Any], asked: Asked, asker: Asker, key: bytes | None) -> None:
    """Every input is read as Kong reads it; where it is missing there is no key."""
    assert bound(asked, asker, **fields).key == key


FALLBACKS: list[tuple[dict[str, Any], bytes]] = [
    ({"hash_fallback": "ip"}, b"10.1.2.3"),
    ({"hash_fallback": "header", "hash_fallback_header": "b"}, b"2"),
    ({"hash_fallback": "query_arg", "hash_fallback_query_arg": "q"}, b"1"),
    ({"hash_fallback": "path"}, b"/p"),
    ({"hash_fallback": "cookie", "hash_on_cookie": "c"}, b"3"),
]


@pytest.mark.parametrize(("fallback", "key"), FALLBACKS, ids=str)
def test_fallback(fallback: dict[str, Any], key: bytes) -> None:
    """The fallback is asked where the input is missing, and not where it is there."""
    asked = Asked(b"/p", b"?q=1", [(b"b", b"2"), (b"cookie", b"c=3")])
    fields = {"hash_on": "header", "hash_on_header": "a", **fallback}
    assert bound(asked, **fields).key == key
    asked.fields = [(b"a", b"here"), *asked.fields]
    assert bound(asked, **fields).key == b"here"


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"", None),
        (b"?other=1", None),
        (b"?foo", b"true"),
        (b"?foo=s&foo&foo=1&foo=", b",1,s,true"),
        (b"?f%6fo=%61+b", b"a b"),
        (b"?" + b"x&" * (ARGUMENTS - 1) + b"foo=last", b"last"),
        (b"?" + b"x&" * ARGUMENTS + b"foo=beyond", None),
    ],
)
def test_arguments(query: bytes, value: bytes | None) -> None:
    """All values of an argument count, sorted; one without a value is ``true``; those beyond the hundredth do not."""
    assert argument_of(query, b"foo") == value


# -- cookies ---------------------------------------------------------------------------------------------------

COOKIE: dict[str, Any] = {"hash_on": "cookie", "hash_on_cookie": "c"}
(PEER, OTHER) = some_peers(1, 1)


def test_cookie_there() -> None:
    """A client that brings the cookie is not given another."""
    assert bound(Asked(fields=[(b"cookie", b"c=1")]), **COOKIE).mark(b"A: 1\r\n", PEER) == b"A: 1\r\n"


@pytest.mark.parametrize("peer", [PEER, None])
def test_cookie_made(peer: Any) -> None:
    """A client without it is given one, which is its key, whoever answers; an origin's cookie of that name goes."""
    bond = bound(Asked(), hash_on_cookie_path="/foo", **COOKIE)
    assert bond.key == b"made-up"
    assert bond.mark(b"Set-Cookie: c=theirs; Path=/\r\nset-cookie: d=2\r\nA: 1\r\n", peer) == (
        b"set-cookie: d=2\r\nA: 1\r\nSet-Cookie: c=made-up; Path=/foo; SameSite=Lax; HttpOnly\r\n"
    )


def test_cookies_of_other_names_stay() -> None:
    """The names of cookies are told apart by case, that of their header is not (RFC 6265, 4.1.1 and 5.2)."""
    marked = bound(Asked(), **COOKIE).mark(b"SET-COOKIE: C=theirs\r\nSET-COOKIE: c=theirs\r\n", PEER)
    assert marked.startswith(b"SET-COOKIE: C=theirs\r\nSet-Cookie: c=made-up;")


def test_sessions() -> None:
    """The cookie of a session is set when it begins and when another peer answers, and only if one does."""
    fields: dict[str, Any] = {"algorithm": "sticky", "sticky_cookie": "s"}
    keys = keys_of(**fields)
    new = keys.bind(Asked(), Asker())
    assert new.key is None
    assert new.mark(b"", None) == b""
    (line,) = new.mark(b"", PEER).splitlines()
    value = line.partition(b"s=")[2].partition(b";")[0]
    known = keys.bind(Asked(fields=[(b"cookie", b"s=" + value)]), Asker())
    assert known.key == value
    assert known.mark(b"", PEER) == b""
    assert b"s=" in known.mark(b"", OTHER)


def test_session_value() -> None:
    """It is that of the upstream and the peer, so that the algorithm finds the peer by it."""
    upstream = SCHEMA.build(
        Upstream,
        {"name": "orders", "algorithm": "sticky", "sticky_cookie": "s"},
        now=1500000000.0,
    )
    keys = hash_keys(upstream)
    assert keys is not None
    assert b"s=" + session(upstream.id, PEER) + b";" in keys.bind(Asked(), Asker()).mark(b"", PEER)
