"""Resolvers that fail: nobody can tell, whatever they do instead of answering, and the log is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.errors import ComponentError, NameFailure, NameNotFound, NameNotResolved
from twisted_kong.interfaces import IHostResolver, IResolver, IResolverFactory
from twisted_kong.model.components import Component
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.runtime.guard import Guard
from twisted_kong.runtime.resolvers import GuardedResolver, make_resolver
from twisted_kong.settings import Settings

ODD = Component("resolver", "odd", "/plugins/odd.py")
GOOD = Answer((Address("10.0.0.1"), Address("a.test", 80, 0), Address("::1", 65535, 7)), 0)


@implementer(IResolver)
class Odd:
    """Does what it is told."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        self.resolve = answer


@implementer(IHostResolver)
class OddForHosts(Odd):
    async def resolve_host(self, name: str) -> Answer:
        return Answer((Address(f"10.0.0.{len(name)}"),), 1)


async def good(name: str) -> Answer:
    return GOOD


def outcome(resolver: Odd, clock: Clock, name: str = "a.test", *, host: bool = False) -> Any:
    """What comes of a question, and the lines that are logged."""
    found: list[Any] = []
    guarded = GuardedResolver(resolver, Guard(ODD, clock.seconds))
    asked = guarded.resolve_host(name) if host else guarded.resolve(name)
    with capturedLogs() as events:
        _ = Deferred.fromCoroutine(asked).addBoth(found.append)
    (result,) = found
    lines = [event["log_format"].format(**event) for event in events if event["log_level"] is LogLevel.critical]
    return result.value if isinstance(result, Failure) else result, lines


def test_answers() -> None:
    """A good answer is passed on as it is, from whichever way it was asked."""
    clock = Clock()
    assert outcome(Odd(good), clock) == (GOOD, [])
    assert outcome(Odd(good), clock, host=True) == (GOOD, [])
    assert outcome(OddForHosts(good), clock, host=True) == (Answer((Address("10.0.0.6"),), 1), [])


@pytest.mark.parametrize("error", [NameNotFound(), NameNotResolved("a.test", "no answer")])
def test_refusals(error: NameFailure) -> None:
    """So is what a resolver may raise."""

    async def refuse(name: str) -> Answer:
        raise error

    assert outcome(Odd(refuse), Clock()) == (error, [])


async def raising(name: str) -> Answer:
    raise ZeroDivisionError


def raising_at_once(name: str) -> Answer:
    raise ZeroDivisionError


def answering(answer: Any) -> Callable[[str], Any]:
    async def resolve(name: str) -> Any:
        return answer

    return resolve


@pytest.mark.parametrize(
    "trouble",
    [
        raising,
        raising_at_once,
        lambda name: GOOD,
        lambda name: None,
        *map(
            answering,
            [
                None,
                ["10.0.0.1"],
                Answer(("10.0.0.1",), 1),  # type: ignore[arg-type]
                Answer([Address("10.0.0.1")], 1),  # type: ignore[arg-type]
                Answer((Address(b"10.0.0.1"),), 1),  # type: ignore[arg-type]
                Answer((Address(""),), 1),
                Answer((Address("10.0.0.1", 65536),), 1),
                Answer((Address("10.0.0.1", "80"),), 1),  # type: ignore[arg-type]
                Answer((Address("10.0.0.1", 80, -1),), 1),
                Answer((Address("10.0.0.1"),), -1),
                Answer((Address("10.0.0.1"),), float("nan")),
                Answer((Address("10.0.0.1"),), None),  # type: ignore[arg-type]
            ],
        ),
    ],
)
def test_trouble(trouble: Callable[[str], Any]) -> None:
    """Whatever else it does, nobody can tell, and the log knows who is to blame."""
    error, lines = outcome(Odd(trouble), Clock())
    assert isinstance(error, NameNotResolved)
    assert lines == ["resolver odd (/plugins/odd.py) failed to find the addresses of a.test"]


@implementer(IResolverFactory)
class OddFactory:
    name = "odd"

    def __init__(self, made: Callable[[], Any]) -> None:
        self._made = made

    def build(self, reactor: object, settings: object) -> IResolver:
        made: IResolver = self._made()
        return made


@pytest.mark.parametrize(
    ("made", "reason"),
    [(lambda: 1 / 0, "ZeroDivisionError: division by zero"), (lambda: 7, "expected a resolver, got 7")],
)
def test_not_made(made: Callable[[], Any], reason: str) -> None:
    """Without a resolver the gateway does not start."""
    with pytest.raises(ComponentError) as refused:
        make_resolver(OddFactory(made), Clock(), Settings(), Guard(ODD))
    assert str(refused.value) == f"resolver odd (/plugins/odd.py) cannot be made: {reason}"


@implementer(IResolver)
class Closing(Odd):
    closed = 0

    def close(self) -> None:
        self.closed += 1
        raise ZeroDivisionError


def test_close() -> None:
    """A resolver that has something to close is asked to; that it cannot keeps nobody."""
    closing = Closing(good)
    with capturedLogs() as events:
        GuardedResolver(closing, Guard(ODD)).close()
        GuardedResolver(Odd(good), Guard(ODD)).close()
    assert (closing.closed, len(events)) == (1, 1)
