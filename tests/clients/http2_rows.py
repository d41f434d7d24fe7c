"""Requests over HTTP/2 that would be another, or two, in HTTP/1.1: what a client sends, and what origins get of it."""

from __future__ import annotations

from typing import NamedTuple

from smuggling_rows import EVIL, Passed

Fields = tuple[tuple[bytes, bytes], ...]


class Row(NamedTuple):
    """A head and a body; ``passed`` is None where nothing is passed on."""

    name: str
    fields: Fields
    body: bytes
    passed: Passed | None


def head(
    method: bytes = b"POST",
    path: bytes = b"/",
    authority: bytes = b"aa.test",
    scheme: bytes = b"http",
    more: Fields = (),
) -> Fields:
    return ((b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path), *more)


def _with(*more: tuple[bytes, bytes]) -> Fields:
    return head(more=more)


LINE = b"\r\nX-Evil: 1"
REFUSED = {
    "H2.TE": _with((b"transfer-encoding", b"chunked")),
    "H2.TE in capitals": _with((b"Transfer-Encoding", b"chunked")),
    "H2.CL, too short": _with((b"content-length", b"0")),
    "H2.CL, too long": _with((b"content-length", b"50")),
    "H2.CL twice": _with((b"content-length", b"5"), (b"content-length", b"5")),
    "H2.CL, two in one": _with((b"content-length", b"5, 5")),
    "H2.CL with a plus": _with((b"content-length", b"+5")),
    "H2.CL with a line end": _with((b"content-length", b"5" + LINE)),
    "line end in a value": _with((b"x-a", b"b" + LINE)),
    "line feed in a value": _with((b"x-a", b"b\nx-evil: 1")),
    "CR in a value": _with((b"x-a", b"b\rx-evil: 1")),
    "NUL in a value": _with((b"x-a", b"b\0")),
    "blank before a value": _with((b"x-a", b" b")),
    "blank behind a value": _with((b"x-a", b"b ")),
    "line end in a name": _with((b"x-a: b\r\nx-evil", b"1")),
    "colon in a name": _with((b"x-a: b", b"c")),
    "blank in a name": _with((b"x a", b"b")),
    "capital in a name": _with((b"X-A", b"b")),
    "no name": _with((b"", b"b")),
    "request in the method": head(b"GET / HTTP/1.1\r\nHost: aa.test\r\n\r\nGET"),
    "blank in the method": head(b"GET /evil HTTP/1.1"),
    "no method": head(b""),
    "request in the path": head(path=b"/ HTTP/1.1\r\nHost: aa.test\r\n\r\nGET /evil"),
    "blank in the path": head(path=b"/ HTTP/1.1"),
    "line feed in the path": head(path=b"/a\nb"),
    "fragment": head(path=b"/a#b"),
    "path without a slash": head(path=b"evil"),
    "whole URL for a path": head(path=b"http://evil.test/"),
    "no path": head(path=b""),
    "line end in the authority": head(authority=b"aa.test" + LINE),
    "path in the authority": head(authority=b"aa.test/evil"),
    "name in the authority": head(authority=b"a:b@aa.test"),
    "blank in the authority": head(authority=b"aa.test evil"),
    "line end in the scheme": head(scheme=b"http://evil/ HTTP/1.1\r\nX-A:"),
    "Host that is another": _with((b"host", b"evil.test")),
    "Host twice": _with((b"host", b"aa.test"), (b"host", b"aa.test")),
    "path twice": (*head(), (b":path", b"/evil")),
    "method behind a field": (*head()[1:], (b"x-a", b"b"), (b":method", b"POST")),
    "status": (*head(), (b":status", b"200")),
    "connection": _with((b"connection", b"x-a"), (b"x-a", b"b")),
    "keep-alive": _with((b"keep-alive", b"timeout=5")),
    "proxy-connection": _with((b"proxy-connection", b"keep-alive")),
    "upgrade": _with((b"upgrade", b"websocket")),
    "TE of chunks": _with((b"te", b"chunked")),
    "CONNECT": head(b"CONNECT"),
    "TRACE": head(b"TRACE"),
}
PASSED = {
    "sound": (head(), b"hello", Passed(b"POST", b"/", b"hello")),
    "length": (_with((b"content-length", b"5")), b"hello", Passed(b"POST", b"/", b"hello")),
    "request in the body": (head(), EVIL, Passed(b"POST", b"/", EVIL)),
    "request in the body of a GET": (head(b"GET"), EVIL, Passed(b"GET", b"/", EVIL)),
    "chunks in the body": (head(), b"0\r\n\r\n" + EVIL, Passed(b"POST", b"/", b"0\r\n\r\n" + EVIL)),
    "Host that is the same": (_with((b"host", b"aa.test")), b"hello", Passed(b"POST", b"/", b"hello")),
    "crumbs of cookies": (
        _with((b"cookie", b"a=1"), (b"cookie", b"b=2")),
        b"hello",
        Passed(b"POST", b"/", b"hello", ((b"cookie", b"a=1; b=2"),)),
    ),
    "TE of trailers": (_with((b"te", b"trailers")), b"hello", Passed(b"POST", b"/", b"hello")),
    "HTTP2-Settings": (_with((b"http2-settings", b"AA")), b"hello", Passed(b"POST", b"/", b"hello")),
}
ROWS = [
    *(Row(name, fields, b"hello", None) for name, fields in REFUSED.items()),
    *(Row(name, *row) for name, row in PASSED.items()),
]
