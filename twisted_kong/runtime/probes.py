"""One probe: a checker asks a peer, within its time, over at most one connection, which never outlives the probe.

Each step (to find the address, to connect, to hear the outcome) has the time of ``healthchecks.active.timeout``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError
from twisted.internet.interfaces import IAddress, IConnector, IProtocol
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.errors import ProxyError
from twisted_kong.interfaces import IHealthChecker, IProbe
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.guard import ComponentFailed
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.peers import Peer
from twisted_kong.runtime.records import Record
from twisted_kong.tasks import Deadlines, Waiter

log = Logger()

MakeTls = Callable[[Upstream, str, bool, Sequence[bytes]], Any]
"""What makes TLS connections to an upstream: server name, whether to verify it, protocols to agree on (ALPN)."""
Ended = Callable[["Probe", Outcome | None], None]
"""Who is told the outcome; None where nothing was learnt."""


class _Dial(ClientFactory):
    """Connects a checker's protocol, and tells the probe how that goes."""

    noisy = False

    def __init__(self, probe: Probe, protocol: IProtocol) -> None:
        self._probe = probe
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        self._probe.connected()
        return self._protocol  # type: ignore[return-value]  # an interface is what Twisted wants of it, too

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._probe.lost(reason)

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        self._probe.lost(reason)


@implementer(IProbe)
class Probe(Waiter):
    """See the module. Each step takes ``timeout`` seconds at most. ``ended`` is told exactly once."""

    def __init__(
        self,
        reactor: Any,
        names: Names,
        make_tls: MakeTls,
        upstream: Upstream,
        peer: Peer,
        deadlines: Deadlines,
        timeout: float,
        ended: Ended,
    ) -> None:
        super().__init__(deadlines)
        self.name = peer.name
        self.host = peer.host
        self.port = peer.port
        self._reactor = reactor
        self._names = names
        self._make_tls = make_tls
        self._upstream = upstream
        self._resolved = peer.resolved
        self._timeout = timeout
        self._ended = ended
        self._checker: IHealthChecker
        self._waiting: Deferred[Any] | None = None
        self._connector: IConnector | None = None
        self._protocol: Any = None
        self._begun = 0.0
        self._over = False

    def start(self, checker: IHealthChecker) -> None:
        """Let ``checker`` ask."""
        self._checker = checker
        self._begun = self._reactor.seconds()
        self.arm(self._timeout)
        if self._resolved:
            self._ask()
        else:
            self._find()

    def give_up(self) -> None:
        """Nobody wants to know any more."""
        self._end(None)

    def timed_out(self) -> None:
        if self._resolved:
            self._end(Outcome("timeout", error="timeout"))
        else:
            self._not_found(Failure(ProxyError("no answer in time")))

    # -- the address -------------------------------------------------------------------------------------------

    def _find(self) -> None:
        try:
            found = self._names.get(self.host)
        except ProxyError:
            self._not_found(Failure())
            return
        if isinstance(found, Deferred):
            self._waiting = found
            _ = found.addCallbacks(self._found, self._not_found)
        else:
            self._found(found)

    def _found(self, record: Record) -> None:
        """Ask the first of the addresses, which take turns."""
        if not self._over:
            first = self._names.walk(record)[0]
            self.host, self.port = first.host, first.port or self.port
            self._resolved = True
            self.arm(self._timeout)
            self._ask()

    def _not_found(self, reason: Failure) -> None:
        """No address says nothing of who has it."""
        if not self._over:
            log.warn("a probe finds no address of {name}: {reason}", name=self.name, reason=reason.getErrorMessage())
            self._end(None)

    # -- the question ------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        try:
            asked = self._checker.check(self)
            waiting = asked if isinstance(asked, Deferred) else Deferred.fromCoroutine(asked)  # type: ignore[arg-type]
        except Exception:
            self._broken(Failure())
            return
        self._waiting = waiting
        _ = waiting.addCallbacks(self._end, self._broken)

    def _broken(self, reason: Failure) -> None:
        """The checker failed, which says nothing of the peer."""
        if not self._over:
            if not reason.check(ComponentFailed):  # that has been told
                kind = self._upstream.healthchecks.active.type
                log.failure("the health checker {kind} failed on {name}", reason, kind=kind, name=self._upstream.name)
            self._end(None)

    def connect(self, protocol: IProtocol) -> None:
        if not self._over:
            self._protocol = protocol
            self._connector = self._reactor.connectTCP(self.host, self.port, _Dial(self, protocol), None)

    def connect_tls(self, protocol: IProtocol, server_name: str, verify: bool, alpn: Sequence[bytes]) -> None:
        if not self._over:
            self._protocol = protocol
            tls = self._make_tls(self._upstream, server_name, verify, alpn)
            self._connector = self._reactor.connectSSL(self.host, self.port, _Dial(self, protocol), tls, None)

    def connected(self) -> None:
        """The connection is there; the outcome may take as long again."""
        if not self._over:
            self.arm(self._timeout)

    def lost(self, reason: Failure) -> None:
        """There is no connection, or none any more; that we have no socket left for one is not the peer's fault."""
        if reason.check(ConnectBindError):
            log.error("a probe of {name} has no socket: {reason}", name=self.name, reason=reason.getErrorMessage())
            self._end(None)
        else:
            self._end(Outcome("tcp", error=reason.getErrorMessage()))

    # -- the end -----------------------------------------------------------------------------------------------

    def _end(self, outcome: Outcome | None) -> None:
        if self._over:
            return
        self._over = True
        self._deadlines.forget(self)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            _ = waiting.addErrback(lambda _: None)
            waiting.cancel()
        self._hang_up()
        if outcome is not None and outcome.latency is None:
            outcome = outcome._replace(latency=self._reactor.seconds() - self._begun)
        self._ended(self, outcome)

    def _hang_up(self) -> None:
        connector, self._connector = self._connector, None
        transport = getattr(self._protocol, "transport", None)
        if transport is not None:
            transport.abortConnection()
        elif connector is not None:
            connector.disconnect()
