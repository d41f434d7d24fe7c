"""A contract suite is worth what it finds: things that break a rule each fail the test of that rule, and only sound
ones pass."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.errors import NameNotFound
from twisted_kong.interfaces import (
    IAlgorithm,
    IAlgorithmFactory,
    IHealthChecker,
    IHealthCheckerFactory,
    IPeer,
    IProbe,
    IResolver,
    IResolverFactory,
)
from twisted_kong.model.traffic import Address, Answer, Outcome, Pick
from twisted_kong.testing import ProbeInMemory, algorithm_contract, health_checker_contract, resolver_contract


def failing(suite: Any) -> set[str]:
    """The tests of a suite that fail."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(suite).run(result)
    assert result.testsRun > 5
    return {case.id().rpartition(".")[2] for case, _ in (*result.failures, *result.errors)}


# -- algorithms ------------------------------------------------------------------------------------------------


@implementer(IAlgorithmFactory)
class FactoryOf:
    name = "flawed"

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def build(self, upstream: object) -> Any:
        return self._make()


@implementer(IAlgorithm)
class Sound:
    """Picks the first one, and is right to."""

    def __init__(self) -> None:
        self.peers: list[IPeer] = []

    def update(self, peers: Iterable[IPeer]) -> None:
        self.peers = list(peers)

    def pick(self, pick: Pick) -> IPeer | None:
        return next((peer for peer in self.peers if peer not in pick.tried), None)

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        pass


class NeverForgets(Sound):
    def update(self, peers: Iterable[IPeer]) -> None:
        self.peers += peers


class ReadsTwice(Sound):
    def update(self, peers: Iterable[IPeer]) -> None:
        list(peers)
        self.peers = list(peers)


class TriesAgain(Sound):
    def pick(self, pick: Pick) -> IPeer | None:
        return self.peers[0] if self.peers else None


class NeedsAnUpdate(Sound):
    def __init__(self) -> None:
        pass


class RefusesWithoutPeers(Sound):
    def pick(self, pick: Pick) -> IPeer | None:
        return [peer for peer in self.peers if peer not in pick.tried][0]  # noqa: RUF015 - it is to raise IndexError


class KnowsOnlyMembers(Sound):
    def done(self, peer: IPeer, outcome: Outcome) -> None:
        self.peers.remove(peer)
        self.peers.insert(0, peer)


class NeedsAStatus(Sound):
    def done(self, peer: IPeer, outcome: Outcome) -> None:
        assert outcome.status is not None


class NeedsAKey(Sound):
    def pick(self, pick: Pick) -> IPeer | None:
        assert pick.key is not None
        return super().pick(pick)


SHARED = Sound()


@pytest.mark.parametrize(
    ("make", "test"),
    [
        (NeverForgets, "test_only_the_latest"),
        (ReadsTwice, "test_any_iterable"),
        (TriesAgain, "test_never_a_tried_one"),
        (NeedsAnUpdate, "test_nobody"),
        (RefusesWithoutPeers, "test_nobody"),
        (KnowsOnlyMembers, "test_many_at_once"),
        (NeedsAStatus, "test_many_at_once"),
        (NeedsAKey, "test_the_only_one"),
        (lambda: SHARED, "test_two_are_strangers"),
        (object, "test_interface"),
    ],
)
def test_flawed_algorithm(make: Callable[[], Any], test: str) -> None:
    """Each flaw is found by the test that is meant for it."""
    assert test in failing(algorithm_contract(lambda: FactoryOf(make)))


@pytest.mark.parametrize("make", [Sound, RoundRobin])
def test_sound_algorithm(make: Callable[[], Any]) -> None:
    """A sound one passes."""
    assert failing(algorithm_contract(lambda: FactoryOf(make))) == set()


# -- resolvers -------------------------------------------------------------------------------------------------


@implementer(IResolver)
class Resolver:
    """Knows ``a.test``; what it says of that and of others is as sound as ``known`` and ``unknown`` are."""

    def __init__(self, known: Callable[[], Any], unknown: Callable[[], Any]) -> None:
        self._known = known
        self._unknown = unknown
        self.asked = 0

    async def resolve(self, name: str) -> Any:
        self.asked += 1
        return self._known() if name == "a.test" else self._unknown()


@implementer(IResolverFactory)
class ResolverFactory:
    def __init__(self, known: Callable[[], Any], unknown: Callable[[], Any], name: str) -> None:
        self._made = known, unknown
        self.name = name

    def build(self, reactor: object, settings: object) -> Any:
        return Resolver(*self._made)


def good() -> Answer:
    return Answer((Address("10.0.0.1"),), 5)


def not_found() -> Answer:
    raise NameNotFound


def of(known: Callable[[], Any] = good, unknown: Callable[[], Any] = not_found, name: str = "flawed") -> set[str]:
    return failing(resolver_contract(lambda: ResolverFactory(known, unknown, name), "a.test", "b.test"))


def lookup_error() -> Answer:
    raise LookupError


def test_flawed_resolver() -> None:
    """Each flaw is found by the test that is meant for it."""
    assert "test_known" in of(lambda: "10.0.0.1")
    assert "test_known" in of(lambda: Answer((), 5))
    assert "test_known" in of(lambda: Answer((Address("10.0.0.1"),), -1))
    assert "test_unknown" in of(unknown=good)
    assert "test_unknown" in of(unknown=lookup_error)
    assert "test_interface" in of(name="two words")
    changing = iter(range(1, 100))
    assert "test_again" in of(lambda: Answer((Address(f"10.0.0.{next(changing)}"),), 5))


def test_sound_resolver() -> None:
    """A sound one passes."""
    assert of() == set()


# -- health checkers -------------------------------------------------------------------------------------------


class Asking(Protocol):
    """Says ``+`` and takes what comes, up to the end, for an answer."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()
        self._pieces = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"+")

    def dataReceived(self, data: bytes) -> None:
        self._pieces += data

    def connectionLost(self, reason: object = None) -> None:
        self.heard.callback(self._pieces)


@implementer(IHealthChecker)
class SoundChecker:
    async def check(self, probe: IProbe) -> Any:
        asking = Asking()
        probe.connect(asking)
        return self.judge(await asking.heard)

    def judge(self, heard: bytes) -> Any:
        return Outcome() if heard == b"well" else Outcome("http")


class AlwaysWell(SoundChecker):
    def judge(self, heard: bytes) -> Any:
        return Outcome(None, 200)


class NeverWell(SoundChecker):
    def judge(self, heard: bytes) -> Any:
        return Outcome(None, 503)


class Truthful(SoundChecker):
    def judge(self, heard: bytes) -> Any:
        return heard == b"well"


class Unforgiving(SoundChecker):
    def __init__(self) -> None:
        self._bad = False

    def judge(self, heard: bytes) -> Any:
        self._bad = self._bad or heard != b"well"
        return Outcome("http") if self._bad else Outcome()


class OneAtATime(SoundChecker):
    def __init__(self) -> None:
        self._asking = Asking()

    async def check(self, probe: IProbe) -> Any:
        self._asking = Asking()
        probe.connect(self._asking)
        while not self._asking.heard.called:
            await Deferred()
        return self.judge(await self._asking.heard)


@implementer(IHealthCheckerFactory)
class CheckerFactory:
    name = "flawed"

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def build(self, upstream: object) -> Any:
        return self._make()


def saying(what: bytes) -> Callable[[ProbeInMemory], None]:
    def play(probe: ProbeInMemory) -> None:
        assert probe.sent == b"+"
        probe.receive(what[:1], what[1:])
        probe.hang_up()

    return play


def flaws(make: Callable[[], Any]) -> set[str]:
    return failing(health_checker_contract(lambda: CheckerFactory(make), well=saying(b"well"), ill=saying(b"ill")))


@pytest.mark.parametrize(
    ("make", "test"),
    [
        (AlwaysWell, "test_ill"),
        (AlwaysWell, "test_lost"),
        (NeverWell, "test_well"),
        (Truthful, "test_well"),
        (Unforgiving, "test_again"),
        (OneAtATime, "test_many_at_once"),
        (object, "test_interface"),
    ],
)
def test_flawed_checker(make: Callable[[], Any], test: str) -> None:
    """Each flaw is found by the test that is meant for it."""
    assert test in flaws(make)


def test_sound_checker() -> None:
    """A sound one passes."""
    assert flaws(SoundChecker) == set()
