"""The layer of TLS on both sides of one connection, whatever the network and those above it do: nothing is lost."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Line, Network
from OpenSSL import SSL
from secured import own
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong import tls
from twisted_kong.proxy.dialling import ClientLayer
from twisted_kong.proxy.refusing import Refusals
from twisted_kong.proxy.tls_layer import Layer
from twisted_kong.proxy.tls_records import DirectRecords, Records
from twisted_kong.proxy.tls_server import SecureListener
from twisted_kong.proxy.wire import Wire
from twisted_kong.tasks import Deadlines
from twisted_kong.telemetry.refusals import Refused

VERSIONS = ("TLSv1.2", "TLSv1.3")
PATTERN = bytes(range(251)) * 400
"""Bytes that show when some are missing or in the wrong place."""


@implementer(IHalfCloseableProtocol)
class Talker(Wire):
    """What is above. ``said`` and ``heard`` are all of it; what it has to say before there is TLS it says then."""

    def __init__(self, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self.said = 0
        self.heard = b""
        self.finished = False
        self.ends = 0
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        if self.said:
            self.send(PATTERN * (self.said // len(PATTERN)) + PATTERN[: self.said % len(PATTERN)])
        if self.finished:
            self.transport.loseWriteConnection()

    def say(self, size: int) -> None:
        if not self.finished:
            at = self.said % len(PATTERN)
            self.said += size
            if self.transport is not None:
                self.send((PATTERN + PATTERN)[at : at + size])

    def finish(self) -> None:
        """Say no more."""
        if not self.finished:
            self.finished = True
            if self.transport is not None:
                self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def readConnectionLost(self) -> None:
        self.ends += 1

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self.lost = reason


@cache
def contexts(version: str) -> tuple[SSL.Context, SSL.Context]:
    """Of a server and a client."""
    terms = tls.ServerTerms(frozenset({version}), "ECDHE+AESGCM", False, True, 60)
    return tls.server_context(terms, [own()]), tls.client_context(tls.ClientTerms())


class Pair:
    """Both ends of one connection: 0 is the client, 1 the server. What one sends waits until it is moved."""

    def __init__(self, version: str, *, direct: bool = True) -> None:
        self.network = Network()
        deadlines = Deadlines(self.network)
        serving, asking = contexts(version)
        self.talkers = (Talker(deadlines), Talker(deadlines))
        self.failures: list[Failure] = []
        above = Factory.forProtocol(lambda: self.talkers[1])
        names: Any = SimpleNamespace(connection=lambda: SSL.Connection(serving, None))
        listener = SecureListener(names, above, deadlines, 60, Refusals(Refused(), self.network.seconds), lambda: b"")
        dial: Any = SimpleNamespace(
            time_left=lambda: 60.0,
            above=lambda: self.talkers[0],
            not_secured=self.failures.append,
            keep_session=lambda connection: None,
        )
        connection = tls.client_connection(asking, "a.test")
        server = listener.buildProtocol(None)
        assert server is not None
        self.layers: tuple[Layer, Layer] = (ClientLayer(connection, dial, deadlines), server)
        if not direct:
            for layer in self.layers:
                layer._records = Records(layer.tls)
        address = IPv4Address("TCP", "127.0.0.1", 1)
        self.lines = (Line(self.network, address, address), Line(self.network, address, address))
        self.told = [False, False]
        for line, layer in zip(reversed(self.lines), reversed(self.layers), strict=True):
            line.join(layer)

    def move(self, side: int, size: int) -> bool:
        """Carry ``size`` bytes from this side to the other, or else its end; whether there was anything."""
        line, other = self.lines[side], self.lines[1 - side]
        piece, line.received = line.received[:size], line.received[size:]
        if piece:
            other.send(piece)
        elif line.ended and not self.told[side] and not other._arriving:
            self.told[side] = True
            other.half_close()
            return True
        return bool(piece)

    def settle(self) -> None:
        """Let everything go on until nothing moves any more."""
        for line, talker in zip(self.lines, self.talkers, strict=True):
            if talker.transport is not None:
                talker.resume()
            line.make_room(None)
        self.network.advance(0)
        while self.move(0, 1 << 20) | self.move(1, 1 << 20):
            self.network.advance(0)


SIDES = st.integers(0, 1)
SIZES = st.one_of(
    st.integers(1, 40), st.sampled_from([16383, 16384, 16385, 32768, 65536, 100_000]), st.integers(1, 100_000)
)
ACTS = st.one_of(
    st.tuples(st.just("say"), SIDES, SIZES),
    st.tuples(st.just("say"), SIDES, st.integers(1, 40)),
    st.tuples(st.just("move"), SIDES, st.integers(1, 9)),
    st.tuples(st.just("move"), SIDES, SIZES),
    st.tuples(st.just("all"), SIDES, st.just(0)),
    st.tuples(st.just("room"), SIDES, st.one_of(st.none(), st.integers(0, 50_000))),
    st.tuples(st.just("pause"), SIDES, st.just(0)),
    st.tuples(st.just("resume"), SIDES, st.just(0)),
    st.tuples(st.just("turn"), SIDES, st.just(0)),
)


def act(pair: Pair, what: str, side: int, size: int | None) -> None:
    talker = pair.talkers[side]
    match what:
        case "say":
            talker.say(size or 0)
        case "move":
            pair.move(side, size or 0)
        case "all":
            pair.move(side, 1 << 20)
        case "room":
            pair.lines[side].make_room(size)
        case "pause" if talker.transport is not None:
            talker.pause()
        case "resume" if talker.transport is not None:
            talker.resume()
        case "turn":
            pair.network.advance(0)
        case "finish":
            talker.finish()


@pytest.mark.parametrize("version", VERSIONS)
@given(st.lists(st.one_of(ACTS, st.tuples(st.just("finish"), SIDES, st.just(0))), max_size=60), st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_and_nothing_stuck(version: str, acts: list[tuple[str, int, int | None]], direct: bool) -> None:
    """However the stream is cut, whoever pauses and whenever one says no more, each hears all that the other said."""
    pair = Pair(version, direct=direct)
    for one in acts:
        act(pair, *one)
    pair.settle()
    assert pair.layers[0].tls.get_protocol_version_name() == version
    assert [line.ended for line in pair.lines] == [talker.finished for talker in pair.talkers]
    for talker, other, layer in zip(pair.talkers, reversed(pair.talkers), pair.layers, strict=True):
        assert len(talker.heard) == other.said
        assert talker.heard == (PATTERN * (other.said // len(PATTERN) + 1))[: other.said]
        assert talker.ends == other.finished
        assert talker.lost is None
        assert not talker.congested
        with pytest.raises(SSL.WantReadError):
            layer.tls.bio_read(1)
    assert pair.failures == []


@pytest.mark.parametrize("version", VERSIONS)
@given(st.lists(ACTS, max_size=30), SIDES, st.booleans())
@settings(max_examples=50, deadline=None)
def test_the_end_behind_everything(
    version: str, acts: list[tuple[str, int, int | None]], side: int, both: bool
) -> None:
    """One who closes has been heard to the last byte before the end is told; the connection ends on both sides."""
    pair = Pair(version)
    for one in acts:
        act(pair, *one)
    pair.settle()
    closing, other = pair.talkers[side], pair.talkers[1 - side]
    closing.say(70_000)
    pair.layers[side].loseConnection()
    closing.say(5)  # is too late
    closing.said -= 5
    pair.settle()
    assert len(other.heard) == closing.said
    assert other.ends == 1
    other.close()
    pair.settle()
    pair.network.advance(0)
    assert [line.lost is not None for line in pair.lines] == [True, True]


def test_the_shortest_way() -> None:
    """pyOpenSSL's bindings are as `DirectRecords` needs them; else TLS works all the same, but costs more."""
    assert isinstance(Pair("TLSv1.3").layers[0]._records, DirectRecords)


@pytest.mark.parametrize("version", VERSIONS)
def test_nobody_waits_for_what_is_never_taken(version: str) -> None:
    """The other side breaks off while it takes nothing: the connection ends, whatever is still to be sent."""
    pair = Pair(version)
    pair.settle()
    server = pair.lines[1]
    server.make_room(0)
    pair.talkers[1].say(100_000)
    server.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    pair.network.advance(0)
    assert pair.talkers[1].lost is not None
    assert server.aborted
