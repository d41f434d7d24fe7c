"""Health checkers that fail: their probe counts for nothing, and the log is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory, IProbe
from twisted_kong.model.components import Component
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.checkers import guarded_checkers
from twisted_kong.runtime.guard import ComponentFailed, Guards
from twisted_kong.testing import ProbeInMemory, an_upstream

ODD = Component("checker", "odd", "/plugins/odd.py")


@implementer(IHealthChecker)
class Odd:
    """Does what it is told."""

    def __init__(self, answer: Callable[[IProbe], Any]) -> None:
        self.check = answer


@implementer(IHealthCheckerFactory)
class OddFactory:
    name = "odd"

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def build(self, upstream: Upstream) -> Any:
        return self._make()


def built(make: Callable[[], Any]) -> IHealthChecker:
    checkers = guarded_checkers({"odd": OddFactory(make)}, Guards([ODD], Clock().seconds))
    assert checkers["odd"].name == "odd"
    return checkers["odd"].build(an_upstream("orders")[0])


def lines(events: Sequence[Any]) -> list[str]:
    return [event["log_format"].format(**event) for event in events if event["log_level"] is LogLevel.critical]


def outcome(answer: Callable[[IProbe], Any]) -> Any:
    """What comes of a probe; None while it is under way."""
    found: list[Any] = [None]
    asked: Any = built(lambda: Odd(answer)).check(ProbeInMemory())
    _ = Deferred.fromCoroutine(asked).addBoth(found.append)
    return found[-1].value if isinstance(found[-1], Failure) else found[-1]


def answering(what: Any) -> Callable[[IProbe], Any]:
    async def check(probe: IProbe) -> Any:
        return what

    return check


async def raising(probe: IProbe) -> Any:
    raise ZeroDivisionError


def raising_at_once(probe: IProbe) -> Any:
    raise ZeroDivisionError


def test_outcome() -> None:
    """An outcome is passed on as it is."""
    with capturedLogs() as events:
        assert outcome(answering(Outcome("tcp", error="no"))) == Outcome("tcp", error="no")
    assert lines(events) == []


@pytest.mark.parametrize("answer", [raising, raising_at_once, *map(answering, [None, True, (None, 200), "well"])])
def test_trouble(answer: Callable[[IProbe], Any]) -> None:
    """Whatever else it does says nothing of the peer, and the log knows who is to blame."""
    with capturedLogs() as events:
        assert isinstance(outcome(answer), ComponentFailed)
    assert lines(events) == ["checker odd (/plugins/odd.py) failed to check 10.0.0.1:80 of orders"]


def test_taking_too_long() -> None:
    """A probe that is given up is no failure of the checker."""
    waiting: Deferred[Outcome] = Deferred()
    asked: Any = built(lambda: Odd(lambda probe: waiting)).check(ProbeInMemory())
    found: list[Any] = []
    with capturedLogs() as events:
        under_way = Deferred.fromCoroutine(asked)
        _ = under_way.addErrback(found.append)
        under_way.cancel()
    assert found[0].check(CancelledError)
    assert lines(events) == []


@pytest.mark.parametrize("make", [lambda: 1 / 0, lambda: "a checker"])
def test_not_made(make: Callable[[], Any]) -> None:
    """A factory that makes none has failed, and the log is told."""
    with capturedLogs() as events, pytest.raises(ComponentFailed):
        built(make)
    assert lines(events) == ["checker odd (/plugins/odd.py) failed to make a checker for orders"]
