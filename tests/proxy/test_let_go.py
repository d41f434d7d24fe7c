"""What is over is out of memory at once, without the garbage collector.

That one counts objects of Python. A few of them may hold much that it does not see, TLS above all, and it has no reason
to come by before there are many thousands.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from loopback import GET, OK, Lab, Line, post
from secured import SecureLab
from streams import End
from streams import post as post_stream

WATCHED = {
    "Exchange",
    "H2Connection",
    "Http2Connection",
    "RequestHead",
    "ServerConnection",
    "ServerLayer",
    "ServerStream",
    "UpstreamConnection",
}


@pytest.fixture
def left(request: pytest.FixtureRequest) -> Iterator[Callable[[], Counter[str]]]:
    """What there is by now that was not there before."""

    def watched() -> Counter[str]:
        return Counter(name for each in gc.get_objects() if (name := type(each).__name__) in WATCHED)

    gc.collect()
    before = watched()
    gc.disable()
    yield lambda: watched() - before
    gc.enable()


def part(lab: Lab, *lines: Line) -> None:
    """Close these connections. The network lets go of them, as Twisted's transports do of their protocols."""
    for line in lines:
        line.close()
        lab.turns()
        line.protocol = line._producer = None
    lab.lines.clear()
    lab.dials.clear()


def test_exchange(left: Callable[[], Counter[str]]) -> None:
    """A kept connection to an origin does not keep the exchange, or the client, that it was opened for."""
    lab = Lab()
    client = lab.client(post(b"abc"))
    origin = lab.origin()
    origin.send(OK)
    lab.turns()
    part(lab, client)
    assert origin.lost is None
    assert left() == {"UpstreamConnection": 1}


def test_secure_client(left: Callable[[], Counter[str]]) -> None:
    """Nothing is left of a client that has spoken TLS."""
    lab = SecureLab()
    client = lab.shaken()
    client.send(GET)
    origin = lab.origin()
    origin.send(OK)
    assert client.take().endswith(b"ok")
    client.say_goodbye()
    part(lab, client.line, origin)
    assert left() == {}


def test_streams(left: Callable[[], Counter[str]]) -> None:
    """Nothing is left of a client that has spoken HTTP/2: not of a request that was answered, nor of one under way."""
    lab = Lab(http2=True)
    client = End(lab.client(), client=True)
    client.ask(post_stream(), b"abc")
    origin = lab.origin()
    origin.send(OK)
    client.ask(post_stream(), b"abc", ended=False)
    lab.turns()
    client.read()
    part(lab, client.line, origin)
    assert left() == {"H2Connection": 1}  # the test's own


def test_answered_stream(left: Callable[[], Counter[str]]) -> None:
    """Nothing is left of a request over HTTP/2 that was answered, while its connection goes on."""
    lab = Lab(http2=True)
    client = End(lab.client(), client=True)
    client.ask(post_stream(), b"abc")
    lab.origin().send(OK)
    client.read()
    assert left() == {"Http2Connection": 1, "H2Connection": 2, "UpstreamConnection": 1}  # one is the test's
