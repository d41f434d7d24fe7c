"""``log_level``: which events of Twisted's logging reach the log.

Where the log is written is twistd's business: it has made its observers by the time that the gateway starts. What is
below the level is kept from them here, all that there are by then; those added later (a test's) see everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogPublisher,
    PredicateResult,
    globalLogPublisher,
)
from zope.interface import implementer

LEVELS: Mapping[str, Any] = MappingProxyType(
    {
        "debug": LogLevel.debug,
        "info": LogLevel.info,
        "notice": LogLevel.info,
        "warn": LogLevel.warn,
        "error": LogLevel.error,
        "crit": LogLevel.critical,
        "alert": LogLevel.critical,
        "emerg": LogLevel.critical,
    }
)
"""Kong's levels, from the most to the least that is logged, as Twisted has them: it knows no notice, and nothing above
critical, at which it logs failures that nobody has dealt with."""


@implementer(ILogFilterPredicate)
class _AtLeast:
    """Whether an event is of a level or above; one that says no level is let through."""

    def __init__(self, level: str) -> None:
        self.least = LEVELS[level]

    def __call__(self, event: LogEvent) -> Any:
        level = event.get("log_level")
        return PredicateResult.no if level is not None and level < self.least else PredicateResult.maybe


class Threshold:
    """Keeps what is below ``level``, one of `LEVELS`, from the observers of ``publisher``, until `close`."""

    def __init__(self, level: str, publisher: LogPublisher = globalLogPublisher) -> None:
        self._at_least = _AtLeast(level)
        self._publisher = publisher
        self._kept: list[tuple[ILogObserver, ILogObserver]] = []
        # Twisted has no public way to know them, nor any other to come between an event and who observes it.
        for observer in tuple(publisher._observers):
            self._kept.append((observer, FilteringLogObserver(observer, [self._at_least])))
        for observer, filtered in self._kept:
            publisher.removeObserver(observer)
            publisher.addObserver(filtered)

    def set(self, level: str) -> None:
        """From now on it is this level."""
        self._at_least.least = LEVELS[level]

    def close(self) -> None:
        """Let everything through again."""
        kept, self._kept = self._kept, []
        for observer, filtered in kept:
            self._publisher.removeObserver(filtered)
            self._publisher.addObserver(observer)
