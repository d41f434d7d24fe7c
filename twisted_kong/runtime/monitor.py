"""When peers are probed: one schedule for all of them, and a bound on what is under way.

Every peer has its own place in the schedule: it is probed once in the interval of its group, healthy or not. The
first probes are spread over an interval, so that neither the peers of one upstream nor those of several come in
rounds. A peer whose last probe is still under way, or waits for its turn, is passed over until the next time.

An upstream has at most ``concurrency`` probes under way, all together have at most `SOCKETS`; who is due beyond that
waits in line. What a probe finds out is told to whoever opened the `Probing`; what it means is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from random import Random
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.guard import ComponentFailed
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.peers import Peer
from twisted_kong.runtime.probes import MakeTls, Probe
from twisted_kong.tasks import Deadlines

log = Logger()

SOCKETS = 256
"""Probes under way at a time."""
GRAIN = 0.02
"""Seconds between two looks at the schedule, at least: a probe may come so much late."""
FOREVER = 60.0
"""Seconds a step of a probe may take where ``timeout`` is 0."""

Report = Callable[[Peer, Outcome], None]
"""Who is told the outcome of each probe."""


class Watch:
    """One peer in the schedule. ``turn`` is that of its one valid entry; ``busy`` from when it is due until told."""

    __slots__ = ("busy", "due", "peer", "probing", "skipped", "turn")

    def __init__(self, probing: Probing, peer: Peer) -> None:
        self.probing = probing
        self.peer = peer
        self.due = 0.0
        self.turn = 0
        self.busy = False
        self.skipped = 0


class Probing:
    """The probes of one upstream."""

    def __init__(self, monitor: Monitor, report: Report) -> None:
        self.report = report
        self.watches: dict[Peer, Watch] = {}
        self.line: deque[Watch] = deque()
        """Who is due, and waits for its turn."""
        self.running: set[Probe] = set()
        self.advancing = False
        self.upstream: Upstream | None = None
        self.checker: IHealthChecker | None = None
        self._intervals = (0.0, 0.0)
        self._monitor = monitor
        monitor.probings.add(self)

    @property
    def concurrency(self) -> int:
        return self.upstream.healthchecks.active.concurrency if self.upstream else 0

    def update(self, upstream: Upstream, peers: Iterable[Peer]) -> None:
        """Probe these peers of ``upstream`` from now on: all that have a weight, in whose group there is an interval.

        Who was probed before keeps its place unless the interval is another one.
        """
        if upstream is not self.upstream:
            self._be(upstream)
        wanted = {peer for peer in peers if peer.weight} if self.checker and any(self._intervals) else set()
        for peer in [peer for peer in self.watches if peer not in wanted]:
            self._monitor.unschedule(self.watches.pop(peer))
        for peer in wanted:
            if peer not in self.watches:
                self.watches[peer] = watch = Watch(self, peer)
                self._monitor.schedule(watch, self.interval(peer))

    def _be(self, upstream: Upstream) -> None:
        active = upstream.healthchecks.active
        before, self._intervals = self._intervals, (active.unhealthy.interval, active.healthy.interval)
        self.upstream = upstream
        self.checker = self._monitor.make_checker(upstream) if any(self._intervals) else None
        if before != self._intervals:
            for watch in self.watches.values():
                self._monitor.schedule(watch, self.interval(watch.peer))

    def interval(self, peer: Peer) -> float:
        """Seconds between two probes of ``peer`` as it stands; 0 where there are none."""
        return self._intervals[peer.healthy]

    def moved(self, peer: Peer) -> None:
        """``peer`` is in the other group now."""
        watch = self.watches.get(peer)
        if watch is not None and self._intervals[0] != self._intervals[1]:
            self._monitor.schedule(watch, self.interval(peer))

    def close(self) -> None:
        """Probe nobody any more. What is under way ends, and is told to nobody."""
        for watch in self.watches.values():
            self._monitor.unschedule(watch)
        self.watches.clear()
        self.line.clear()
        for probe in [*self.running]:
            probe.give_up()
        self._monitor.probings.discard(self)


class Monitor:
    """Sends the probes of a whole gateway."""

    def __init__(
        self,
        reactor: Any,
        random: Random,
        checkers: Mapping[str, IHealthCheckerFactory],
        names: Names,
        make_tls: MakeTls,
        sockets: int = SOCKETS,
    ) -> None:
        self._reactor = reactor
        self._random = random.random
        self._checkers = checkers
        self._names = names
        self._make_tls = make_tls
        self._sockets = sockets
        self._deadlines = Deadlines(reactor)
        self._schedule: list[tuple[float, int, Watch]] = []
        self._stale = 0
        self._turns = count(1)
        self._timer: IDelayedCall | None = None
        self._wakes = 0.0
        self._blocked: deque[Probing] = deque()
        self.probings: set[Probing] = set()
        """Whatever is probed, one for each upstream."""
        self.running = 0
        """Probes under way."""
        self.sent = 0
        """Probes there ever were."""

    @property
    def watched(self) -> int:
        """How many peers are in the schedule."""
        return len(self._schedule) - self._stale

    def open(self, report: Report) -> Probing:
        """The probes of an upstream yet to be told, whose outcomes ``report`` will hear."""
        return Probing(self, report)

    def close(self) -> None:
        """Send no more probes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for probing in [*self.probings]:
            probing.close()
        self._schedule.clear()
        self._deadlines.close()

    def make_checker(self, upstream: Upstream) -> IHealthChecker | None:
        """The checker of ``upstream``; None, and nobody is probed, where there is none or it cannot be made."""
        kind = upstream.healthchecks.active.type
        factory = self._checkers.get(kind)
        if factory is None:
            log.warn("{name} has no health checker {kind}: nobody is probed", name=upstream.name, kind=kind)
            return None
        try:
            return factory.build(upstream)
        except ComponentFailed:
            return None  # that has been told
        except Exception:
            log.failure("making the health checker {kind} for {name}", name=upstream.name, kind=kind)
            return None

    # -- the schedule ------------------------------------------------------------------------------------------

    def schedule(self, watch: Watch, interval: float) -> None:
        """Let ``watch`` be due somewhere between a half and one and a half intervals from now; never, if that is 0."""
        self.unschedule(watch)
        if interval:
            self._enter(watch, self._reactor.seconds() + interval * (0.5 + self._random()))

    def unschedule(self, watch: Watch) -> None:
        """Forget when ``watch`` is due."""
        if watch.turn:
            watch.turn = 0
            self._stale += 1
            if self._stale > 1000 and self._stale > len(self._schedule) // 2:
                self._schedule = [entry for entry in self._schedule if entry[1] == entry[2].turn]
                heapify(self._schedule)
                self._stale = 0

    def _enter(self, watch: Watch, due: float) -> None:
        watch.due = due
        watch.turn = turn = next(self._turns)
        heappush(self._schedule, (due, turn, watch))
        if self._timer is None or due < self._wakes:
            self._sleep()

    def _sleep(self) -> None:
        """Until somebody is due, or a little longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._schedule:
            now = self._reactor.seconds()
            self._wakes = max(self._schedule[0][0], now + GRAIN)
            self._timer = self._reactor.callLater(self._wakes - now, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        schedule = self._schedule
        touched: dict[Probing, None] = {}
        while schedule and schedule[0][0] <= now:
            due, turn, watch = heappop(schedule)
            if turn != watch.turn:
                self._stale -= 1
                continue
            watch.turn = 0
            self._call(watch, due, now)
            touched[watch.probing] = None
        for probing in touched:
            self._advance(probing)
        self._sleep()

    def _call(self, watch: Watch, due: float, now: float) -> None:
        """It is due: put it in line unless it is there, and note when it is due again."""
        probing = watch.probing
        interval = probing.interval(watch.peer)
        if not interval:
            return
        if watch.busy:
            watch.skipped += 1
        else:
            watch.busy = True
            probing.line.append(watch)
        following = due + interval
        watch.due = following = following if following > now else now + interval
        watch.turn = turn = next(self._turns)
        heappush(self._schedule, (following, turn, watch))

    # -- probes ------------------------------------------------------------------------------------------------

    def _advance(self, probing: Probing) -> None:
        """Begin as many probes of ``probing`` as may be under way.

        A probe may end as soon as it begins, which comes back here: whoever is at it already goes on.
        """
        if probing.advancing:
            return
        probing.advancing = True
        try:
            self._begin_some(probing)
        finally:
            probing.advancing = False

    def _begin_some(self, probing: Probing) -> None:
        while probing.line and len(probing.running) < probing.concurrency:
            if self.running >= self._sockets:
                if probing not in self._blocked:
                    self._blocked.append(probing)
                return
            watch = probing.line.popleft()
            if probing.watches.get(watch.peer) is watch:
                self._begin(probing, watch)

    def _begin(self, probing: Probing, watch: Watch) -> None:
        upstream, checker = probing.upstream, probing.checker
        if upstream is None or checker is None:
            watch.busy = False
            return
        timeout = upstream.healthchecks.active.timeout or FOREVER

        def ended(probe: Probe, outcome: Outcome | None) -> None:
            self.running -= 1
            probing.running.discard(probe)
            watch.busy = False
            if outcome is not None and probing.watches.get(watch.peer) is watch:
                with log.failuresHandled("telling of a probe of {peer}", peer=watch.peer):
                    probing.report(watch.peer, outcome)
            self._advance(probing)
            while self._blocked and self.running < self._sockets:
                self._advance(self._blocked.popleft())

        probe = Probe(self._reactor, self._names, self._make_tls, upstream, watch.peer, self._deadlines, timeout, ended)
        self.running += 1
        self.sent += 1
        probing.running.add(probe)
        probe.start(checker)
