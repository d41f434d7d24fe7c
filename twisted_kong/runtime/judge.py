"""Who of an upstream is well: what probes, traffic and people say is judged here, and whoever acts on it is told.

The balancer learns of it at once, and so does the monitor, since the unhealthy may be probed at other times. A peer's
own state outlives all of this: see `twisted_kong.runtime.health`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_kong.health.counters import Counter, Rules, active_rules, checked, passive_rules
from twisted_kong.model.entities import Upstream
from twisted_kong.model.records import Queue
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.budget import Budget
from twisted_kong.runtime.crowd import Crowd
from twisted_kong.runtime.health import Evidence, Source
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.peers import Peer, Peers
from twisted_kong.runtime.reports import available_enough
from twisted_kong.runtime.slowstart import SlowStart
from twisted_kong.runtime.trials import Trials

log = Logger()

ANY_STATUS = frozenset(range(100, 1000))
_STATES = {True: "HEALTHY", False: "UNHEALTHY"}


class Judge:
    """Judges the peers of one upstream, for as long as that is configured.

    ``monitor`` sends probes, where there is one; ``now`` gives the seconds since the epoch.
    """

    def __init__(
        self,
        upstream: Upstream,
        peers: Peers,
        monitor: Monitor | None,
        clock: IReactorTime,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._now = now
        self._peers = peers
        self._clock = clock
        self._trials = Trials(clock, self._try)
        self._on_trial: set[Peer] = set()
        self._slow_start = SlowStart(clock, lambda peer: self._balancer.changed(peer))
        self._since: dict[Peer, float] = {}
        self._probes = None if monitor is None else monitor.open(self._probed)
        self._balancer: Balancer
        self._upstream = upstream
        self._active: Rules
        self._passive: Rules
        self._weights: dict[Peer, int] = {}
        self._total = 0
        self._available = 0
        self._enough = True

    def update(self, upstream: Upstream, balancer: Balancer, peers: Sequence[Peer], names: Container[str] = ()) -> None:
        """From now on ``upstream`` has these peers, and ``balancer`` lends them.

        ``names`` are those of its targets: whoever has left, but not because its target was deleted, may come back.
        """
        settings = upstream.healthchecks
        self._upstream = upstream
        self._balancer = balancer
        self._active = active_rules(settings.active)
        self._passive = passive_rules(settings.passive)
        is_checked = checked(settings)
        if self._weights:
            for peer in self._weights.keys() - set(peers):
                if peer.identity is not None and peer.identity[1].lower() in names:
                    self._peers.left(peer)
        balancer.observe = self._attempted if is_checked and self._passive.limits else None
        self._weigh(peers if is_checked else ())
        self._set_extras(upstream, balancer, peers)
        self._start_slowly(peers)
        balancer.update(peers, checked=is_checked)
        self._settle_whole()
        if balancer.crowd is not None:
            balancer.crowd.refresh()
        if self._probes is not None:
            self._probes.update(upstream, peers)

    def _set_extras(self, upstream: Upstream, balancer: Balancer, peers: Iterable[Peer]) -> None:
        """What Kong does not know."""
        budget = upstream.retry_budget
        if budget is None:
            balancer.budget = None
        elif balancer.budget is None or balancer.budget.settings != budget:
            balancer.budget = Budget(budget, self._clock.seconds)
        self._bound(upstream, balancer)
        self._trials.settings = upstream.healthchecks.passive.recovery if self._weights else None
        self._trials.keep(self._weights)
        self._on_trial &= self._weights.keys()
        if self._trials.settings is not None:
            for peer in self._weights:
                if not peer.healthy and peer not in self._trials and _by_traffic(peer):
                    self._trials.fell_ill(peer)
            balancer.trials = self._trial_begun
        else:
            balancer.trials = None
            for peer in peers:
                if peer.on_trial:
                    peer.on_trial = False  # or it would be lent as if it were well
                    self._follow(peer)

    def _start_slowly(self, peers: Iterable[Peer]) -> None:
        """Let who is new beside somebody established begin with little; else there is nobody to spare the new ones."""
        now, before = self._clock.seconds(), self._since
        self._since = {peer: before.get(peer, now) for peer in peers}
        self._slow_start.seconds = seconds = self._upstream.slow_start or 0.0
        self._slow_start.keep(self._since)
        if seconds and any(now - since >= seconds for since in self._since.values()):
            for peer in self._since.keys() - before.keys():
                self._slow_start.begin(peer)

    def _bound(self, upstream: Upstream, balancer: Balancer) -> None:
        """Let peers carry as much as they may, and no more."""
        limit, queue = self._room(upstream)
        crowd = balancer.crowd
        if crowd is not None and (crowd.limit, crowd.queue) == (limit, queue):
            return
        if limit is None:
            balancer.crowd = None
        elif crowd is None:
            balancer.crowd = Crowd(balancer, self._clock, limit, queue)
        else:  # whoever waits goes on waiting
            crowd.limit, crowd.queue = limit, queue
        balancer.refresh()
        if crowd is not None and limit is None:
            crowd.close()

    def _room(self, upstream: Upstream) -> tuple[int | None, Queue]:
        """How many requests a peer may carry, and how many may wait for that."""
        return upstream.max_connections, upstream.queue or Queue(size=0)

    def reweighed(self, peer: Peer) -> None:
        """One of the peers has another weight, and neither that nor the one before is 0."""
        before = self._weights.get(peer)
        if before is not None:
            self._weights[peer] = peer.whole
            self._total += peer.whole - before
            self._available += peer.whole - before if peer.healthy else 0
        self._balancer.changed(peer)
        self._settle_whole()

    def close(self) -> None:
        """The upstream is configured no more: nobody is probed any longer, or tried, and nothing calls back."""
        self._trials.settings = None
        self._trials.keep({})
        self._trials = Trials(self._clock, _ignore)
        self._slow_start.keep(())
        self._slow_start = SlowStart(self._clock, _ignore)
        if self._probes is not None:
            self._probes.close()
            self._probes = None

    def say(self, peers: Iterable[Peer], healthy: bool) -> None:
        """A person says how these peers are."""
        now = self._now()
        for peer in peers:
            before = peer.healthy
            peer.health.reset(now, healthy)
            if not healthy:
                self._keep_out(peer)
            self._settle(peer, before)

    def why(self, peers: Sequence[Peer]) -> str:
        """Why nobody is lent, where nobody is, of an upstream with these peers."""
        if not any(peer.whole for peer in peers):
            return "all-weights-zero" if peers else "no-targets"
        if self._balancer.open and self._balancer.crowd is not None:
            return "all-busy"
        if self._available:
            return "below-threshold"
        return "all-unhealthy"

    def _weigh(self, peers: Iterable[Peer]) -> None:
        """Count how much weight there is with these peers, whose health matters."""
        telling = self._passive.telling
        self._weights = {peer: peer.whole for peer in peers}
        self._total = self._available = 0
        for peer, weight in self._weights.items():
            peer.telling = telling[peer.health.counters.state]
            self._total += weight
            self._available += weight if peer.healthy else 0

    # -- evidence ----------------------------------------------------------------------------------------------

    def seen(self, peer: Peer, outcome: Outcome | None) -> None:
        """Another process has lent ``peer``: its trial has begun (None), or an attempt has ended."""
        if peer in self._weights:
            if outcome is None:
                self._trial_begun(peer)
            elif self._balancer.observe is not None:
                self._attempted(peer, outcome)

    def _probed(self, peer: Peer, outcome: Outcome) -> None:
        self._learn(peer, Source.PROBE, self._active, outcome)

    def _attempted(self, peer: Peer, outcome: Outcome) -> None:
        if peer in self._on_trial and not peer.healthy:
            self._decide(peer, outcome)
        else:
            self._learn(peer, Source.TRAFFIC, self._passive, outcome)

    def _learn(self, peer: Peer, source: Source, rules: Rules, outcome: Outcome) -> None:
        counter = rules.judge(outcome)
        if counter is None:
            return
        before = peer.healthy
        found = peer.health.report(self._now(), source, counter, rules.limits[counter], outcome)
        if found is not None:
            self._log(peer, counter, found)
            self._settle(peer, before)

    # -- trials ------------------------------------------------------------------------------------------------

    def _try(self, peer: Peer) -> None:
        """The next request is the trial of ``peer``."""
        if peer in self._weights and not peer.healthy:
            peer.on_trial = True
            self._follow(peer)
            self._balancer.changed(peer)
            self._settle_whole()

    def _trial_begun(self, peer: Peer) -> None:
        """A request has been sent to ``peer``, which gets no other until that one has ended."""
        peer.on_trial = False
        self._follow(peer)
        self._on_trial.add(peer)
        peer.telling = ANY_STATUS
        self._trials.undecided(peer)
        self._balancer.changed(peer)
        self._settle_whole()

    def _decide(self, peer: Peer, outcome: Outcome) -> None:
        """The trial of ``peer`` has ended: one good answer acquits, a failure of any kind does not."""
        self._on_trial.discard(peer)
        counter = self._passive.judge(outcome)
        if outcome.failure is None and counter in (None, Counter.SUCCESS):
            peer.health.acquit(self._now(), outcome)
            self._settle(peer, False)
        else:
            peer.telling = self._passive.telling[peer.health.counters.state]
            self._trials.failed(peer)

    def _keep_out(self, peer: Peer) -> None:
        """A person wants ``peer`` out: no trial lets it in again, although it was the traffic that took it out."""
        self._trials.stop(peer)
        self._on_trial.discard(peer)
        if peer.on_trial:
            peer.on_trial = False
            self._follow(peer)
            self._balancer.changed(peer)
            self._settle_whole()

    def _follow(self, peer: Peer) -> None:
        """Tell who judges as we do how ``peer`` stands."""
        if self._peers.follows is not None:
            self._peers.follows(peer)

    def _settle(self, peer: Peer, before: bool) -> None:
        """Something was counted of ``peer``; let everybody know who would act otherwise now."""
        health = peer.health
        peer.telling = self._passive.telling[health.counters.state]
        healthy = health.counters.healthy
        if self._peers.listens is not None:
            self._peers.listens()
        self._follow(peer)
        if healthy is before:
            return
        log.warn(
            "[healthchecks] {name}: {peer} is {state} now, by {source}",
            name=self._upstream.name,
            peer=_told(peer),
            state=_STATES[healthy],
            source=health.transitions[-1].source.value if health.transitions else "nobody",
        )
        if peer not in self._weights:
            return  # it has left meanwhile
        if peer.on_trial:
            peer.on_trial = False
            self._follow(peer)
        if healthy:
            self._trials.recovered(peer)
            self._slow_start.begin(peer)
        elif _by_traffic(peer):
            self._trials.fell_ill(peer)
        self._available += self._weights[peer] if healthy else -self._weights[peer]
        self._balancer.changed(peer)
        if self._settle_whole():
            log.warn(
                "[healthchecks] balancer {name} reported health status changed to {state}",
                name=self._upstream.name,
                state=_STATES[self._enough],
            )
        if self._probes is not None:
            self._probes.moved(peer)

    def _settle_whole(self) -> bool:
        """Lend while enough weight is available, and only then. Whether that is news."""
        balancer, settings = self._balancer, self._upstream.healthchecks
        before = self._enough
        is_checked = checked(settings)
        self._enough = not is_checked or available_enough(self._total, self._available, settings.threshold)
        lenient = not self._enough and self._upstream.on_all_unhealthy == "fail_open"
        if balancer.checked is not (is_checked and not lenient):
            balancer.checked = not balancer.checked
            balancer.refresh()
        trial = self._trials.settings is not None and any(peer.on_trial for peer in self._weights)
        balancer.open = self._enough or lenient or trial
        if balancer.crowd is not None:
            balancer.crowd.settle()
        return self._enough is not before

    def _log(self, peer: Peer, counter: Counter, found: Evidence) -> None:
        log.warn(
            "{kind} {counter} increment ({count}/{limit}) for '{peer}'{error}",
            kind="healthy" if counter is Counter.SUCCESS else "unhealthy",
            counter=counter.value,
            count=found.count,
            limit=found.limit,
            peer=_told(peer),
            error=f": {found.outcome.error}" if found.outcome.error else "",
        )


def _ignore(peer: Peer) -> None:
    """Nobody is left to be told of ``peer``."""


def _by_traffic(peer: Peer) -> bool:
    """Whether it is the traffic that made it what it is, and no person has said the same since."""
    transitions = peer.health.transitions
    if transitions is None or transitions[-1].source is not Source.TRAFFIC:
        return False
    return all(each.source is not Source.PERSON for each in peer.health.evidence or ())


def _told(peer: Peer) -> str:
    """Kong's way to name an address."""
    return f"{peer.name}({peer.address})"
