"""Who is turned away is counted, and told to the log now and then.

Whoever is turned away may come back a thousand times a second: of each reason there is one line at a time, which says
how many more there were.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_kong.errors import ProxyError
from twisted_kong.telemetry.refusals import Refused

if TYPE_CHECKING:
    from twisted_kong.proxy.core import ProxyCore

log = Logger()

INTERVAL = 10.0
"""Seconds between two lines of the same reason."""


class Refusals:
    """``counts`` has how many there were."""

    def __init__(self, counts: Refused, seconds: Callable[[], float]) -> None:
        self.counts = counts
        self._seconds = seconds
        self._told: dict[str, tuple[float, int]] = {}  # when a line was written last, and how many there were then

    def cut_off(self, reason: str) -> None:
        """A connection or stream is cut off for a reason of `twisted_kong.telemetry.refusals.CUT_OFF`."""
        self.counts.cut_off[reason] += 1

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


def last_answer(core: ProxyCore, error: ProxyError) -> tuple[bytes, bytes, int]:
    """All of the answer of HTTP/1 that tells ``error`` of what could not be read, and ends its connection; its id, and
    the size of its body."""
    request_id = core.new_request_id()
    lines, body = core.made_up(error, None, request_id)
    lines += core.tokens.decided(request_id, 0.0)
    phrase = HTTPStatus(error.status).phrase.encode()
    head = b"HTTP/1.1 %d %b\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (error.status, phrase, lines, len(body)) + body, request_id, len(body)
