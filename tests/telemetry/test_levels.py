"""Which events reach the log."""

from __future__ import annotations

import pytest
from twisted.logger import LogEvent, Logger, LogPublisher

from twisted_kong.settings.declared import DECLARED
from twisted_kong.telemetry.levels import LEVELS, Threshold

ASCENDING = ("debug", "info", "warn", "error", "critical")


class Log:
    """A log of its own, and what reaches it."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self.publisher = LogPublisher(self.events.append)  # type: ignore[arg-type]  # Twisted calls anything
        self.log = Logger(observer=self.publisher)

    def reached(self) -> list[str]:
        """The levels of which an event is written, if one of each is logged."""
        self.events.clear()
        for level in ASCENDING:
            getattr(self.log, level)("something")
        return [event["log_level"].name for event in self.events]


@pytest.mark.parametrize("level", LEVELS)
def test_level_and_above(level: str) -> None:
    """Of every level of Kong's, what is at least as grave is written, and nothing else."""
    log = Log()
    Threshold(level, log.publisher)
    assert log.reached() == list(ASCENDING[ASCENDING.index(LEVELS[level].name) :])


def test_every_level_of_the_setting_is_known() -> None:
    """What the setting takes is what there is."""
    for level in LEVELS:
        assert DECLARED["log_level"].parse(level) == level


def test_change_and_end() -> None:
    """The level may change at any time; in the end everything is written again, once."""
    log = Log()
    threshold = Threshold("emerg", log.publisher)
    threshold.set("warn")
    assert log.reached() == ["warn", "error", "critical"]
    threshold.close()
    assert log.reached() == list(ASCENDING)


def test_unknown_level() -> None:
    """An event that says no level is written whatever the level."""
    log = Log()
    Threshold("emerg", log.publisher)
    log.publisher({"log_format": "something"})
    assert len(log.events) == 1
