"""Health checkers, kept from doing harm.

A checker may be anybody's. One that raises, or answers what is no `Outcome`, has said nothing of the peer: the probe
counts for nothing, and the log is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from twisted.internet.defer import CancelledError
from zope.interface import implementer

from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory, IProbe
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.guard import ComponentFailed, Guard, Guards


@implementer(IHealthChecker)
class GuardedChecker:
    """Answers what ``checker`` does for the peers of ``name``.

    What is wrong with that is logged, and raised as `ComponentFailed`.
    """

    def __init__(self, name: str, checker: IHealthChecker, guard: Guard) -> None:
        self._name = name
        self._checker = checker
        self._guard = guard

    async def check(self, probe: IProbe) -> Outcome:
        try:
            outcome = await self._checker.check(probe)
            if not isinstance(outcome, Outcome):
                raise TypeError(f"expected an Outcome, got {outcome!r}")
            return outcome
        except CancelledError:
            raise  # it took too long, which the probe knows
        except Exception:
            self._guard.failed(f"check {probe.host}:{probe.port} of {self._name}")
            raise ComponentFailed(f"{self._guard.component} failed for {self._name}") from None


@implementer(IHealthCheckerFactory)
class GuardedCheckerFactory:
    """Makes what ``factory`` makes, guarded."""

    def __init__(self, factory: IHealthCheckerFactory, guard: Guard) -> None:
        self.name = factory.name
        self._factory = factory
        self._guard = guard

    def build(self, upstream: Upstream) -> IHealthChecker:
        """:raise ComponentFailed: nothing of use was made; the log has been told."""
        try:
            made = self._factory.build(upstream)
            if not IHealthChecker.providedBy(made):
                raise TypeError(f"expected a health checker, got {made!r}")
        except Exception:
            self._guard.failed(f"make a checker for {upstream.name}")
            raise ComponentFailed(f"{self._guard.component} failed for {upstream.name}") from None
        return GuardedChecker(upstream.name, made, self._guard)


def guarded_checkers(
    factories: Mapping[str, IHealthCheckerFactory], guards: Guards
) -> Mapping[str, IHealthCheckerFactory]:
    """The same factories, guarded."""
    return MappingProxyType(
        {name: GuardedCheckerFactory(factory, guards.of("checker", name)) for name, factory in factories.items()}
    )
