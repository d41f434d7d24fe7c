"""Time and loose ends: the one way to let go of work, and the one way to wait for something not to happen.

Everything takes the clock as an argument.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine
from heapq import heappop, heappush
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()


def detach(work: Coroutine[Deferred[Any], Any, Any], what: str) -> None:
    """Let ``work`` go on by itself; a failure is logged with ``what`` it was, a cancellation is not."""

    def failed(failure: Failure) -> None:
        if not failure.check(CancelledError):
            log.failure("{what} failed", failure=failure, what=what)

    _ = Deferred.fromCoroutine(work).addErrback(failed)


NEVER = math.inf
ROUNDING = 1e-6
"""Seconds by which a timer may seem to be early: the time of day in seconds is a large number, and rounded."""


class Waiter:
    """Who may wait for something not to happen, one such thing at a time.

    ``due`` is when the time is up, `NEVER` while there is nothing to wait for. ``looked_at`` is when somebody will look
    whether it is, and not after ``due``. In between ``due`` may move away as often as it likes, at the cost of an
    assignment; that is what the waits of a busy connection do.
    """

    due: float
    looked_at: float

    def __init__(self, deadlines: Deadlines) -> None:
        self.due = self.looked_at = NEVER
        self._deadlines = deadlines
        self._now = deadlines.seconds

    def arm(self, seconds: float) -> None:
        """Call `timed_out` after ``seconds`` unless `disarm` or another `arm` comes first."""
        now = self._now  # a call of an attribute that is no method is looked up the long way
        self.due = due = now() + seconds
        if due < self.looked_at:
            self._deadlines.watch(self)

    def disarm(self) -> None:
        """Wait no longer; harmless for who does not wait."""
        self.due = NEVER

    def forget_deadline(self) -> None:
        """Wait for nothing ever again: who merely waits no longer is kept in memory until the time would be up."""
        self._deadlines.forget(self)

    def timed_out(self) -> None:
        """The time is up; the waiter no longer waits."""
        raise NotImplementedError


class Deadlines:
    """Looks after everybody who waits, with one timer for all of them.

    Whoever waits has a place among those who are looked at in the same `GRAIN`. When that has come, and what they wait
    for has moved away meanwhile, they get another place. A wait may end up to `GRAIN` seconds late, never early.
    """

    GRAIN = 0.01

    def __init__(self, clock: IReactorTime) -> None:
        self.seconds = clock.seconds
        self._clock = clock
        self._places: dict[int, dict[Waiter, None]] = {}  # by the number of their grain
        self._grains: list[int] = []  # a heap of the keys of _places
        self._timer: IDelayedCall | None = None

    def watch(self, waiter: Waiter) -> None:
        """Look at ``waiter``, which waits, when it is due."""
        if waiter.looked_at < NEVER:
            self._places[self._grain(waiter.looked_at)].pop(waiter)
        grain = self._grain(waiter.due)
        waiters = self._places.get(grain)
        if waiters is None:
            waiters = self._places[grain] = {}
            heappush(self._grains, grain)
        waiters[waiter] = None
        waiter.looked_at = waiter.due
        if self._grains[0] == grain and len(waiters) == 1:
            self._set_timer(0.0)

    def forget(self, waiter: Waiter) -> None:
        """``waiter`` is gone."""
        if waiter.looked_at < NEVER:
            self._places[self._grain(waiter.looked_at)].pop(waiter)
        waiter.due = waiter.looked_at = NEVER

    def close(self) -> None:
        """Forget everybody who waits."""
        for waiters in list(self._places.values()):
            for waiter in list(waiters):
                self.forget(waiter)
        self._places.clear()
        self._grains.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _grain(self, when: float) -> int:
        return math.ceil(when / self.GRAIN)

    def _set_timer(self, least: float) -> None:
        """Wake up for the first place, in ``least`` seconds at the earliest."""
        delay = max(self._grains[0] * self.GRAIN - self.seconds(), least)
        if self._timer is None:
            self._timer = self._clock.callLater(delay, self._look)
        else:
            self._timer.reset(delay)

    def _look(self) -> None:
        """Tell everybody whose time is up, then sleep until somebody else's may be.

        With nobody waiting the timer runs out by itself, so that an idle gateway has no work to do.
        """
        self._timer = None
        now = self.seconds()
        looked_at: list[Waiter] = []
        while self._grains and self._grains[0] * self.GRAIN <= now + ROUNDING:
            looked_at += self._places.pop(heappop(self._grains))
        for waiter in looked_at:
            waiter.looked_at = NEVER
        for waiter in looked_at:
            if now < waiter.due < NEVER:
                self.watch(waiter)
        if self._grains:
            self._set_timer(self.GRAIN)
        for waiter in looked_at:
            if waiter.due <= now:  # nobody told before has stopped it, or made it begin anew
                waiter.due = NEVER
                with log.failuresHandled("telling {waiter} that its time is up", waiter=waiter):
                    waiter.timed_out()
