"""How a worker knows who is well: it is told, and tells what its traffic saw. It judges nobody itself.

Thresholds count what all workers see, so outcomes go to the one process that judges (`twisted_kong.runtime.judge` at
work there), and what it makes of them comes back as the `Standing` of a peer. What is on its way between the two may be
late by a moment; no process has a view of its own that could differ for longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime

from twisted_kong.health.counters import State
from twisted_kong.model.entities import Upstream
from twisted_kong.model.records import Queue
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.health import PeerHealth
from twisted_kong.runtime.judge import ANY_STATUS, Judge
from twisted_kong.runtime.peers import Peer, Peers
from twisted_kong.runtime.remembered import PeerKey, Remembered


class Standing(NamedTuple):
    """How a peer stands, and whether the next request is its trial."""

    state: State = State.HEALTHY
    on_trial: bool = False


WELL = Standing()
"""How those stand of whom nothing is told."""


class Elsewhere(Remembered):
    """The process that judges: what it has told of peers, there or not, and whom to tell what was seen of one.

    ``seen`` is told of outcomes and, with None, that a peer was lent on trial. In ``workers`` processes there is
    somebody who lends.
    """

    def __init__(self, seen: Callable[[PeerKey, Outcome | None], None], workers: int) -> None:
        super().__init__()
        self.seen = seen
        self.workers = workers
        self.standings: dict[PeerKey, Standing] = {}
        """Of all who do not stand as `WELL` does."""

    def __len__(self) -> int:
        return len(self.standings)

    def keep(self, key: PeerKey, health: PeerHealth, now: float) -> None:
        """The peer has left; what was told of it stands until something else is told."""

    def recall(self, key: PeerKey, health: PeerHealth, now: float) -> None:
        """The peer is there, perhaps again."""
        standing = self.standings.get(key)
        if standing is not None:
            health.counters.restore(standing.state, {})

    def told(self, standings: Mapping[PeerKey, Standing]) -> None:
        """So these stand now."""
        for key, standing in standings.items():
            if standing == WELL:
                self.standings.pop(key, None)
            else:
                self.standings[key] = standing


class Follower(Judge):
    """Acts on what is told of the peers of one upstream."""

    def __init__(self, upstream: Upstream, peers: Peers, elsewhere: Elsewhere, clock: IReactorTime) -> None:
        super().__init__(upstream, peers, None, clock)
        self._elsewhere = elsewhere

    def told(self, peer: Peer, standing: Standing) -> None:
        """So ``peer`` stands now."""
        before = peer.healthy
        peer.health.counters.restore(standing.state, {})
        if peer not in self._on_trial:
            peer.telling = self._passive.telling[standing.state]
        if peer not in self._weights:
            return
        peer.on_trial = standing.on_trial and peer not in self._on_trial
        if peer.healthy is not before:
            self._available += self._weights[peer] if peer.healthy else -self._weights[peer]
            if peer.healthy:
                self._slow_start.begin(peer)
        self._balancer.changed(peer)
        self._settle_whole()

    def _attempted(self, peer: Peer, outcome: Outcome) -> None:
        if peer in self._on_trial:
            self._on_trial.discard(peer)
            peer.telling = self._passive.telling[peer.health.counters.state]
        elif outcome.failure is None and self._passive.judge(outcome) is None:
            return
        if peer.identity is not None:
            self._elsewhere.seen(peer.identity, outcome)
            # it stands otherwise by now, perhaps; until that is told, whatever might count is told as well
            peer.telling |= self._passive.telling[State.MOSTLY_HEALTHY]

    def _trial_begun(self, peer: Peer) -> None:
        super()._trial_begun(peer)
        peer.telling = ANY_STATUS
        if peer.identity is not None:
            self._elsewhere.seen(peer.identity, None)

    def _room(self, upstream: Upstream) -> tuple[int | None, Queue]:
        """Our share of it, so that all workers together keep to the bound, if it is not smaller than their number."""
        limit, queue = super()._room(upstream)
        workers = self._elsewhere.workers
        share = None if limit is None else max(limit // workers, 1)
        return share, queue.model_copy(update={"size": -(-queue.size // workers)})
