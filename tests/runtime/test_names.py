"""Names of peers: what is asked, when, and who is told."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_kong.errors import NameNotFound, NameNotResolved
from twisted_kong.interfaces import IResolver
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.runtime.names import Names


def answer(*hosts: str, ttl: float = 10.0) -> Answer:
    return Answer(tuple(Address(host) for host in hosts), ttl)


@implementer(IResolver)
class Asked:
    """A resolver that answers when the test does; ``questions`` are all it was ever asked."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.pending: list[Deferred[Answer]] = []

    def resolve(self, name: str) -> Awaitable[Answer]:
        self.questions.append(name)
        waiting: Deferred[Answer] = Deferred()
        self.pending.append(waiting)
        return waiting


@implementer(IResolver)
class AtOnce:
    """A resolver that knows."""

    async def resolve(self, name: str) -> Answer:
        return answer("10.0.0.1", ttl=0.0)


class NamesTests(SynchronousTestCase):
    """`Names` over a resolver that takes its time."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.clock.advance(1000)
        self.resolver = Asked()
        self.names = Names(self.resolver, self.clock)

    def answered(self, name: str, *hosts: str, ttl: float = 10.0) -> None:
        """``name`` has been asked and answered."""
        found = self.names.find(name)
        self.resolver.pending.pop().callback(answer(*hosts, ttl=ttl))
        self.successResultOf(found)

    def test_doubles(self) -> None:
        """The resolvers used here are resolvers."""
        verifyObject(IResolver, self.resolver)
        verifyObject(IResolver, AtOnce())

    def test_nothing_known(self) -> None:
        """A name nobody has asked for is not known, and asking what is known asks nobody."""
        self.assertIsNone(self.names.known("a.test"))
        self.assertEqual(self.resolver.questions, [])

    def test_one_question_in_flight(self) -> None:
        """Who asks for a name that is being asked for waits for the same answer."""
        waiting = [self.names.find("a.test") for _ in range(3)]
        self.assertEqual(self.resolver.questions, ["a.test"])
        self.assertIsNone(self.names.known("a.test"))
        self.resolver.pending[0].callback(answer("10.0.0.1"))
        self.assertEqual([self.successResultOf(one) for one in waiting], ["10.0.0.1"] * 3)

    def test_names_apart(self) -> None:
        """Different names are different questions, each answered when its answer comes."""
        a, b = self.names.find("a.test"), self.names.find("b.test")
        self.resolver.pending[1].callback(answer("10.0.0.2"))
        self.assertNoResult(a)
        self.assertEqual(self.successResultOf(b), "10.0.0.2")
        self.resolver.pending[0].callback(answer("10.0.0.1"))
        self.assertEqual(self.successResultOf(a), "10.0.0.1")

    def test_addresses_take_turns(self) -> None:
        """The addresses of an answer are given one after the other, whoever asks in whatever way."""
        waiting = [self.names.find("a.test") for _ in range(2)]
        self.resolver.pending[0].callback(answer("10.0.0.1", "10.0.0.2", "10.0.0.3"))
        found = [self.successResultOf(one) for one in waiting] + [self.names.known("a.test") for _ in range(4)]
        self.assertEqual(found, [f"10.0.0.{number}" for number in (1, 2, 3, 1, 2, 3)])

    def test_expiry(self) -> None:
        """An answer holds for its time and no longer; then the name is asked for again."""
        self.answered("a.test", "10.0.0.1", ttl=10.0)
        self.clock.advance(9.9)
        self.assertEqual(self.names.known("a.test"), "10.0.0.1")
        self.clock.advance(0.2)
        self.assertIsNone(self.names.known("a.test"))
        self.answered("a.test", "10.0.0.2")
        self.assertEqual(self.names.known("a.test"), "10.0.0.2")
        self.assertEqual(self.resolver.questions, ["a.test"] * 2)

    def test_time_of_the_answer(self) -> None:
        """The time of an answer begins when it comes, not when it was asked for."""
        found = self.names.find("a.test")
        self.clock.advance(60)
        self.resolver.pending[0].callback(answer("10.0.0.1", ttl=10.0))
        self.successResultOf(found)
        self.clock.advance(9.9)
        self.assertEqual(self.names.known("a.test"), "10.0.0.1")

    def test_failure_is_everybodys(self) -> None:
        """A failure is told to all who wait, and the next one asks again."""
        for error in (NameNotFound("a.test"), NameNotResolved("a.test", "timeout")):
            waiting = [self.names.find("a.test") for _ in range(3)]
            self.resolver.pending.pop().errback(Failure(error))
            for one in waiting:
                self.assertIs(self.failureResultOf(one).value, error)
        self.answered("a.test", "10.0.0.1")
        self.assertEqual(self.resolver.questions, ["a.test"] * 3)

    def test_failing_resolver(self) -> None:
        """A resolver that raises what it should not is logged, and its callers are told that nobody could tell."""
        waiting = [self.names.find("a.test") for _ in range(2)]
        self.resolver.pending.pop().errback(Failure(ZeroDivisionError()))
        for one in waiting:
            self.assertIn("a.test", str(self.failureResultOf(one, NameNotResolved).value))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.answered("a.test", "10.0.0.1")

    def test_empty_answer(self) -> None:
        """An answer without addresses, which no resolver should give, leaves nobody waiting for ever."""
        waiting = [self.names.find("a.test") for _ in range(2)]
        self.resolver.pending.pop().callback(answer())
        for one in waiting:
            self.failureResultOf(one, NameNotFound, NameNotResolved)
        self.flushLoggedErrors()
        self.answered("a.test", "10.0.0.1")

    def test_cancelled_waiter(self) -> None:
        """Who waits no longer changes nothing for the others, nor for what is known afterwards."""
        cancelled, waiting = self.names.find("a.test"), self.names.find("a.test")
        cancelled.addErrback(lambda _: None).cancel()
        self.assertNoResult(waiting)
        self.resolver.pending[0].callback(answer("10.0.0.1"))
        self.assertEqual(self.successResultOf(waiting), "10.0.0.1")
        self.assertEqual(self.names.known("a.test"), "10.0.0.1")

    def test_all_cancelled(self) -> None:
        """With nobody waiting any more the answer is kept, and a failure is nobody's."""
        for error in (None, NameNotFound("a.test")):
            self.names.find("a.test").addErrback(lambda _: None).cancel()
            if error is None:
                self.resolver.pending.pop().callback(answer("10.0.0.1"))
                self.assertEqual(self.names.known("a.test"), "10.0.0.1")
                self.clock.advance(60)
            else:
                self.resolver.pending.pop().errback(Failure(error))
                self.assertIsNone(self.names.known("a.test"))

    def test_asking_from_an_answer(self) -> None:
        """Who is told may ask again at once, whatever it was told."""
        again: list[Deferred[str]] = []

        def ask_again(_: object) -> None:
            again.append(self.names.find("a.test"))

        _ = self.names.find("a.test").addBoth(ask_again)
        other = self.names.find("a.test")
        self.resolver.pending.pop().errback(Failure(NameNotFound("a.test")))
        self.failureResultOf(other, NameNotFound)
        self.resolver.pending.pop().callback(answer("10.0.0.1"))
        self.assertEqual(self.successResultOf(again[0]), "10.0.0.1")

    def test_answer_at_once(self) -> None:
        """A resolver may know at once, and an answer may hold for no time at all: for this request it does."""
        names = Names(AtOnce(), self.clock)
        self.assertEqual(self.successResultOf(names.find("a.test")), "10.0.0.1")
        self.clock.advance(0.1)
        self.assertIsNone(names.known("a.test"))

    def test_any_awaitable(self) -> None:
        """A resolver may answer a Deferred that has fired already."""

        @implementer(IResolver)
        class Fired:
            def resolve(self, name: str) -> Awaitable[Answer]:
                return succeed(answer("10.0.0.7"))

        self.assertEqual(self.successResultOf(Names(Fired(), self.clock).find("a.test")), "10.0.0.7")
