"""Heads of requests: what they say, and what is refused because it could be read in two ways."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from twisted_kong.errors import (
    CodingNotSupported,
    HeadTooLarge,
    ProxyError,
    RequestRefused,
    TargetTooLong,
    VersionNotSupported,
)
from twisted_kong.proxy.headers import RequestHead, RequestParser

GET = b"GET / HTTP/1.1\r\nHost: a.test"


def parse(head: bytes) -> RequestHead:
    return RequestParser(8192, 32768).parse(head)


def with_lines(*lines: bytes) -> RequestHead:
    return parse(b"\r\n".join((GET, *lines)))


# -- understood ------------------------------------------------------------------------------------------------


def test_everything() -> None:
    """A head is its method, its path and query as they came, its version and its fields."""
    head = parse(b"PATCH /a/../b%20c?d=e?f HTTP/1.1\r\nhOST: a.test:8000\r\nX-One: 1\r\nx-two:2\r\nX-ONE:\t3 \t")
    assert (head.method, head.path, head.query, head.minor) == (b"PATCH", b"/a/../b%20c", b"?d=e?f", 1)
    assert (head.host, head.hostname) == (b"a.test:8000", b"a.test")
    assert head.values(b"x-one") == [b"1", b"3"]
    assert head.values(b"host") == [b"a.test:8000"]
    assert head.values(b"x-three") == []
    assert head.passing == b"X-One: 1\r\nx-two: 2\r\nX-ONE: 3\r\n"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/?", b"/", b"?"),
        (b"/?a=b?c", b"/", b"?a=b?c"),
        (b"//x//", b"//x//", b""),
        (b"/a:b@c;d=e,f|g{h}", b"/a:b@c;d=e,f|g{h}", b""),
        (b'/\xc3\xbc\\"<>^`', b'/\xc3\xbc\\"<>^`', b""),
        (b"http://b.test", b"/", b""),
        (b"http://b.test/", b"/", b""),
        (b"HTTP://b.test/x?y", b"/x", b"?y"),
        (b"https://b.test:1/x/http://c.test/", b"/x/http://c.test/", b""),
        (b"http://b.test?y", b"/", b"?y"),
    ],
)
def test_targets(target: bytes, path: bytes, query: bytes) -> None:
    """A target is a path, with or without the authority before it, and is kept byte for byte."""
    head = parse(b"GET %b HTTP/1.1\r\nHost: a.test" % target)
    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize(
    ("target", "host", "hostname"),
    [
        (b"http://b.test/", b"b.test", b"b.test"),
        (b"http://B.test:81?x", b"B.test:81", b"B.test"),
        (b"http://[::1]:81/", b"[::1]:81", b"[::1]"),
        (b"/http://b.test/", b"a.test", b"a.test"),
    ],
)
def test_authority_of_the_target(target: bytes, host: bytes, hostname: bytes) -> None:
    """The authority of an absolute form takes the place of Host (RFC 9112 §3.2.2)."""
    head = parse(b"GET %b HTTP/1.1\r\nHost: a.test" % target)
    assert (head.host, head.hostname) == (host, hostname)
    assert b"ost" not in head.passing


@pytest.mark.parametrize(
    ("host", "hostname"),
    [
        (b"a.test", b"a.test"),
        (b"a.test:8000", b"a.test"),
        (b"a.test:", b"a.test"),
        (b"[::1]", b"[::1]"),
        (b"[fe80::1]:80", b"[fe80::1]"),
        (b"192.0.2.1:80", b"192.0.2.1"),
        (b"under_score.test", b"under_score.test"),
        (b"A.TEST.", b"A.TEST."),
    ],
)
def test_hosts(host: bytes, hostname: bytes) -> None:
    """A Host is a name or an address, perhaps with a port."""
    head = parse(b"GET / HTTP/1.1\r\nHost: %b" % host)
    assert (head.host, head.hostname) == (host, hostname)


def test_no_host_in_http_1_0() -> None:
    """Only HTTP/1.0 may do without a Host."""
    head = parse(b"GET / HTTP/1.0")
    assert (head.host, head.hostname, head.minor) == (b"", b"", 0)


@pytest.mark.parametrize(
    ("lines", "length", "chunked", "has_body"),
    [
        ([], None, False, False),
        ([b"Content-Length: 0"], 0, False, False),
        ([b"Content-Length: 10"], 10, False, True),
        ([b"Content-Length: 0000000010"], 10, False, True),
        ([b"content-LENGTH:10\t"], 10, False, True),
        ([b"Transfer-Encoding: chunked"], None, True, True),
        ([b"transfer-encoding:\tCHUNKED "], None, True, True),
        ([b"Content_Length: 10"], None, False, False),
    ],
)
def test_bodies(lines: list[bytes], length: int | None, chunked: bool, has_body: bool) -> None:
    """One length or chunked says that a body follows; nothing else does."""
    meaning = with_lines(*lines).meaning
    assert (meaning.length, meaning.chunked, meaning.has_body) == (length, chunked, has_body)


@pytest.mark.parametrize(
    ("version", "connection", "persistent"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"x ,\tClose"], False),
        (b"1.1", [b"keep-alive", b"close"], False),
        (b"1.1", [b"closed"], True),
        (b"1.0", [], False),
        (b"1.0", [b"Keep-Alive"], True),
        (b"1.0", [b"close, keep-alive"], False),
    ],
)
def test_persistence(version: bytes, connection: list[bytes], persistent: bool) -> None:
    """The version decides whether the connection goes on unless Connection does (RFC 9112 §9.3)."""
    lines = [b"GET / HTTP/" + version, b"Host: a.test", *(b"Connection: " + value for value in connection)]
    assert parse(b"\r\n".join(lines)).meaning.persistent is persistent


# -- passed on -------------------------------------------------------------------------------------------------

ENDS_HERE = [
    b"Connection",
    b"Keep-Alive",
    b"Proxy",
    b"Proxy-Connection",
    b"TE",
    b"Upgrade",
    b"Expect",
    b"HTTP2-Settings",
    b"Via",
    b"X-Forwarded-For",
    b"X-Forwarded-Host",
    b"X-Forwarded-Path",
    b"X-Forwarded-Port",
    b"X-Forwarded-Prefix",
    b"X-Forwarded-Proto",
    b"X-Kong-Request-Id",
    b"X-Real-IP",
]


@pytest.mark.parametrize("name", [b"Content-Length", *ENDS_HERE])
@pytest.mark.parametrize("change", [bytes.lower, bytes.upper, bytes.title])
def test_fields_that_end_here(name: bytes, change: Callable[[bytes], bytes]) -> None:
    """What concerns one connection, or is the gateway's to say, is not passed on as it came, however it is spelled."""
    assert with_lines(b"X-Before: 1", change(name) + b": 7", b"X-After: 2").passing == b"X-Before: 1\r\nX-After: 2\r\n"


def test_connection_names_fields() -> None:
    """The fields that Connection names end here, wherever they stand and however they are spelled (RFC 9110 §7.6.1)."""
    head = with_lines(
        b"X-Own: 1", b"Connection: x-OWN , other", b"x-own: 2", b"Connection:,X-Third", b"x-third: 3", b"X-Kept: 4"
    )
    assert head.passing == b"X-Kept: 4\r\n"
    assert head.values(b"x-own") == [b"1", b"2"]


@pytest.mark.parametrize("name", [b"Host", b"X-Forwarded-For", b"Via", b"X-Real-IP"])
def test_connection_does_not_name_ours(name: bytes) -> None:
    """What the gateway itself has to say cannot be taken away by naming it in Connection."""
    claims = {b"x-forwarded-for": b"10.0.0.1", b"via": b"1.1 x", b"x-real-ip": b"10.0.0.2"}
    head = with_lines(b"Connection: " + name, *(b"%b: %b" % claim for claim in claims.items()))
    assert head.host == b"a.test"
    assert {each: head.meaning.value(each) for each in claims} == claims


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_named_framing_still_counts(framing: bytes) -> None:
    """A length or coding named in Connection still says where the body ends."""
    assert with_lines(b"Connection: " + framing.partition(b":")[0], framing).meaning.has_body


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Basic eA==",
        b"Proxy-Authorization: x",
        b"Proxy-Authenticate: x",
        b'Cookie: a=1; b="2"',
        b"X_Under_Score: x",
        b"Content_Length: 10",
        b"X: \xff\xfe",
        b"X: a\tb",
        b"!#$%&'*+-.^_`|~: :",
        b"X: ",
        b"close: x",
    ],
)
def test_everything_else_is_passed_on(line: bytes) -> None:
    """Any other field is passed on in its own spelling."""
    assert with_lines(line).passing == line + b"\r\n"


def test_values_of_special_fields() -> None:
    """Several values of a special field are one list (RFC 9110 §5.3)."""
    head = with_lines(b"Via: 1.1 a", b"x-forwarded-for: 10.0.0.1", b"VIA: 1.1 b")
    assert head.meaning.value(b"via") == b"1.1 a, 1.1 b"
    assert head.meaning.value(b"x-forwarded-for") == b"10.0.0.1"
    assert head.meaning.value(b"te") is None
    assert head.values(b"via") == [b"1.1 a", b"1.1 b"]


@pytest.mark.parametrize(
    ("line", "claims"),
    [(b"X-Real-IP: x", True), (b"X-Forwarded-Port: x", True), (b"Via: x", True), (b"TE: x", True), (b"X: y", False)],
)
def test_claims(line: bytes, claims: bool) -> None:
    """Whether a client says something of itself or its way here is known at once."""
    assert with_lines(line).meaning.claims is claims


# -- refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"GET",
        b"GET /",
        b"GET / HTTP",
        b"GET / HTTP/1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1.1.1",
        b"GET / HTTP/11",
        b"GET / HTTP/+1.1",
        b"GET / XHTTP/1.1",
        b"G(T / HTTP/1.1",
        b"G\xc9T / HTTP/1.1",
        b"GET: / HTTP/1.1",
        b"GET /a\x00b HTTP/1.1",
        b"GET /a\x01b HTTP/1.1",
        b"GET /a\x7fb HTTP/1.1",
        b"GET /a\rb HTTP/1.1",
        b"GET /a\nb HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET ?a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET ftp://a.test/ HTTP/1.1",
        b"GET http:/a.test/ HTTP/1.1",
        b"GET http:// HTTP/1.1",
        b"GET http:///x HTTP/1.1",
        b"GET http://u@a.test/ HTTP/1.1",
        b"GET http://u:p@a.test/ HTTP/1.1",
        b"GET http://a.test:x/ HTTP/1.1",
        b"GET http://a\\.test/ HTTP/1.1",
        b"GET http://[::1/ HTTP/1.1",
    ],
)
def test_malformed_request_lines(line: bytes) -> None:
    """A request line is a token, one blank, a path or an http URI, one blank, and HTTP/1.x."""
    with pytest.raises(RequestRefused) as refusal:
        parse(line + b"\r\nHost: a.test")
    assert refusal.value.status == 400


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"3.0", b"9.9"])
def test_other_versions(version: bytes) -> None:
    """Any other version is told so."""
    with pytest.raises(VersionNotSupported):
        parse(b"GET / HTTP/%b\r\nHost: a.test" % version)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"X",
        b"X 1",
        b": 1",
        b" X: 1",
        b"\tX: 1",
        b"X : 1",
        b"X\t: 1",
        b"X A: 1",
        b"X(A): 1",
        b"X\xe9: 1",
        b"X\x00: 1",
        b"X: 1\x002",
        b"X: 1\r2",
        b"X: 1\n2",
        b"X: 1\nY: 2",
        b"X: 1\r",
        b"X: \x0b",
        b"X: \x1f",
        b"X: \x7f",
        b"X: 1\r\n folded",
        b"X: 1\r\n\tfolded",
        b"Transfer-Encoding : chunked",
        b"Content-Length : 1",
    ],
)
def test_malformed_fields(line: bytes) -> None:
    """A field is a token, a colon and a value without control characters, on one line."""
    with pytest.raises(RequestRefused):
        with_lines(line)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a test",
        b"a/b",
        b"u@a.test",
        b"a.test:x",
        b"a.test:80:80",
        b"::1",
        b"a.test:123456",
        b"a\\b",
        b"[::1",
        b"a,b/c",
    ],
)
def test_malformed_hosts(host: bytes) -> None:
    """A Host that is none is refused."""
    with pytest.raises(RequestRefused):
        parse(b"GET / HTTP/1.1\r\nHost: " + host)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nX-Host: a.test",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nhost: b.test",
        b"GET / HTTP/1.0\r\nHost: a.test\r\nHost: a.test",
        b"GET http://a.test/ HTTP/1.1",
    ],
)
def test_one_host(head: bytes) -> None:
    """There is exactly one Host, and in HTTP/1.0 at most one (RFC 9112 §3.2)."""
    with pytest.raises(RequestRefused):
        parse(head)


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"+1", b"0x1", b"abc", b"1a", b"1 1", b"1,1", b"1_0", b"\xd9\xa1", b"9" * 19]
)
def test_malformed_lengths(value: bytes) -> None:
    """A length is decimal digits, and not too many of them."""
    with pytest.raises(RequestRefused):
        with_lines(b"Content-Length: " + value)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], RequestRefused),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 5"], RequestRefused),
        ([b"Content-Length: 5", b"Content-Length: 5"], RequestRefused),
        ([b"Content-Length: 5", b"content-length: 6"], RequestRefused),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], RequestRefused),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], RequestRefused),
        ([b"Transfer-Encoding: identity"], CodingNotSupported),
        ([b"Transfer-Encoding: xchunked"], CodingNotSupported),
        ([b"Transfer-Encoding: gzip, chunked"], CodingNotSupported),
        ([b"Transfer-Encoding: chunked, identity"], CodingNotSupported),
        ([b"Transfer-Encoding: ,chunked"], CodingNotSupported),
        ([b"Transfer-Encoding: chunked,"], CodingNotSupported),
        ([b'Transfer-Encoding: "chunked"'], CodingNotSupported),
        ([b"Transfer-Encoding:"], CodingNotSupported),
        ([b"Transfer-Encoding: chunked\xa0"], CodingNotSupported),
        ([b"Transfer-Encoding: chunked;x=y"], CodingNotSupported),
    ],
)
def test_ambiguous_framing(lines: list[bytes], error: type[ProxyError]) -> None:
    """Where the body ends can be said in one way only (RFC 9112 §6.1, §6.3)."""
    with pytest.raises(error):
        with_lines(*lines)


def test_chunks_in_http_1_0() -> None:
    """HTTP/1.0 knows no transfer codings."""
    with pytest.raises(RequestRefused):
        parse(b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked")


# -- sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"GET /%b HTTP/1.1\r\nHost: a" % (b"a" * 86), None),
        (b"GET /%b HTTP/1.1\r\nHost: a" % (b"a" * 87), TargetTooLong),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: %b" % (b"a" * 97), None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: %b" % (b"a" * 98), HeadTooLarge),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: %b\r\n" % (b"a" * 80) * 3 + b"Y: " + b"b" * 17, None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: %b\r\n" % (b"a" * 80) * 3 + b"Y: " + b"b" * 18, HeadTooLarge),
        (b"GET /%b HTTP/1.1\r\nX: %b" % (b"a" * 200, b"a" * 200), TargetTooLong),
    ],
)
def test_limits(head: bytes, error: type[ProxyError] | None) -> None:
    """No line is longer than a buffer and no head than all of them; a long request line is told apart."""
    parser = RequestParser(100, 300)
    if error is None:
        assert len(parser.parse(head).host) == 1
    else:
        with pytest.raises(error):
            parser.parse(head)


def test_blanks_are_read_once() -> None:
    """A line of nothing but blanks costs time in proportion to its length, whatever comes at its end."""
    parser = RequestParser(1 << 17, 1 << 18)
    line = b"X:" + b" " * 100_000 + b"\x01"
    begin = time.process_time()
    with pytest.raises(RequestRefused):
        parser.parse(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + line)
    assert time.process_time() - begin < 1  # tried in every way it took minutes
