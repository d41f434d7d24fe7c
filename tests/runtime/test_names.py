"""Names: what is asked, when, and who is told."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_kong.errors import NameFailure, NameNotFound, NameNotResolved
from twisted_kong.interfaces import IHostResolver, IResolver
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.resolving.cache import Rules
from twisted_kong.runtime.names import AGAIN, PATIENCE, Name, Names
from twisted_kong.runtime.records import MOST, Record
from twisted_kong.runtime.reminders import SPREAD, TICK

LATE = SPREAD + TICK + 0.01
"""After its time a kept name is asked within this."""


def answer(*hosts: str, ttl: float = 10.0) -> Answer:
    return Answer(tuple(Address(host) for host in hosts), ttl)


def services(*entries: tuple[str, int, int], ttl: float = 10.0) -> Answer:
    """SRV records: host, port, weight."""
    return Answer(tuple(Address(host, port, weight) for host, port, weight in entries), ttl, "SRV")


@implementer(IHostResolver)
class Asked:
    """A resolver that answers when the test does; ``questions`` are all it was ever asked."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.pending: list[tuple[str, Deferred[Answer]]] = []
        self.closed = False

    def resolve(self, name: str) -> Awaitable[Answer]:
        self.questions.append(name)
        waiting: Deferred[Answer] = Deferred()
        self.pending.append((name, waiting))
        return waiting

    def resolve_host(self, name: str) -> Awaitable[Answer]:
        return self.resolve(f"host {name}")

    def answer(self, name: str, answer: Answer | Exception) -> None:
        """The oldest question for ``name`` is answered."""
        index = next(index for index, (asked, _) in enumerate(self.pending) if asked == name)
        _, waiting = self.pending.pop(index)
        if isinstance(answer, Exception):
            waiting.errback(Failure(answer))
        else:
            waiting.callback(answer)


@implementer(IResolver)
class AtOnce:
    """A resolver that knows ``answers``: an answer or a failure by name."""

    def __init__(self, **answers: Answer | Exception) -> None:
        self.answers = {f"{name}.test": answer for name, answer in answers.items()}
        self.questions: Counter[str] = Counter()

    def resolve(self, name: str) -> Awaitable[Answer]:
        self.questions[name] += 1
        found = self.answers[name]
        return fail(found) if isinstance(found, Exception) else succeed(found)


def hosts(record: Record | None) -> list[str]:
    """The addresses of a record."""
    return [] if record is None else [entry.host for entry in record.entries]


class NamesCase(SynchronousTestCase):
    """Names under the usual rules, on a clock."""

    rules = Rules(None, 100.0, 30.0, 1.0)

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.clock.advance(1000)
        self.resolver = Asked()
        self.names = self.make(self.resolver)
        self.told: list[list[str]] = []

    def make(self, resolver: IResolver, **options: Any) -> Names:
        return Names(resolver, self.clock, self.rules, random=random.Random(7), **options)

    def wait(self, seconds: float) -> None:
        """Let time pass, in steps short enough for everything that happens meanwhile."""
        while seconds > 0:
            self.clock.advance(min(seconds, TICK))
            seconds -= TICK

    def get(self, text: str, names: Names | None = None) -> list[str]:
        """What is known of a name at once."""
        found = (names or self.names).get(text)
        assert isinstance(found, Record)
        return hosts(found)

    def wanted(self, text: str, names: Names | None = None) -> Deferred[Record]:
        """A request for a name that has to wait."""
        found = (names or self.names).get(text)
        assert isinstance(found, Deferred)
        return found

    def kept(self, text: str, names: Names | None = None) -> Name:
        """A name in use; ``told`` has its addresses after every change that its user was told of."""

        def listen() -> None:
            known = used.look(text)
            self.told.append(hosts(None if known is None else known.record))

        used = names or self.names
        self.listener = listen
        return used.use(text, listen, keep=True)


class RequestTests(NamesCase):
    """Names asked for by requests."""

    def answered(self, name: str, *hosts: str, ttl: float = 10.0) -> None:
        """``name`` has been asked and answered."""
        found = self.wanted(name)
        self.resolver.answer(name, answer(*hosts, ttl=ttl))
        self.successResultOf(found)

    def test_doubles(self) -> None:
        """The resolvers used here are resolvers."""
        verifyObject(IHostResolver, self.resolver)
        verifyObject(IResolver, AtOnce())

    def test_nothing_known(self) -> None:
        """Of a name nobody has asked for nothing is known, and to look asks nobody."""
        self.assertIsNone(self.names.look("a.test"))
        self.assertEqual(self.resolver.questions, [])

    def test_one_question_in_flight(self) -> None:
        """Who asks for a name that is being asked for waits for the same answer, whatever the case of its letters."""
        waiting = [self.wanted(name) for name in ("a.test", "A.test", "a.TEST")]
        self.assertEqual(self.resolver.questions, ["a.test"])
        self.resolver.answer("a.test", answer("10.0.0.1"))
        self.assertEqual([hosts(self.successResultOf(one)) for one in waiting], [["10.0.0.1"]] * 3)

    def test_no_sync(self) -> None:
        """With ``no_sync`` equal questions are all asked, and nobody waits for more than its own."""
        names = self.make(self.resolver, no_sync=True)
        waiting = [self.wanted("a.test", names) for _ in range(3)]
        self.assertEqual(self.resolver.questions, ["a.test"] * 3)
        self.resolver.answer("a.test", answer("10.0.0.1"))
        for one in waiting:
            self.assertEqual(hosts(self.successResultOf(one)), ["10.0.0.1"])
        for _ in range(2):
            self.resolver.answer("a.test", answer("10.0.0.2"))
        self.assertEqual(self.get("a.test", names), ["10.0.0.2"])

    def test_names_apart(self) -> None:
        """Different names are different questions, each answered when its answer comes."""
        a, b = self.wanted("a.test"), self.wanted("b.test")
        self.resolver.answer("b.test", answer("10.0.0.2"))
        self.assertNoResult(a)
        self.assertEqual(hosts(self.successResultOf(b)), ["10.0.0.2"])
        self.resolver.answer("a.test", answer("10.0.0.1"))
        self.assertEqual(hosts(self.successResultOf(a)), ["10.0.0.1"])

    def test_order(self) -> None:
        """The order of an answer says nothing: a record is in the order of its addresses, without repetitions."""
        self.answered("a.test", "10.0.0.10", "::1", "10.0.0.9", "10.0.0.10")
        self.assertEqual(self.get("a.test"), ["10.0.0.9", "10.0.0.10", "::1"])

    def test_stale_while_asking(self) -> None:
        """An answer holds for its time; after it, it serves on at once while the name is asked for again."""
        self.answered("a.test", "10.0.0.1", ttl=10.0)
        self.clock.advance(9.9)
        self.assertEqual(self.get("a.test"), ["10.0.0.1"])
        self.assertEqual(self.resolver.questions, ["a.test"])
        self.clock.advance(0.2)
        for _ in range(3):
            self.assertEqual(self.get("a.test"), ["10.0.0.1"])
        self.assertEqual(self.resolver.questions, ["a.test"] * 2)
        self.resolver.answer("a.test", answer("10.0.0.2"))
        self.assertEqual(self.get("a.test"), ["10.0.0.2"])

    def test_too_stale(self) -> None:
        """Beyond ``stale_ttl`` an answer serves nobody."""
        self.answered("a.test", "10.0.0.1", ttl=10.0)
        self.clock.advance(109.9)
        self.assertEqual(self.get("a.test"), ["10.0.0.1"])
        self.clock.advance(0.2)
        waiting = self.wanted("a.test")
        self.resolver.answer("a.test", NameNotResolved("a.test", "timeout"))
        self.failureResultOf(waiting, NameNotResolved)

    def test_time_of_the_answer(self) -> None:
        """The time of an answer begins when it comes, not when it was asked for."""
        found = self.wanted("a.test")
        self.clock.advance(60)
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=10.0))
        self.successResultOf(found)
        self.clock.advance(9.9)
        self.get("a.test")
        self.assertEqual(self.resolver.questions, ["a.test"])

    def test_failures_are_believed(self) -> None:
        """A failure is told to all who wait, and to whoever asks for as long as it is believed; then one asks again."""
        for error, believed in ((NameNotResolved("a.test", "timeout"), 1.0), (NameNotFound(), 30.0)):
            waiting = [self.wanted("a.test") for _ in range(3)]
            self.resolver.answer("a.test", error)
            for one in waiting:
                self.assertIs(self.failureResultOf(one).value, error)
            asked = len(self.resolver.questions)
            self.clock.advance(believed - 0.1)
            with self.assertRaises(NameFailure) as refused:
                self.names.get("a.test")
            self.assertIs(refused.exception, error)
            self.assertEqual(len(self.resolver.questions), asked)
            self.clock.advance(0.2)
        self.answered("a.test", "10.0.0.1")

    def test_traces(self) -> None:
        """A failure that is told again and again does not grow."""
        waiting = self.wanted("a.test")
        self.resolver.answer("a.test", NameNotFound())
        self.failureResultOf(waiting, NameNotFound)
        depths = []
        for _ in range(5):
            with self.assertRaises(NameNotFound) as refused:
                self.names.get("a.test")
            depth, trace = 0, refused.exception.__traceback__
            while trace is not None:
                depth, trace = depth + 1, trace.tb_next
            depths.append(depth)
        self.assertEqual(len(set(depths)), 1)

    def test_failing_resolver(self) -> None:
        """A resolver that raises what it should not is logged, and its callers are told that nobody could tell."""
        waiting = [self.wanted("a.test") for _ in range(2)]
        self.resolver.answer("a.test", ZeroDivisionError())
        for one in waiting:
            self.assertIn("a.test", str(self.failureResultOf(one, NameNotResolved).value))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(2)
        self.answered("a.test", "10.0.0.1")

    def test_empty_answer(self) -> None:
        """An answer without addresses, which no resolver should give, leaves nobody waiting for ever."""
        waiting = [self.wanted("a.test") for _ in range(2)]
        self.resolver.answer("a.test", answer())
        for one in waiting:
            self.failureResultOf(one, NameNotFound)
        self.clock.advance(31)
        self.answered("a.test", "10.0.0.1")

    def test_cancelled_waiter(self) -> None:
        """Who waits no longer changes nothing for the others, nor for what is known afterwards."""
        cancelled, waiting = self.wanted("a.test"), self.wanted("a.test")
        cancelled.addErrback(lambda _: None).cancel()
        self.assertNoResult(waiting)
        self.resolver.answer("a.test", answer("10.0.0.1"))
        self.assertEqual(hosts(self.successResultOf(waiting)), ["10.0.0.1"])
        self.assertEqual(self.get("a.test"), ["10.0.0.1"])

    def test_all_cancelled(self) -> None:
        """With nobody waiting any more the answer is kept, and a failure is nobody's."""
        for name, outcome in (("a.test", answer("10.0.0.1")), ("b.test", NameNotFound())):
            self.wanted(name).addErrback(lambda _: None).cancel()
            self.resolver.answer(name, outcome)
        self.assertEqual(self.get("a.test"), ["10.0.0.1"])
        self.assertRaises(NameNotFound, self.names.get, "b.test")

    def test_asking_from_an_answer(self) -> None:
        """Who is told may ask again at once, whatever it was told."""
        again: list[str] = []

        def ask_again(_: object) -> None:
            again.extend(self.get("a.test"))

        waiting = self.wanted("a.test")
        _ = waiting.addBoth(ask_again)
        other = self.wanted("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1"))
        self.successResultOf(waiting)
        self.successResultOf(other)
        self.assertEqual(again, ["10.0.0.1"])

    def test_answer_at_once(self) -> None:
        """A resolver may know at once."""
        names = self.make(AtOnce(a=answer("10.0.0.1"), b=NameNotFound()))
        self.assertEqual(self.get("a.test", names), ["10.0.0.1"])
        self.assertRaises(NameNotFound, names.get, "b.test")

    def test_size(self) -> None:
        """Of names nobody uses no more than ``size`` are remembered; who was wanted last stays."""
        resolver = AtOnce(**{f"n{number}": answer("10.0.0.1") for number in range(5)})
        names = self.make(resolver, size=3)
        for number in (0, 1, 2, 0, 3, 4):
            self.get(f"n{number}.test", names)
        self.assertEqual({name.text for name in names.all()}, {"n0.test", "n3.test", "n4.test"})
        self.get("n0.test", names)
        self.assertEqual(resolver.questions["n0.test"], 1)

    def test_most(self) -> None:
        """An answer of ten thousand addresses is cut, and serves."""
        many = [f"10.0.{number >> 8}.{number & 255}" for number in range(10_000)]
        names = self.make(AtOnce(a=answer(*many)))
        self.assertEqual(self.get("a.test", names), many[:MOST])

    def test_walk(self) -> None:
        """A request tries the entries in turn, and begins by weight and chance."""
        names = self.make(AtOnce(a=services(("10.0.0.1", 81, 30), ("10.0.0.2", 82, 10), ("10.0.0.3", 83, 0))))
        record = names.get("a.test")
        assert isinstance(record, Record)
        first = Counter(names.walk(record)[0].host for _ in range(400))
        self.assertEqual(sorted(first), ["10.0.0.1", "10.0.0.2"])
        self.assertTrue(250 < first["10.0.0.1"] < 350)
        walk = [entry.host for entry in names.walk(record)]
        self.assertEqual(sorted(walk), ["10.0.0.1", "10.0.0.2", "10.0.0.3"])


class TtlZeroTests(NamesCase):
    """Names whose answers hold for the request that asked."""

    def setUp(self) -> None:
        super().setUp()
        waiting = self.wanted("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=0.0))
        self.assertTrue(self.successResultOf(waiting).virtual)

    def test_every_request_asks(self) -> None:
        """Each request asks; those that come while it is being asked share the answer."""
        for number in (2, 3):
            waiting = [self.wanted("a.test") for _ in range(4)]
            self.resolver.answer("a.test", answer(f"10.0.0.{number}", ttl=0.0))
            for one in waiting:
                self.assertEqual(hosts(self.successResultOf(one)), [f"10.0.0.{number}"])
        self.assertEqual(len(self.resolver.questions), 3)

    def test_outage(self) -> None:
        """While nobody can tell, the last answer serves: after a moment's patience, and then at once."""
        waiting = self.wanted("a.test")
        self.clock.advance(PATIENCE + 0.1)
        self.assertEqual(hosts(self.successResultOf(waiting)), ["10.0.0.1"])
        self.assertEqual(self.get("a.test"), ["10.0.0.1"])
        self.resolver.answer("a.test", NameNotResolved("a.test", "timeout"))
        self.assertEqual(self.get("a.test"), ["10.0.0.1"])
        self.assertEqual(len(self.resolver.questions), 2)

    def test_does_not_exist(self) -> None:
        """That the name does not exist is an answer."""
        waiting = self.wanted("a.test")
        self.resolver.answer("a.test", NameNotFound())
        self.failureResultOf(waiting, NameNotFound)

    def test_back(self) -> None:
        """An answer that holds again is asked for no more."""
        waiting = self.wanted("a.test")
        self.resolver.answer("a.test", answer("10.0.0.2", ttl=10.0))
        self.assertFalse(self.successResultOf(waiting).virtual)
        self.assertEqual(self.get("a.test"), ["10.0.0.2"])

    def test_kept(self) -> None:
        """Where such a name is kept it is asked now and then, however many requests ask besides."""
        self.kept("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=0.0))
        asked = len(self.resolver.questions)
        for _ in range(100):
            waiting = self.wanted("a.test")
            self.resolver.answer("a.test", answer("10.0.0.1", ttl=0.0))
            self.successResultOf(waiting)
        self.assertLess(len(self.names.reminders), 5)
        self.wait(AGAIN + LATE)
        self.assertEqual(len(self.resolver.questions), asked + 101)


class KeptTests(NamesCase):
    """Names that are asked without anybody asking for them."""

    def test_in_time(self) -> None:
        """A kept name is asked at once, and again whenever its answer has run out; its changes alone are told."""
        self.kept("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=10.0))
        self.assertEqual(self.told, [["10.0.0.1"]])
        self.wait(9.9)
        self.assertEqual(len(self.resolver.questions), 1)
        self.wait(0.1 + LATE)
        self.assertEqual(len(self.resolver.questions), 2)
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=10.0))
        self.wait(10 + LATE)
        self.resolver.answer("a.test", answer("10.0.0.2", ttl=10.0))
        self.assertEqual(self.told, [["10.0.0.1"], ["10.0.0.2"]])

    def test_forgotten(self) -> None:
        """A name nobody uses any more is forgotten and asked for no more; not before the last one has left."""
        name = self.kept("a.test")
        first = self.listener
        self.kept("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=1.0))
        name.leave(first)
        self.wait(1 + LATE)
        self.assertEqual(len(self.resolver.questions), 2)
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=1.0))
        name.leave(self.listener)
        self.assertEqual(list(self.names.all()), [])
        self.wait(10)
        self.assertEqual(len(self.resolver.questions), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_outage(self) -> None:
        """While a name server fails or has nothing to say nobody is told anything; who asks it, asks less and less."""
        name = self.kept("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=1.0))
        asked = []
        for _ in range(60):
            self.wait(1.0)
            while self.resolver.pending:
                asked.append(self.clock.seconds())
                self.resolver.answer("a.test", NameNotResolved("a.test", "timeout"))
        self.assertEqual(self.told, [["10.0.0.1"]])
        self.assertEqual(hosts(name.record), ["10.0.0.1"])
        self.assertTrue(4 < len(asked) < 12)
        self.wait(20)
        self.resolver.answer("a.test", NameNotFound(empty=True))
        self.assertEqual(hosts(name.record), ["10.0.0.1"])

    def test_too_long_an_outage(self) -> None:
        """When the outage outlives ``stale_ttl`` the record is gone, and comes back with an answer."""
        self.kept("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=1.0))
        for _ in range(130):
            self.wait(1.0)
            while self.resolver.pending:
                self.resolver.answer("a.test", NameNotResolved("a.test", "timeout"))
        self.assertEqual(self.told, [["10.0.0.1"], []])
        while not self.resolver.pending:
            self.wait(1.0)
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=1.0))
        self.assertEqual(self.told[2:], [["10.0.0.1"]])

    def test_gone(self) -> None:
        """That a name does not exist any more is told at once, and that it does again after ``not_found_ttl``."""
        self.kept("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=1.0))
        self.wait(1 + LATE)
        self.resolver.answer("a.test", NameNotFound())
        self.assertEqual(self.told, [["10.0.0.1"], []])
        self.wait(30 + LATE)
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=1.0))
        self.assertEqual(self.told[2:], [["10.0.0.1"]])

    def test_last_second(self) -> None:
        """One TTL of 0 after others is the last second of somebody's cache; two in a row mean it."""
        name = self.kept("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1", ttl=5.0))
        for virtual in (False, True):
            self.wait(5 + LATE)
            self.resolver.answer("a.test", answer("10.0.0.1", ttl=0.0))
            assert name.record is not None
            self.assertEqual(name.record.virtual, virtual)

    def test_spread(self) -> None:
        """Names that were asked in one moment are not asked again in one moment, and never too early."""
        resolver = AtOnce(**{f"n{number}": answer("10.0.0.1", ttl=1.0) for number in range(200)})
        names = self.make(resolver)
        for number in range(200):
            names.use(f"n{number}.test", lambda: None, keep=True)
        per_tick = []
        for _ in range(40):
            before = resolver.questions.total()
            self.clock.advance(TICK)
            per_tick.append(resolver.questions.total() - before)
        self.assertEqual(sum(per_tick[:19]), 0)
        self.assertLess(max(per_tick), 50)
        self.assertGreaterEqual(min(resolver.questions.values()), 2)

    def test_listener_that_fails(self) -> None:
        """A user that fails is logged, and the others are told."""

        def failing() -> None:
            raise ZeroDivisionError

        self.names.use("a.test", failing, keep=True)
        self.kept("a.test")
        self.resolver.answer("a.test", answer("10.0.0.1"))
        self.assertEqual(self.told, [["10.0.0.1"]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class HostsOfAnswersTests(NamesCase):
    """Answers that lead to names, as SRV records do."""

    def records(self, name: Name) -> list[tuple[str, int | None, int | None, str | None]]:
        return [] if name.record is None else [tuple(entry) for entry in name.record.entries]  # type: ignore[misc]

    def test_resolved_in_turn(self) -> None:
        """The hosts of an answer are asked by their addresses; port and weight come with the host."""
        name = self.kept("s.test")
        self.resolver.answer("s.test", services(("B.test.", 81, 10), ("a.test.", 82, 20)))
        self.assertIsNone(name.record)
        self.assertFalse(name.settled)
        self.assertEqual(self.resolver.questions, ["s.test", "host a.test.", "host b.test."])
        self.resolver.answer("host a.test.", answer("10.0.0.1"))
        self.assertEqual(self.told, [])
        self.resolver.answer("host b.test.", answer("10.0.0.2"))
        self.assertEqual(self.told, [["10.0.0.1", "10.0.0.2"]])
        self.assertEqual(self.records(name), [("10.0.0.1", 82, 20, "a.test"), ("10.0.0.2", 81, 10, "B.test")])

    def test_own_time(self) -> None:
        """Each is asked again by its own time, and what one of them says is known of the whole."""
        name = self.kept("s.test")
        self.resolver.answer("s.test", services(("a.test.", 81, 10), ttl=1000.0))
        self.resolver.answer("host a.test.", answer("10.0.0.1", ttl=1.0))
        for number in range(2, 30):
            self.wait(1 + LATE)
            self.resolver.answer("host a.test.", answer(f"10.0.0.{number}", ttl=1.0))
            self.assertEqual(hosts(name.record), [f"10.0.0.{number}"])
        self.assertEqual(self.resolver.questions.count("s.test"), 1)
        self.assertLess(len(self.names.reminders), 5)

    def test_weights_are_shared(self) -> None:
        """A host with several addresses has the weight of its record as a whole; the same address twice adds up."""
        name = self.kept("s.test")
        self.resolver.answer("s.test", services(("a.test.", 81, 5), ("b.test.", 81, 10)))
        self.resolver.answer("host a.test.", answer("10.0.0.1", "10.0.0.2"))
        self.resolver.answer("host b.test.", answer("10.0.0.2"))
        self.assertEqual([(entry[0], entry[2]) for entry in self.records(name)], [("10.0.0.1", 3), ("10.0.0.2", 12)])

    def test_host_that_fails(self) -> None:
        """A host without an address is left out; where none has one, the name has none for the same reason."""
        name = self.kept("s.test")
        self.resolver.answer("s.test", services(("a.test.", 81, 5), ("b.test.", 81, 10)))
        self.resolver.answer("host a.test.", NameNotResolved("a.test", "timeout"))
        self.resolver.answer("host b.test.", answer("10.0.0.2", ttl=1.0))
        self.assertEqual(hosts(name.record), ["10.0.0.2"])
        self.wait(1 + LATE)
        self.resolver.answer("host b.test.", NameNotFound("not there"))
        assert name.error is not None
        self.assertEqual((name.record, name.error.reason), (None, "timeout"))

    def test_host_blip(self) -> None:
        """A host that cannot be asked for keeps its addresses."""
        name = self.kept("s.test")
        self.resolver.answer("s.test", services(("a.test.", 81, 5)))
        self.resolver.answer("host a.test.", answer("10.0.0.1", ttl=1.0))
        self.wait(1 + LATE)
        self.resolver.answer("host a.test.", NameNotResolved("a.test", "timeout"))
        self.assertEqual((hosts(name.record), self.told), (["10.0.0.1"], [["10.0.0.1"]]))

    def test_forgotten(self) -> None:
        """A host no answer leads to any more is forgotten, and so are all when the name is."""
        name = self.kept("s.test")
        self.resolver.answer("s.test", services(("a.test.", 81, 5), ("b.test.", 81, 5), ttl=1.0))
        self.resolver.answer("host a.test.", answer("10.0.0.1", ttl=100.0))
        self.resolver.answer("host b.test.", answer("10.0.0.2", ttl=100.0))
        self.wait(1 + LATE)
        self.resolver.answer("s.test", services(("b.test.", 81, 5), ttl=50.0))
        self.assertEqual({one.text for one in self.names.all()}, {"s.test", "b.test."})
        self.assertEqual(hosts(name.record), ["10.0.0.2"])
        name.leave(self.listener)
        self.assertEqual(list(self.names.all()), [])

    def test_circle(self) -> None:
        """Names in the answer for a host lead nowhere."""
        names = self.make(AtOnce(s=services(("s.test", 81, 5))))
        name = self.kept("s.test", names)
        self.assertEqual((name.record, name.settled), (None, True))
        self.assertIsInstance(name.error, NameNotFound)

    def test_host_of_ttl_zero(self) -> None:
        """A host of TTL 0 is asked for every request, the name that led to it is not."""
        self.kept("s.test")
        self.resolver.answer("s.test", services(("a.test.", 81, 5), ttl=100.0))
        self.resolver.answer("host a.test.", answer("10.0.0.1", ttl=0.0))
        for number in (2, 3):
            waiting = self.wanted("s.test")
            self.resolver.answer("host a.test.", answer(f"10.0.0.{number}", ttl=0.0))
            self.assertEqual(hosts(self.successResultOf(waiting)), [f"10.0.0.{number}"])
        self.assertEqual(self.resolver.questions.count("s.test"), 1)


class ForgottenTests(NamesCase):
    """Names that nobody uses any more."""

    def texts(self) -> list[str]:
        return sorted(name.text for name in self.names.all())

    def test_while_asked_for_the_first_time(self) -> None:
        """A name that is left while it is asked for leaves no others behind when it is answered."""
        self.kept("s.test").leave(self.listener)
        self.resolver.answer("s.test", services(("a.test.", 81, 5)))
        self.resolver.answer("host a.test.", answer("10.0.0.1"))
        self.assertEqual(self.texts(), [])

    def test_while_asked_again(self) -> None:
        """Nor does one that is left while it is asked again, whatever the new answer is."""
        name = self.kept("s.test")
        self.resolver.answer("s.test", services(("a.test.", 81, 5), ttl=1.0))
        self.resolver.answer("host a.test.", answer("10.0.0.1", ttl=100.0))
        self.wait(1 + LATE)
        name.leave(self.listener)
        self.resolver.answer("s.test", services(("b.test.", 81, 5)))
        self.resolver.answer("host b.test.", answer("10.0.0.2"))
        self.assertEqual(self.texts(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_used_after_all(self) -> None:
        """A name that nobody used, and somebody does by now, makes no room for others."""
        names = self.names = self.make(self.resolver, size=1)
        names.get("a.test")
        self.kept("a.test")
        names.get("b.test")
        names.get("c.test")
        self.assertEqual(self.texts(), ["a.test", "c.test"])
