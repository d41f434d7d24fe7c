"""The checker ``tcp``: whoever accepts a connection is well."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_kong.health.checkers.asking import Asking
from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory, IProbe
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome


class _Knock(Asking):
    def connectionMade(self) -> None:
        self.conclude(Outcome())


@implementer(IHealthChecker)
class TcpChecker:
    """Connects, and hangs up."""

    def check(self, probe: IProbe) -> Deferred[Outcome]:
        knock = _Knock(probe)
        probe.connect(knock)
        return knock.outcome


@implementer(IPlugin, IHealthCheckerFactory)
class TcpCheckerFactory:
    name = "tcp"

    def build(self, upstream: Upstream) -> TcpChecker:
        return TcpChecker()
