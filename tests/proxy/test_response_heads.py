"""Heads of answers: what they say, what is understood although it is not quite HTTP, and what is refused."""

from __future__ import annotations

import pytest

from twisted_kong.errors import BadGateway
from twisted_kong.proxy.headers import ResponseHead, ResponseParser, has_bare_line_feed, with_charset

OK = b"HTTP/1.1 200 OK"


def parse(head: bytes, charset: bytes | None = None) -> ResponseHead:
    return ResponseParser(charset).parse(head)


def with_lines(*lines: bytes) -> ResponseHead:
    return parse(b"\r\n".join((OK, *lines)))


def test_everything() -> None:
    """A head is its status, its words and its fields."""
    head = with_lines(b"Content-Type:  a/b ", b"Content-Length: 7", b"Server: mine", b"set-cookie: a", b"Set-Cookie: b")
    assert (head.status, head.reason) == (200, b"OK")
    assert head.passing == b"Content-Type: a/b\r\nset-cookie: a\r\nSet-Cookie: b\r\n"
    assert (head.meaning.length, head.meaning.chunked, head.meaning.persistent) == (7, False, True)
    assert head.meaning.value(b"server") == b"mine"


@pytest.mark.parametrize(
    ("line", "status", "reason", "persistent"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK", True),
        (b"HTTP/1.1 404 Not  found ", 404, b"Not  found ", True),
        (b"HTTP/1.1 200 ", 200, b"", True),
        (b"HTTP/1.1 200", 200, b"", True),
        (b"HTTP/1.0 200 OK", 200, b"OK", False),
        (b"HTTP/1.1 999 \xfc\t", 999, b"\xfc\t", True),
        (b"HTTP/1.1 100 Continue", 100, b"Continue", True),
    ],
)
def test_status_lines(line: bytes, status: int, reason: bytes, persistent: bool) -> None:
    """A status has three digits; its words may be any, or missing."""
    head = parse(line)
    assert (head.status, head.reason, head.meaning.persistent) == (status, reason, persistent)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 20",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 099",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 abc OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1\t200 OK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/2.0 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1 200 \x00",
        b"HTTP/1.1 200 a\rb",
        b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK",
    ],
)
def test_malformed_status_lines(line: bytes) -> None:
    """Anything else is no status line."""
    with pytest.raises(BadGateway):
        parse(line)


@pytest.mark.parametrize(
    "lines",
    [
        [b"no colon"],
        [b""],
        [b"X : a"],
        [b" X: a"],
        [b"X: a", b" folded"],
        [b": a"],
        [b"X: a\0b"],
        [b"X: a\rb"],
        [b"X\xe9: a"],
        [b"Content-Length: abc"],
        [b"Content-Length: -1"],
        [b"Content-Length: 1, 1"],
        [b"Content-Length:"],
        [b"Content-Length: 4", b"Content-Length: 4"],
        [b"Content-Length: 4", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: identity"],
    ],
)
def test_refused(lines: list[bytes]) -> None:
    """What is malformed or could be read in two ways is refused, and it is the origin's fault."""
    with pytest.raises(BadGateway):
        with_lines(*lines)


def test_chunks_in_http_1_0() -> None:
    """HTTP/1.0 knows no transfer codings."""
    with pytest.raises(BadGateway):
        parse(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked")


def test_line_feeds_alone() -> None:
    """Lines may end in a line feed alone; what is passed on does not."""
    for head in (b"HTTP/1.1 200 OK\nX: a\nContent-Length: 4", b"HTTP/1.1 200 OK\nX: a\r\nContent-Length: 4"):
        parsed = parse(head)
        assert (parsed.status, parsed.passing, parsed.meaning.length) == (200, b"X: a\r\n", 4)


def test_fields_that_end_here() -> None:
    """What concerns the origin's connection, steers nginx, or is the gateway's to say is not passed on as it came."""
    names = [
        b"Keep-Alive",
        b"Proxy-Connection",
        b"Upgrade",
        b"Trailer",
        b"Server",
        b"Via",
        b"X-Accel-Redirect",
        b"X-Accel-Buffering",
        b"X-Kong-Proxy-Latency",
        b"X-Kong-Upstream-Latency",
        b"X-Kong-Response-Latency",
        b"X-Kong-Upstream-Status",
        b"X-Kong-Request-Id",
        b"x-kong-REQUEST-id",
    ]
    lines = [name + b": 7" for name in names]
    assert with_lines(*lines, b"Connection: x-own, Keep-Alive", b"X-Own: 1", b"X-Kong-Other: 2").passing == (
        b"X-Kong-Other: 2\r\n"
    )


@pytest.mark.parametrize(
    ("media_type", "passed"),
    [
        (b"text/html", b"text/html; charset=UTF-8"),
        (b"Text/Plain", b"Text/Plain; charset=UTF-8"),
        (b"text/xml;x=y", b"text/xml;x=y; charset=UTF-8"),
        (b"application/rss+xml", b"application/rss+xml; charset=UTF-8"),
        (b"text/html; charset=x", b"text/html; charset=x"),
        (b"text/html; Charset=x", b"text/html; Charset=x"),
        (b"text/odd", b"text/odd"),
        (b"application/json", b"application/json"),
        (b"", b""),
    ],
)
def test_charset(media_type: bytes, passed: bytes) -> None:
    """Texts that do not name a character set are given one, as nginx does, or are left alone."""
    assert with_charset(media_type, b"UTF-8") == passed
    head = OK + b"\r\nContent-Type: " + media_type
    assert parse(head, b"UTF-8").passing == b"Content-Type: %b\r\n" % passed
    assert parse(head).passing == b"Content-Type: %b\r\n" % media_type


@pytest.mark.parametrize(
    ("data", "start", "found"),
    [(b"a\r\nb", 0, False), (b"a\nb", 0, True), (b"\n", 0, True), (b"a\r\nb", 2, False), (b"a\nb\r\n", 2, False)],
)
def test_bare_line_feeds(data: bytes, start: int, found: bool) -> None:
    """A line feed is bare unless a carriage return stands before it, looked at or not."""
    assert has_bare_line_feed(data, start) is found
