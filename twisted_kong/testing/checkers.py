"""A probe in memory, a checker that says what it is told to, and the contract of `IHealthChecker`."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory, IProbe
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome
from twisted_kong.testing.entities import an_upstream


@implementer(IProbe)
class ProbeInMemory:
    """A probe whose connection is in memory: what is said stands in ``transport``, and ``tls`` is what was asked for.

    The test plays the peer on ``protocol``.
    """

    def __init__(self, name: str = "a.test", host: str = "10.0.0.1", port: int = 80) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.transport = StringTransport()
        self.protocol: Any = None
        self.tls: tuple[str, bool, tuple[bytes, ...]] | None = None

    def connect(self, protocol: IProtocol) -> None:
        assert self.protocol is None, "expected one connection for a probe, got another"
        self.protocol = protocol
        protocol.makeConnection(self.transport)

    def connect_tls(self, protocol: IProtocol, server_name: str, verify: bool, alpn: Sequence[bytes]) -> None:
        self.tls = (server_name, verify, tuple(alpn))
        self.transport.negotiatedProtocol = alpn[0] if alpn else None  # type: ignore[attr-defined]  # as with TLS
        self.connect(protocol)

    @property
    def sent(self) -> bytes:
        """What the peer has got by now."""
        sent: bytes = self.transport.value()
        return sent

    def receive(self, *pieces: bytes) -> None:
        """The peer answers, piece by piece."""
        for piece in pieces:
            self.protocol.dataReceived(piece)

    def hang_up(self) -> None:
        """The peer ends the connection."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


@implementer(IHealthChecker)
class SaidHealth:
    """A checker that asks nobody: ``outcomes`` are what it says, by the peer's name; all others are well."""

    def __init__(self, outcomes: Mapping[str, Outcome] | None = None) -> None:
        self.outcomes = dict(outcomes or {})

    async def check(self, probe: IProbe) -> Outcome:
        return self.outcomes.get(probe.name, Outcome(None, 200))


@implementer(IHealthCheckerFactory)
class SaidHealthFactory:
    """Makes checkers that say this."""

    name = "said-health"

    def __init__(self, outcomes: Mapping[str, Outcome] | None = None) -> None:
        self._outcomes = outcomes

    def build(self, upstream: Upstream) -> IHealthChecker:
        return SaidHealth(self._outcomes)


Play = Callable[[ProbeInMemory], None]
"""The part of a peer that has been connected to: it looks at what was sent, answers, and perhaps hangs up."""

WELL, ILL = "well.test", "ill.test"


def health_checker_contract(
    make_factory: Callable[[], IHealthCheckerFactory],
    upstream: Upstream | None = None,
    *,
    well: Play | None = None,
    ill: Play | None = None,
) -> type[TestCase]:
    """What every `IHealthCheckerFactory` and the checkers it builds must do; ``make_factory()`` makes one.

    The checker is built for ``upstream``, or for one where everything is left to its default. Where ``well`` and
    ``ill`` play a peer that is, what the checker makes of the two is tested as well; they are called ``well.test`` and
    ``ill.test``.
    """
    checked = upstream or an_upstream("orders")[0]

    class HealthCheckerContract(TestCase):
        """The behaviour that the gateway relies on."""

        def setUp(self) -> None:
            self.checker: IHealthChecker = make_factory().build(checked)

        def start(self) -> tuple[ProbeInMemory, list[Outcome], Deferred[Any]]:
            """A probe under way, the outcomes it has come to, and what waits for them."""
            probe, found = ProbeInMemory(), list[Outcome]()
            waiting = _started(self.checker.check(probe))
            _ = waiting.addCallback(found.append)
            return probe, found, waiting

        def test_interface(self) -> None:
            """Factory and checker provide their interfaces; the factory has a name."""
            verifyObject(IHealthCheckerFactory, make_factory())
            verifyObject(IHealthChecker, self.checker)
            self.assertIsInstance(make_factory().name, str)

        def test_lost(self) -> None:
            """A connection that ends at once is no success, unless there was an outcome before."""
            probe, found, _ = self.start()
            before = list(found)
            if probe.protocol is not None:
                probe.protocol.connectionLost(Failure(ConnectionDone()))
            self.assertEqual([each.failure is None for each in found[len(before) :]].count(True), 0)

        def test_time_is_up(self) -> None:
            """Nobody minds that whoever waits for the outcome is cancelled, and that the connection ends then."""
            probe, _, waiting = self.start()
            _ = waiting.addErrback(lambda _: None)
            waiting.cancel()
            if probe.protocol is not None:
                probe.protocol.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(self.flushLoggedErrors(), [])

        def test_noise(self) -> None:
            """Whatever a peer says, piece by piece, leads to one outcome at most and to no exception."""
            probe, found, _ = self.start()
            for _turn in range(100):
                if probe.protocol is not None:
                    probe.protocol.dataReceived(b"\x00\xff noise \r\n" * 100)
            self.assertLessEqual(len(found), 1)

        def test_apart(self) -> None:
            """Probes under way at the same time do not share anything."""
            one, others, _ = self.start()
            another, found, _ = self.start()
            if one.protocol is not None and not others:
                self.assertIsNot(one.protocol, another.protocol)
                one.protocol.connectionLost(Failure(ConnectionDone()))
                self.assertEqual(found, [])

    if well is None or ill is None:
        return HealthCheckerContract
    judging: type[TestCase] = _judging(HealthCheckerContract, {WELL: well, ILL: ill})
    return judging


def _judging(contract: Any, plays: Mapping[str, Play]) -> Any:
    """The same with what a checker must make of peers that are played."""

    class JudgingContract(contract):  # type: ignore[misc]  # made above
        """The behaviour that the gateway relies on, of peers well and ill."""

        def begin(self, name: str) -> tuple[ProbeInMemory, Deferred[Outcome]]:
            """A probe of the peer of that name, under way."""
            probe = ProbeInMemory(name)
            return probe, _started(self.checker.check(probe))

        def play(self, probe: ProbeInMemory) -> None:
            """The part of the peer, if it has been connected to."""
            if probe.protocol is not None:
                plays[probe.name](probe)

        def outcome(self, name: str) -> Outcome:
            """What a probe of the peer of that name comes to."""
            probe, asked = self.begin(name)
            self.play(probe)
            outcome: Outcome = self.successResultOf(asked)
            self.assertIsInstance(outcome, Outcome)
            return outcome

        def test_well(self) -> None:
            """Of a peer that is well there is no failure, and no status that says otherwise."""
            outcome = self.outcome(WELL)
            self.assertIsNone(outcome.failure, outcome)
            self.assertIn(outcome.status, (None, 200, 302), outcome)

        def test_ill(self) -> None:
            """Of one that is ill there is a failure, or a status that says so."""
            outcome = self.outcome(ILL)
            self.assertFalse(outcome.failure is None and outcome.status in (None, 200, 302), outcome)

        def test_again(self) -> None:
            """One probe says nothing of the next, be it of the same peer."""
            found = [self.outcome(name)[:2] for name in (WELL, ILL, WELL, ILL)]
            self.assertEqual(found[:2], found[2:])

        def test_many_at_once(self) -> None:
            """Probes overlap and end in any order, each with its own outcome."""
            begun = [self.begin(name) for name in (WELL, ILL) * 3]
            for probe, _ in reversed(begun):
                self.play(probe)
            found = [self.successResultOf(asked)[:2] for _, asked in begun]
            self.assertEqual(found[:2] * 3, found)

    return JudgingContract


def _started(work: Awaitable[Outcome]) -> Deferred[Any]:
    async def wait() -> Outcome:
        return await work

    return work if isinstance(work, Deferred) else Deferred.fromCoroutine(wait())
