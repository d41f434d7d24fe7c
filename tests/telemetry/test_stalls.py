"""How late the reactor is, and who is to blame where it is stuck."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from twisted_kong.balancing import roundrobin
from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.interfaces import IPeer
from twisted_kong.model.components import Component
from twisted_kong.telemetry.lag import PERIOD, Beat
from twisted_kong.telemetry.stalls import Blame, Stalls

THEIRS = Component("algorithm", "sleepy", "/plugins/sleepy.py")
BUILT_IN = Component("algorithm", "round-robin", "built-in")


def told(collector: Collector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


# -- how late --------------------------------------------------------------------------------------------------


class Time:
    """A reactor and a clock beside it, which may go on while the reactor does not."""

    def __init__(self) -> None:
        self.reactor = Clock()
        self.now = 0.0

    def seconds(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.reactor.advance(PERIOD)


def test_lag() -> None:
    """Every beat counts with how late it was, and there are as many as the time that goes by has room for."""
    time = Time()
    beat = Beat(time.reactor, time.seconds)
    beat.start()
    for late in (0.0, 0.0, 0.03, 0.4):
        time.pass_by(PERIOD + late)
    lines = told(beat)
    found = dict(re.findall(r'^kong_reactor_lag_seconds_bucket\{le="(\S+)"\} (\S+)$', lines, re.MULTILINE))
    assert [found[bound] for bound in ("0.001", "0.025", "0.05", "0.25", "0.5", "+Inf")] == [
        "2.0",
        "2.0",
        "3.0",
        "3.0",
        "4.0",
        "4.0",
    ]
    assert "kong_reactor_lag_seconds_sum 0.43" in lines
    beat.close()
    assert time.reactor.getDelayedCalls() == []


# -- who is to blame -------------------------------------------------------------------------------------------


class Peeks:
    """Peers of an algorithm that note from where they are looked at."""

    def __init__(self) -> None:
        self.frame: FrameType | None = None

    def __iter__(self) -> Iterator[IPeer]:
        self.frame = sys._getframe()
        return iter(())


def caught_in_round_robin() -> FrameType:
    peeks = Peeks()
    RoundRobin().update(peeks)
    assert peeks.frame is not None
    return peeks.frame


def test_a_component_of_somebody_else_is_to_blame_first() -> None:
    """Whoever called into our code and did not come back is to blame, rather than our code."""
    homes = [(BUILT_IN, roundrobin.__file__), (THEIRS, __file__)]
    assert Blame(homes)(caught_in_round_robin()) == "algorithm sleepy (/plugins/sleepy.py)"


def test_a_package_is_a_home() -> None:
    """A component may be more than one file."""
    assert Blame([(THEIRS, str(Path(__file__).parent) + "/")])(sys._getframe()) == str(THEIRS)


def test_our_own_components_and_modules() -> None:
    """Without any of somebody else's, it is a component of ours, or the module of ours that was called last."""
    assert Blame([(BUILT_IN, roundrobin.__file__)])(caught_in_round_robin()) == "algorithm round-robin (built-in)"
    assert Blame([])(caught_in_round_robin()) == "twisted_kong.balancing.roundrobin"
    assert Blame([])(sys._getframe()) == __name__


# -- stalls ----------------------------------------------------------------------------------------------------


class Watched:
    """A beat that is looked after by the test, in a thread that is over at once."""

    def __init__(self) -> None:
        self.time = Time()
        self.beat = Beat(self.time.reactor, self.time.seconds)
        self.stalls = Stalls(self.beat, 0.5, lambda frame: "somebody", self.time.seconds)
        self.beat.on_beat = self.stalls._goes_on
        self.beat.start()

    def look(self, after: float = 0.0) -> None:
        self.time.now += after
        thread = threading.Thread(target=self.stalls.look)
        thread.start()
        thread.join()


@contextmanager
def lines() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    found: list[str] = []
    with capturedLogs() as events:
        yield found
    found += [formatEvent(event) or "" for event in events]


def test_a_stall_is_told_once_and_when_it_is_over() -> None:
    """While it lasts its stack is logged, once; in the end how long it was, and it counts."""
    watched = Watched()
    with lines() as found:
        for _ in range(12):
            watched.look(0.125)
        watched.time.pass_by(0.25)
    assert len(found) == 2
    assert found[0].startswith("the reactor has been stuck for 0.6 s in somebody:\n")
    assert "test_a_stall_is_told_once_and_when_it_is_over" in found[0]
    assert found[1] == "the reactor goes on after 1.5 s in somebody"
    assert 'kong_reactor_stalls_total{blame="somebody"} 1.0' in told(watched.stalls)


def test_patience() -> None:
    """A reactor that is less late is not stuck."""
    watched = Watched()
    with lines() as found:
        for _ in range(10):
            for _ in range(7):
                watched.look(0.1)
            watched.time.pass_by(0.0)
    assert found == []


def test_nobody_could_look() -> None:
    """Where nothing at all could run meanwhile, nobody is blamed for what runs by then."""
    watched = Watched()
    with lines() as found:
        watched.look(5.0)
        watched.time.pass_by(0.0)
    assert found == ["the reactor was stuck for 4.8 s, and nobody could see in what"]
    assert watched.stalls.counts == {"": 1}


def test_the_thread_ends() -> None:
    """Nothing is left of it."""
    watched = Watched()
    before = threading.active_count()
    watched.stalls.start()
    assert threading.active_count() == before + 1
    watched.stalls.close()
    assert threading.active_count() == before
