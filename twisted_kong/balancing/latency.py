"""Latency: whoever has answered fastest lately, for its weight and for what it carries already, is next.

What is known of a peer is a moving average of the seconds to the head of an answer, as Kong keeps it: over the last
seconds, and fading while nothing is heard, so that everybody is asked again one day. The score is average × (open
requests + 1) / weight. Beyond Kong:

- It is aware of peaks: slower than expected counts at once, faster little by little.
- A failure is never fast. Who refuses, breaks off or answers 5xx counts as slower than it was, twice as slow each time;
  who does not answer at all as at least `UNANSWERED` slow.
- Who has never been asked is asked once, before anybody else; of whom nothing has been heard for long, once again.
  Until that answer is there they count as average, so that a crowd does not follow.

All averages fade at the same pace, so the order of the scores does not depend on the time: with ln(score) + when it was
true / `FADING`, it changes only with what is heard. That makes a pick O(log peers). The average is kept by the peer and
survives every change of the configuration.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from math import exp, inf, log
from typing import NamedTuple, cast

from zope.interface import implementer

from twisted_kong.balancing.ranking import Ranking
from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IIncrementalAlgorithm, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick

ALGORITHM = "latency"

FADING = 10.0
"""Seconds in which an average that nothing adds to goes down to 1/e (Kong)."""

REFUSED = 1.0
UNANSWERED = 10.0
"""Seconds that an attempt that was refused, or not answered in time, counts as at least."""

WORST = 60.0
"""Seconds that anything counts as at most, so that nobody is out for ever."""

LEAST = 1e-6
"""Seconds that anything counts as at least: less cannot be told apart."""

LEARNING = 0.05
"""What one answer adds to what is average for all peers."""


class Average(NamedTuple):
    """So many ``seconds``, as they were at the time ``at``."""

    seconds: float
    at: float

    def faded(self, now: float) -> float:
        return self.seconds * exp((self.at - now) / FADING)


@implementer(IIncrementalAlgorithm)
class Latency:
    """The picks of one upstream, each in O(log peers). ``now`` is any clock of seconds that does not go back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ranking = Ranking()
        self._typical: float | None = None

    def update(self, peers: Iterable[IPeer]) -> None:
        peers = dict.fromkeys(peers)
        self._ranking.keep(peers.keys())
        for peer in peers:
            self.add(peer)

    def add(self, peer: IPeer) -> None:
        self._place(peer, peer.leases)

    def remove(self, peer: IPeer) -> None:
        self._ranking.remove(peer)

    def changed(self, peer: IPeer) -> None:
        self.add(peer)

    def pick(self, pick: Pick) -> IPeer | None:
        found = self._ranking.best(pick.tried)
        if found is None:
            return None
        peer = found[0]
        self._place(peer, peer.leases + 1)
        return peer

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        now = self._now()
        average = cast(Average | None, peer.memory.get(ALGORITHM))
        sample = self._sample(outcome, average, now)
        if sample is not None:
            if average is not None:
                faded = average.faded(now)
                if sample < faded:
                    sample = faded + sample * (1 - exp((average.at - now) / FADING))
            peer.memory[ALGORITHM] = Average(max(sample, LEAST), now)
        if peer in self._ranking:
            self.add(peer)

    def _sample(self, outcome: Outcome, average: Average | None, now: float) -> float | None:
        """The seconds that an attempt counts as; None where it has taught nothing."""
        failure, latency = outcome.failure, outcome.latency
        failed = failure is not None or (outcome.status is not None and outcome.status >= 500)
        if not failed:
            if latency is not None:
                self._typical = (
                    latency if self._typical is None else self._typical + LEARNING * (latency - self._typical)
                )
            return latency
        expected = max(self._typical or 0.0, 0.0 if average is None else average.faded(now))
        least = {None: 0.0, "timeout": UNANSWERED}.get(failure, REFUSED)
        return min(max(2 * expected, latency or 0.0, least), WORST)

    def _place(self, peer: IPeer, open_requests: int) -> None:
        """Rank a peer that carries so many."""
        average = cast(Average | None, peer.memory.get(ALGORITHM))
        typical = self._typical or 1.0
        if average is None:
            if not open_requests:
                self._ranking.place(peer, -inf)
                return
            average = Average(typical, self._now())
        elif open_requests:
            now = self._now()
            floor = min(average.seconds, typical)
            if average.faded(now) < floor:
                average = Average(max(floor, LEAST), now)
        score = log(average.seconds * (open_requests + 1) / peer.weight) + average.at / FADING
        self._ranking.place(peer, score)


@implementer(IAlgorithmFactory)
class LatencyFactory:
    """Makes ``algorithm=latency``, on a clock of seconds that does not go back."""

    name = ALGORITHM

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now

    def build(self, upstream: Upstream) -> IAlgorithm:
        return Latency(self._now)
