"""Algorithms that fail: what their upstream's requests get instead, and what the log is told."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_kong.balancing.roundrobin import RoundRobin, RoundRobinFactory
from twisted_kong.balancing.sticky import StickySessions
from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IPeer
from twisted_kong.model.components import Component
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.runtime.algorithms import Algorithms, GuardedAlgorithm
from twisted_kong.runtime.guard import QUIET, ComponentFailed, Guards
from twisted_kong.testing import PlainPeer, algorithm_contract, an_upstream, some_peers

ODD = Component("algorithm", "odd", "/plugins/odd.py", "1")
OK = Outcome(None, 200, 0.01)


@implementer(IAlgorithm)
class Odd(RoundRobin):
    """Round robin that calls ``trouble`` first, with what it is about to do; what that answers is picked."""

    def __init__(self, trouble: Callable[[str], Any]) -> None:
        super().__init__()
        self._trouble = trouble
        self.picked: list[IPeer] = []
        self.ended: list[IPeer] = []

    def update(self, peers: Iterable[IPeer]) -> None:
        self._trouble("update")
        super().update(peers)

    def pick(self, pick: Pick) -> IPeer | None:
        found: IPeer | None = self._trouble("pick") or super().pick(pick)
        if found is not None:
            self.picked.append(found)
        return found

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        self.ended.append(peer)
        self._trouble("done")


@implementer(IAlgorithmFactory)
class OddFactory:
    """Makes `Odd` ones, and keeps them."""

    name = "odd"

    def __init__(self, trouble: Callable[[str], Any]) -> None:
        self._trouble = trouble
        self.made: list[Odd] = []

    def build(self, upstream: Upstream) -> IAlgorithm:
        answer: IAlgorithm | None = self._trouble("build")
        if answer is not None:
            return answer
        self.made.append(Odd(self._trouble))
        return self.made[-1]


class BrokenSessions(StickySessions):
    """Sticky sessions that fail with every pick."""

    def pick(self, pick: Pick) -> IPeer | None:
        raise ZeroDivisionError


@implementer(IAlgorithmFactory)
class BrokenSessionsFactory:
    """Makes `BrokenSessions`."""

    name = "odd"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return BrokenSessions(upstream.id)


class Trouble:
    """Raises, or answers, when one of ``calls`` comes."""

    def __init__(self, *calls: str, answer: Any = None) -> None:
        self.calls = calls
        self.answer = answer

    def __call__(self, call: str) -> Any:
        if call in self.calls:
            if self.answer is None:
                raise ZeroDivisionError(call)
            return self.answer
        return None


class Bench:
    """An upstream whose algorithm is odd, on a clock of its own."""

    def __init__(self, trouble: Callable[[str], Any], fallback: str | None = None) -> None:
        self.clock = Clock()
        self.factory = OddFactory(trouble)
        factories = {"odd": self.factory, "round-robin": RoundRobinFactory()}
        guards = Guards([ODD], self.clock.seconds)
        upstream = an_upstream("orders")[0].model_copy(update={"algorithm": "odd"})
        self.algorithm: GuardedAlgorithm = Algorithms(factories, guards, fallback).make(upstream)

    def picks(self, count: int, tried: tuple[IPeer, ...] = ()) -> list[IPeer | None]:
        """Whom ``count`` requests get, one after the other; None where the answer is a 500."""
        found: list[IPeer | None] = []
        for _ in range(count):
            try:
                peer = self.algorithm.pick(Pick(tried=tried))
            except ComponentFailed:
                found.append(None)
                continue
            assert peer is not None
            self.algorithm.done(peer, OK)
            found.append(peer)
        return found


class Logs:
    """The lines about failures within a ``with``."""

    def __enter__(self) -> list[str]:
        self._captured = capturedLogs()
        self._events = self._captured.__enter__()
        self.lines: list[str] = []
        return self.lines

    def __exit__(self, *error: Any) -> None:
        self._captured.__exit__(*error)
        self.lines += [
            event["log_format"].format(**event) for event in self._events if event["log_level"] is LogLevel.critical
        ]


# -- without a fallback ----------------------------------------------------------------------------------------


def test_failing_pick() -> None:
    """A pick that raises is a 500, and the component is told with kind, name and origin."""
    bench = Bench(Trouble("pick"))
    bench.algorithm.update(some_peers(1, 1))
    with Logs() as lines, pytest.raises(ComponentFailed) as failed:
        bench.algorithm.pick(Pick())
    assert (failed.value.status, failed.value.message) == (500, "An unexpected error occurred")
    assert lines == ["algorithm odd (/plugins/odd.py) failed to pick a peer of orders"]


@pytest.mark.parametrize("answer", [PlainPeer("10.0.0.1:8000"), "10.0.0.1:8000", 7, ["10.0.0.1:8000"]])
def test_nonsense(answer: Any) -> None:
    """An answer that is none of the peers is a 500, whatever it is."""
    bench = Bench(Trouble("pick", answer=answer))
    bench.algorithm.update(some_peers(1, 1))
    with Logs() as lines:
        assert bench.picks(1) == [None]
    assert len(lines) == 1


def test_tried_already() -> None:
    """So is one of the peers that were to be left out."""
    peers = some_peers(1, 1)
    bench = Bench(Trouble("pick", answer=peers[0]))
    bench.algorithm.update(peers)
    with Logs() as lines:
        assert bench.picks(1, tried=(peers[0],)) == [None]
        assert bench.picks(1) == [peers[0]]
    assert len(lines) == 1


def test_comes_to_itself() -> None:
    """An algorithm is asked again with every request."""
    trouble = Trouble("pick")
    bench = Bench(trouble)
    peers = some_peers(1, 1)
    bench.algorithm.update(peers)
    with Logs():
        assert bench.picks(3) == [None] * 3
    trouble.calls = ()
    assert set(bench.picks(2)) == set(peers)


def test_failing_done() -> None:
    """One that raises when it is told how a request ended has been told, and picks on."""
    bench = Bench(Trouble("done"))
    peers = some_peers(1, 1)
    bench.algorithm.update(peers)
    with Logs() as lines:
        assert set(bench.picks(2)) == set(peers)
    assert lines == ["algorithm odd (/plugins/odd.py) failed to take the outcome of a request to orders"]
    (odd,) = bench.factory.made
    assert odd.ended == odd.picked


@pytest.mark.parametrize(
    ("call", "what"),
    [("build", "make an algorithm for orders"), ("update", "take the peers of orders")],
)
def test_not_ready(call: str, what: str) -> None:
    """One that cannot be made, or fails on its peers, gets another chance each second, and after every change."""
    trouble = Trouble(call)
    peers = some_peers(1, 1)
    with Logs() as lines:
        bench = Bench(trouble)
        bench.algorithm.update(peers)
        assert bench.picks(2) == [None] * 2
    assert lines == [f"algorithm odd (/plugins/odd.py) failed to {what}"]
    trouble.calls = ()
    assert bench.picks(1) == [None]
    bench.clock.advance(1)
    assert set(bench.picks(2)) == set(peers)
    with Logs():
        trouble.calls = (call,)
        bench.algorithm.update(peers[:1])
    trouble.calls = ()
    bench.algorithm.update(peers[1:])
    assert bench.picks(2) == peers[1:] * 2


def test_nothing_made() -> None:
    """A factory that makes no algorithm has failed."""
    with Logs() as lines:
        bench = Bench(Trouble("build", answer="nonsense"))
        bench.algorithm.update(some_peers(1))
        assert bench.picks(1) == [None]
    assert lines == ["algorithm odd (/plugins/odd.py) failed to make an algorithm for orders"]


# -- with one --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [("build",), ("update",), ("pick",), ("pick", "done"), ("update", "pick")])
def test_fallback(calls: tuple[str, ...]) -> None:
    """The fallback picks whatever fails, as exactly as it always does, and knows every change of the peers."""
    peers = some_peers(1, 2, 3)
    with Logs():
        bench = Bench(Trouble(*calls), "round-robin")
        bench.algorithm.update(peers)
        found = bench.picks(12)
        assert [found.count(peer) for peer in peers] == [2, 4, 6]
        bench.algorithm.update(peers[1:])
        found = bench.picks(10)
        assert [found.count(peer) for peer in peers] == [0, 4, 6]
        assert bench.picks(1, tried=(peers[1],)) == [peers[2]]


def test_fallback_of_sessions() -> None:
    """A fallback that knows of no sessions is never given who weighs nothing, whatever changes meanwhile."""
    gone, here, other = some_peers(0, 1, 1)
    factories = {"odd": BrokenSessionsFactory(), "round-robin": RoundRobinFactory()}
    upstream = an_upstream("orders")[0].model_copy(update={"algorithm": "odd"})
    with Logs():
        algorithm = Algorithms(factories, Guards([ODD], Clock().seconds), "round-robin").make(upstream)
        algorithm.update([gone, here])
        found = [algorithm.pick(Pick()) for _ in range(2)]
        algorithm.add(other)
        here.weight = 0
        algorithm.changed(here)
        found += [algorithm.pick(Pick()) for _ in range(2)]
        algorithm.remove(gone)
        here.weight = 1
        algorithm.changed(here)
        algorithm.remove(other)
        found.append(algorithm.pick(Pick()))
    assert found == [here, here, other, other, here]


def test_told_of_its_own() -> None:
    """An algorithm that fails now and then is told of as many ends for each peer as it made picks, and of no others."""
    random = Random(4)
    bench = Bench(lambda call: 1 / 0 if call == "pick" and random.random() < 0.5 else None, "round-robin")
    bench.algorithm.update(some_peers(1, 2, 3))
    with Logs():
        under_way: list[IPeer] = []
        for _ in range(300):
            peer = bench.algorithm.pick(Pick())
            assert peer is not None
            under_way.append(peer)
            if len(under_way) > 5:
                bench.algorithm.done(under_way.pop(random.randrange(6)), OK)
        for peer in under_way:
            bench.algorithm.done(peer, OK)
    (odd,) = bench.factory.made
    assert 0 < len(odd.picked) < 300
    assert sorted(map(id, odd.ended)) == sorted(map(id, odd.picked))


def test_fallback_itself() -> None:
    """An algorithm that is its own fallback has none."""
    bench = Bench(Trouble("pick"), "odd")
    bench.algorithm.update(some_peers(1))
    with Logs() as lines:
        assert bench.picks(1) == [None]
    assert len(lines) == 1


def now_and_then() -> IAlgorithmFactory:
    """Round robin that fails on every third call of it, with round robin to fall back upon."""
    calls = iter(range(10**6))

    def trouble(call: str) -> None:
        if next(calls) % 3 == 0:
            raise ZeroDivisionError

    return Unbroken(trouble)


@implementer(IAlgorithmFactory)
class Unbroken:
    """Makes what a gateway with a fallback has of an algorithm that makes trouble."""

    name = "odd"

    def __init__(self, trouble: Callable[[str], Any]) -> None:
        self._algorithms = Algorithms(
            {"odd": OddFactory(trouble), "round-robin": RoundRobinFactory()}, fallback="round-robin"
        )

    def build(self, upstream: Upstream) -> IAlgorithm:
        return self._algorithms.make(upstream)


class FlushedTests(SynchronousTestCase):
    """What fails here is logged, which is not what is to be shown."""

    def tearDown(self) -> None:
        self.flushLoggedErrors(ZeroDivisionError)


class AlwaysFailingTests(FlushedTests, algorithm_contract(lambda: Unbroken(Trouble("pick", "done")))):  # type: ignore[misc]
    """With a fallback, an algorithm that always fails is as good as any."""


class SometimesFailingTests(FlushedTests, algorithm_contract(now_and_then)):  # type: ignore[misc]
    """So is one that fails now and then, wherever it does."""


# -- the log ---------------------------------------------------------------------------------------------------


def test_once_a_second() -> None:
    """Of a component that fails all the time one line a second is logged, with how many there might have been."""
    bench = Bench(Trouble("pick"))
    bench.algorithm.update(some_peers(1))
    line = "algorithm odd (/plugins/odd.py) failed to pick a peer of orders"
    with Logs() as lines:
        bench.picks(100)
        bench.clock.advance(QUIET)
        bench.picks(50)
        bench.clock.advance(QUIET)
        bench.picks(1)
    more = "; it failed {} times since this was last logged"
    assert lines == [line, line + more.format(99), line + more.format(49)]


def test_each_on_its_own() -> None:
    """A component that fails does not keep the log from being told of another."""
    clock = Clock()
    guards = Guards([ODD, Component("algorithm", "even", "built-in")], clock.seconds)
    with Logs() as lines:
        for name in ("odd", "even", "odd", "even", "prime"):
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                guards.of("algorithm", name).failed("count")
    assert lines == [
        "algorithm odd (/plugins/odd.py) failed to count",
        "algorithm even (built-in) failed to count",
        "algorithm prime (origin unknown) failed to count",
    ]
