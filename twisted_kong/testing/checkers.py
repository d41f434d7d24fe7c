"""A probe in memory, and the contract of `IHealthChecker`."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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


def health_checker_contract(
    make_factory: Callable[[], IHealthCheckerFactory], upstream: Upstream | None = None
) -> type[TestCase]:
    """What every `IHealthCheckerFactory` and the checkers it builds must do; ``make_factory()`` makes one.

    The checker is built for ``upstream``, or for one where everything is left to its default.
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

    return HealthCheckerContract


def _started(work: Awaitable[Outcome]) -> Deferred[Any]:
    async def wait() -> Outcome:
        return await work

    return work if isinstance(work, Deferred) else Deferred.fromCoroutine(wait())
