"""Who is turned away is counted, and told to the log now and then.

Whoever is turned away may come back a thousand times a second: of each reason there is one line at a time, which says
how many more there were.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from twisted_kong.telemetry.refusals import Refused

log = Logger()

INTERVAL = 10.0
"""Seconds between two lines of the same reason."""


class Refusals:
    """``counts`` has how many there were."""

    def __init__(self, counts: Refused, seconds: Callable[[], float]) -> None:
        self.counts = counts
        self._seconds = seconds
        self._told: dict[str, tuple[float, int]] = {}  # when a line was written last, and how many there were then

    def connection(self, reason: str, peer: str, why: str) -> None:
        """A connection from ``peer`` is closed for a reason of `twisted_kong.telemetry.refusals.CONNECTIONS`; ``why``
        tells a person more."""
        counts = self.counts.connections
        count = counts[reason] = counts[reason] + 1
        now = self._seconds()
        last, before = self._told.get(reason, (-INTERVAL, 0))
        if now - last < INTERVAL:
            return
        self._told[reason] = now, count
        more = count - before - 1
        log.warn(
            "a connection from {peer} is closed: {why}{more}",
            peer=peer or "unix:",
            why=why,
            more=f" ({more} more for the same reason since the last such line)" if more else "",
        )
