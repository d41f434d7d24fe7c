"""When which name is to be asked: one timer for all of them, and never many names at once."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime

if TYPE_CHECKING:
    from twisted_kong.runtime.names import Name

SPREAD = 0.5
"""Seconds by which a kept name is asked late at most, so that names do not move in step."""

TICK = 0.05
"""Seconds between two looks at who has to be asked."""


class Reminders:
    """Asks for kept names when it is time, each somewhat late, by chance."""

    def __init__(self, clock: IReactorTime, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._heap: list[tuple[float, int, Name]] = []
        self._order = count()
        self._timer: IDelayedCall | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def close(self) -> None:
        """Ask nobody any more."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def remind(self, name: Name) -> None:
        """Ask for ``name`` when it is time, if it is kept."""
        if not name.kept:
            return
        earliest = name.next_question()
        now = self._clock.seconds()
        if now < name.due <= earliest + SPREAD and (name.due >= earliest or name.memory.virtual):
            return  # it will be asked in time as it is
        due = name.due = earliest + self._random.random() * SPREAD
        heappush(self._heap, (due, next(self._order), name))
        self._wake(due)

    def _wake(self, due: float) -> None:
        if self._timer is None:
            self._timer_at = max(due, self._clock.seconds() + TICK)
            self._timer = self._clock.callLater(self._timer_at - self._clock.seconds(), self._tick)
        elif due < self._timer_at - TICK:
            self._timer_at = max(due, self._clock.seconds() + TICK)
            self._timer.reset(self._timer_at - self._clock.seconds())

    def _tick(self) -> None:
        """Ask for everything whose time has come."""
        self._timer = None
        now = self._clock.seconds()
        heap = self._heap
        while heap and heap[0][0] <= now:
            due, _, name = heappop(heap)
            if name.due == due and name.kept:
                name.want()
                if not name.asking and name.due == due:  # somebody else has asked meanwhile
                    self.remind(name)
        if heap:
            self._wake(heap[0][0])
