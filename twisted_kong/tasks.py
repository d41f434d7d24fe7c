"""Time and loose ends: the one way to let go of work, and the one way to wait for something not to happen.

Everything takes the clock as an argument.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine
from typing import Any, Protocol

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


class Waiter(Protocol):
    """Who waits in a `Deadline`. Compared by identity."""

    def timed_out(self, deadline: Deadline) -> None:
        """The time is up; the waiter no longer waits."""


class Deadline:
    """Everybody who waits for the same number of seconds.

    Equal waits end in the order they began, so one timer serves them all, and to begin or to end a wait costs a
    dictionary entry, not a place in the reactor's heap. A wait may end up to `GRAIN` seconds late, never early.
    """

    GRAIN = 0.01

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self.seconds = seconds
        self._clock = clock
        self._ends: dict[Waiter, float] = {}
        self._timer: IDelayedCall | None = None

    def start(self, waiter: Waiter) -> None:
        """Begin to wait, or begin anew."""
        ends = self._ends
        ends.pop(waiter, None)
        ends[waiter] = self._clock.seconds() + self.seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self.seconds, self._expire)

    def stop(self, waiter: Waiter) -> None:
        """Wait no longer; harmless for who does not wait."""
        self._ends.pop(waiter, None)

    def close(self) -> None:
        """Forget everybody who waits."""
        self._ends.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        """Tell everybody whose time is up, then sleep until the next one's is.

        With nobody waiting the timer runs out by itself, so that an idle gateway has no work to do.
        """
        self._timer = None
        now = self._clock.seconds()
        ends = self._ends
        due = []
        for waiter, end in ends.items():
            if end > now:
                self._timer = self._clock.callLater(max(end - now, self.GRAIN), self._expire)
                break
            due.append(waiter)
        for waiter in due:
            if ends.get(waiter, math.inf) <= now:  # nobody told before has stopped it, or made it begin anew
                del ends[waiter]
                with log.failuresHandled("telling {waiter} that its time is up", waiter=waiter):
                    waiter.timed_out(self)


class Deadlines:
    """One `Deadline` for each number of seconds."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._deadlines: dict[float, Deadline] = {}

    def of(self, seconds: float) -> Deadline:
        """The deadline of so many seconds."""
        deadline = self._deadlines.get(seconds)
        if deadline is None:
            deadline = self._deadlines[seconds] = Deadline(self._clock, seconds)
        return deadline

    def close(self) -> None:
        """Forget everybody who waits."""
        for deadline in self._deadlines.values():
            deadline.close()
