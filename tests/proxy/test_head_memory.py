"""What the parsers of heads remember: it changes nothing but the time they take, and it has an end."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_kong.errors import ProxyError
from twisted_kong.proxy.forwarding import ResponseTokens
from twisted_kong.proxy.headers import RequestHead, RequestParser, ResponseHead, ResponseParser

NAMES = [
    b"Host",
    b"Content-Length",
    b"content-length",
    b"Transfer-Encoding",
    b"Connection",
    b"Via",
    b"X-Forwarded-For",
    b"TE",
    b"Expect",
    b"Accept",
    b"X-Own",
    b"x-own",
    b"Server",
    b"Content-Type",
    b"X ",
    b"",
]
VALUES = [
    b"",
    b"a.test",
    b"5",
    b"05",
    b"chunked",
    b"close",
    b"keep-alive",
    b"x-own, close",
    b"text/html",
    b"a\0",
    b" x\t",
]
FIRST = [b"GET / HTTP/1.1", b"GET / HTTP/1.0", b"POST /x?y HTTP/1.1", b"GET http://b.test/ HTTP/1.1", b"GET / HTTP/1.2"]
STATUS = [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 404 X", b"HTTP/1.1 20 X"]
LINES = st.builds(
    lambda name, blank, value: name + b":" + blank + value,
    st.sampled_from(NAMES),
    st.sampled_from([b"", b" ", b"\t "]),
    st.sampled_from(VALUES) | st.binary(max_size=5),
)


def heads(first: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda one, lines: b"\r\n".join([one, *lines]), st.sampled_from(first), st.lists(LINES, max_size=6)
    )


def random_heads(first: list[bytes], count: int) -> list[bytes]:
    random = Random(1)

    def line() -> bytes:
        value = random.choice(VALUES) if random.random() < 0.7 else b"%d" % random.randrange(10**6)
        return random.choice(NAMES) + b": " + value

    return [
        b"\r\n".join([random.choice(first), b"Host: a.test", *(line() for _ in range(random.randrange(5)))])
        for _ in range(count)
    ]


def read_request(parser: RequestParser, head: bytes) -> object:
    """Everything a parser can tell of a head."""
    try:
        parsed = parser.parse(head)
    except ProxyError as error:
        return type(error), str(error)
    return told(parsed), parsed.method, parsed.path, parsed.query, parsed.host, parsed.hostname, parsed.meaning.has_body


def read_response(parser: ResponseParser, head: bytes) -> object:
    try:
        parsed = parser.parse(head)
    except ProxyError as error:
        return type(error), str(error)
    return told(parsed), parsed.status, parsed.reason


def told(head: RequestHead | ResponseHead) -> object:
    meaning = head.meaning
    values = {name.lower(): meaning.value(name.lower()) for name in NAMES}
    all_values = [head.values(name.lower()) for name in NAMES] if isinstance(head, RequestHead) else []
    return head.passing, meaning.length, meaning.chunked, meaning.persistent, values, all_values


@pytest.fixture(scope="module")
def requests() -> RequestParser:
    """A parser that has seen ten thousand heads."""
    parser = RequestParser(8192, 32768)
    for head in random_heads(FIRST, 10_000):
        read_request(parser, head)
    return parser


@pytest.fixture(scope="module")
def responses() -> ResponseParser:
    """A parser that has seen ten thousand heads."""
    parser = ResponseParser(b"UTF-8")
    for head in random_heads(STATUS, 10_000):
        read_response(parser, head)
    return parser


@settings(derandomize=True, deadline=None, max_examples=500)
@given(head=heads(FIRST))
def test_requests(requests: RequestParser, head: bytes) -> None:
    """A parser that has seen much reads a request as one that has seen nothing, the first time and the second."""
    expected = read_request(RequestParser(8192, 32768), head)
    assert read_request(requests, head) == expected
    assert read_request(requests, head) == expected


@settings(derandomize=True, deadline=None, max_examples=300)
@given(head=heads(STATUS))
def test_responses(responses: ResponseParser, head: bytes) -> None:
    """The same of answers."""
    expected = read_response(ResponseParser(b"UTF-8"), head)
    assert read_response(responses, head) == expected
    assert read_response(responses, head) == expected


def test_earlier_heads_do_not_change() -> None:
    """What was read of a head stays as it was when the memory starts afresh."""
    parser = RequestParser(8192, 32768)
    head = parser.parse(b"GET / HTTP/1.1\r\nHost: a.test\r\nVia: x\r\nX-Own: 1")
    for number in range(10_000):
        parser.parse(b"GET / HTTP/1.1\r\nHost: h%d.test\r\nX-Own: %d" % (number, number))
    assert (head.host, head.values(b"x-own"), head.values(b"via"), head.passing) == (
        b"a.test",
        [b"1"],
        [b"x"],
        b"X-Own: 1\r\n",
    )


GROWTH = 8 * 2**20
"""Bytes that the memory of one parser may come to."""

ENDLESS = {
    "lines": (30_000, b"X-%d: %d" + b"x" * 200),
    "values of special lines": (15_000, b"Via: %d\r\nTE: %d" + b"x" * 200),
    "long lines": (4000, b"X%d: " + b"x" * 8000 + b"%d"),
    "long special lines": (4000, b"X-Forwarded-For: %d" + b"x" * 8000 + b"%d"),
    "many special lines": (1200, b"Via: %d\r\n" + b"Via: 1\r\n" * 500 + b"Via: %d"),
    "long Connection": (1000, b"Connection: a%d" + b", b" * 1000 + b"%d"),
}


@pytest.mark.parametrize(("count", "lines"), ENDLESS.values(), ids=ENDLESS)
def test_memory_has_an_end(count: int, lines: bytes) -> None:
    """However many different heads come, what is remembered of them has a bound."""
    parser = RequestParser(8192, 32768)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            parser.parse(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + lines % (number, number))
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert growth < GROWTH


@pytest.mark.parametrize(("count", "size"), [(1500, 8000), (20_000, 200)])
@pytest.mark.parametrize("field", [b"Via", b"Server"])
def test_memory_of_answers_has_an_end(field: bytes, count: int, size: int) -> None:
    """However many different answers come, what is remembered of them and for them has a bound."""
    parser = ResponseParser()
    tokens = ResponseTokens({"via", "server"})
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            head = parser.parse(b"HTTP/1.1 200 %d\r\n%b: %d%b" % (number, field, number, b"x" * size))
            tokens.proxied(head, b"id", 0.0, 0.0)
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert growth < GROWTH
