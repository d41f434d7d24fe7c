"""How much Python a proxied request takes: counted, not timed, so that a slow change is noticed on any machine.

The bounds are a few percent above what it takes today. Whoever lowers the count lowers the bound; whoever has a good
reason to raise it says so in the change that does. What Twisted's transports and the kernel do is not in it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from loopback import Lab

import twisted_kong
from twisted_kong.proxy.accelerator import ACCELERATED

PACKAGE = str(Path(twisted_kong.__file__).parent)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 28 Nov 2026 08:23:46 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 128\r\nConnection: keep-alive\r\n\r\n" + b"x" * 128
)
REQUESTS = 50


def request(number: int) -> bytes:
    """One of a browser, with a line that no other has."""
    return (
        b"GET /path?query=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n"
        b"Accept-Language: en-GB,en;q=0.7\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: session=6f1c0a5be2d94d0f\r\n"
        b"Referer: https://shop.example.com/catalogue\r\nCache-Control: no-cache\r\ntraceparent: 00-%032x-01\r\n\r\n"
        % number
    )


def work(count: int = REQUESTS) -> tuple[float, float]:
    """The bytecodes and the function calls of one request, on connections that have carried others before."""
    lab = Lab()
    client = lab.client(request(0))
    origin = lab.origin()
    origin.send(ANSWER)
    done = {"opcode": 0, "call": 0}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event in done:
            done[event] += 1
        return trace

    def one(number: int) -> None:
        client.send(request(number))
        origin.send(ANSWER)

    for number in range(1, count + 1):
        one(number)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for number in range(count + 1, 2 * count + 1):
            one(number)
    finally:
        sys.settrace(before)
    assert client.received.count(b"HTTP/1.1 200 OK\r\n") == 2 * count + 1
    lab.assert_idle()
    return done["opcode"] / count, done["call"] / count


BYTECODES, CALLS = (1950, 59) if ACCELERATED else (2075, 62)


def test_calls() -> None:
    """A small answer is proxied within so many calls of functions of ours."""
    assert work()[1] <= CALLS


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the bound is in bytecodes of Python 3.11")
def test_bytecodes() -> None:
    """The same in so many bytecodes."""
    assert work()[0] <= BYTECODES


def test_attributes() -> None:
    """Connections and the core have no more than the 29 attributes whose names Python shares among objects of a class.

    Beyond them each object has a table of its own, five times as large, and whatever is looked up in it takes longer.
    """
    lab = Lab()
    client = lab.client(request(0))
    origin = lab.origin()
    origin.send(ANSWER)
    for each in (client.protocol, origin.protocol, lab.core):
        assert len(vars(each)) <= 29, sorted(vars(each))


def test_the_count_counts() -> None:
    """Twice as many requests take twice as much work: nothing of it grows with how many there were before."""
    few, many = work(20), work(200)
    assert many[1] <= few[1] * 1.02
