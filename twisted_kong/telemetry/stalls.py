"""A stall has a name: a thread that looks on while the reactor is stuck, and logs where it is, and in whose code.

It runs in a thread of its own, because whoever is stuck cannot look. It cannot look either while something holds
Python's lock without ever letting go of it, such as a regular expression: such a stall is told when it is over, without
a name.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

import twisted_kong
from twisted_kong.model.components import Component
from twisted_kong.telemetry.lag import PERIOD, Beat

log = Logger()

FRAMES = 30
"""How many frames of a stack are logged, the innermost."""

OURS = os.path.dirname(twisted_kong.__file__) + os.sep


class Blame:
    """Who is to blame for a stack; ``homes`` are components, each with the file that its code is in, or the directory.

    That is the component whose code was called last, one of somebody else's before one of our own, or where there is
    none our module that was.
    """

    def __init__(self, homes: Iterable[tuple[Component, str]]) -> None:
        found = list(homes)
        self._theirs = [home for home in found if home[0].origin != "built-in"]
        self._own = [home for home in found if home[0].origin == "built-in"]

    def __call__(self, frame: FrameType) -> str:
        """In words; ``frame`` is the innermost."""
        frames = [each for each, _ in traceback.walk_stack(frame)]
        for homes in (self._theirs, self._own):
            for each in frames:
                for component, home in homes:
                    if _lives(each.f_code.co_filename, home):
                        return str(component)
        ours = (each for each in frames if each.f_code.co_filename.startswith(OURS))
        return str(next(ours, frame).f_globals.get("__name__", "somebody unknown"))


def _lives(file: str, home: str) -> bool:
    return file.startswith(home) if home.endswith(os.sep) else file == home


class Stalls(Collector):
    """Looks after the ``beat`` of the thread that makes it. It is stuck when it is later than ``patience`` seconds."""

    def __init__(
        self,
        beat: Beat,
        patience: float,
        blame: Callable[[FrameType], str],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._beat = beat
        self._patience = patience
        self._blame = blame
        self._seconds = seconds
        self._watched = threading.get_ident()
        self._stuck: tuple[float, str] | None = None  # the last beat before it, and who is to blame
        self._looked = seconds()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)
        self.counts: Counter[str] = Counter()
        """Stalls that are over, by who was to blame."""

    def start(self) -> None:
        """Begin to look, five times within the patience."""
        self._beat.on_beat = self._goes_on
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        self._looked = self._seconds()
        while not self._ended.wait(self._patience / 5):
            self.look()

    def look(self) -> None:
        """Is it stuck? Called in a thread that is not."""
        now, before, last = self._seconds(), self._looked, self._beat.last
        self._looked = now
        if now - before > self._patience:  # we were late as well: the whole process was, or the machine
            return
        late = now - last - PERIOD
        if late <= self._patience or self._stuck is not None:
            return
        frame = sys._current_frames().get(self._watched)
        if frame is None:
            return
        blame = self._blame(frame)
        stack = "".join(traceback.format_stack(frame, FRAMES))
        if self._beat.last != last:  # it went on meanwhile, and the stack is of something else
            return
        self._stuck = last, blame
        log.warn(
            "the reactor has been stuck for {late:.1f} s in {blame}:\n{stack}", late=late, blame=blame, stack=stack
        )

    def _goes_on(self, late: float) -> None:
        """It has beaten again. In its own thread."""
        stuck, self._stuck = self._stuck, None
        if stuck is not None:
            self.counts[stuck[1]] += 1
            log.warn("the reactor goes on after {late:.1f} s in {blame}", late=late, blame=stuck[1])
        elif late > self._patience:
            self.counts[""] += 1
            log.warn("the reactor was stuck for {late:.1f} s, and nobody could see in what", late=late)

    def collect(self) -> Iterator[Metric]:
        """How often it was stuck; what is to blame is a component's name or a module's."""
        counts = CounterMetricFamily(
            "kong_reactor_stalls",
            "How often the reactor was stuck, by the component or module it was in.",
            labels=["blame"],
        )
        for blame, count in dict(self.counts).items():
            counts.add_metric([blame], count)
        yield counts


class Watch(Collector):
    """The beat of ``reactor``, and whoever looks after it; with a ``patience`` of 0 nobody does."""

    def __init__(self, reactor: IReactorTime, patience: float, homes: Iterable[tuple[Component, str]]) -> None:
        self._beat = Beat(reactor)
        self._stalls = Stalls(self._beat, patience, Blame(homes)) if patience else None

    def start(self) -> None:
        """Begin, in the thread of the reactor, once that runs."""
        self._beat.start()
        if self._stalls is not None:
            self._stalls.start()

    def close(self) -> None:
        """It is over."""
        if self._stalls is not None:
            self._stalls.close()
        self._beat.close()

    def collect(self) -> Iterator[Metric]:
        """How late, and how often too late."""
        yield from self._beat.collect()
        if self._stalls is not None:
            yield from self._stalls.collect()
