"""What stands between the gateway and a component that fails: the log is told, and whoever asked gets on without it.

A component may fail with every request, so that each is told of at most once a second; how many failures went untold
comes with the next one that is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from twisted.logger import Logger

from twisted_kong.errors import ProxyError
from twisted_kong.model.components import Component

log = Logger()

QUIET = 1.0
"""Seconds from one line about a component to the next."""


class ComponentFailed(ProxyError):
    """A component broke its contract; the client is told nothing more than that."""

    logged = True


class Guard:
    """Tells of the failures of one component; ``seconds`` is the time by any clock."""

    def __init__(self, component: Component, seconds: Callable[[], float] = time.monotonic) -> None:
        self.component = component
        self.seconds = seconds
        self._next = float("-inf")
        self._untold = 0

    def failed(self, what: str) -> None:
        """The component failed to do ``what``, with the exception that is being handled."""
        now = self.seconds()
        if now < self._next:
            self._untold += 1
            return
        untold, self._untold, self._next = self._untold, 0, now + QUIET
        more = f"; it failed {untold} times since this was last logged" if untold else ""
        log.failure("{component} failed to {what}{more}", component=str(self.component), what=what, more=more)


class Guards:
    """The guards of ``components``, one for each."""

    def __init__(self, components: Iterable[Component] = (), seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._guards = {(each.kind, each.name): Guard(each, seconds) for each in components}

    def of(self, kind: str, name: str) -> Guard:
        """The guard of this component; of one that nobody told of, the origin is unknown."""
        guard = self._guards.get((kind, name))
        if guard is None:
            guard = self._guards[kind, name] = Guard(Component(kind, name, "origin unknown"), self._seconds)
        return guard
