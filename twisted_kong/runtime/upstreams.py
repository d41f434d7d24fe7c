"""Upstreams come alive: each with its balancer, its targets, and the peers that these stand for.

Which peers a target stands for is decided in `LiveUpstream._stand`, who of them is well by its `Judge`; whatever
changes either is told to the balancer, and the first to whoever else ``listens``.

A target whose host is a name stands for the entries of its record, and for one peer that every request resolves anew
where the TTL is 0. Entries that stay keep their peers, whatever becomes of the others. A name that fails leaves the
traffic to the other targets. Requests wait for a name that was never answered: for as long as nobody else could serve
them, and otherwise for a moment, so that a target that was just added has its share from the first request on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_kong.interfaces import IAlgorithm
from twisted_kong.model.entities import Target, Upstream
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.direct import stand_for
from twisted_kong.runtime.follower import Elsewhere, Follower, Standing
from twisted_kong.runtime.hashkeys import hash_keys
from twisted_kong.runtime.judge import Judge
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.names import Listener, Name, Names
from twisted_kong.runtime.peers import Peer, Peers, is_address
from twisted_kong.runtime.records import Record
from twisted_kong.runtime.reports import History, Report, make_report

log = Logger()

MOMENT = 0.5
"""Seconds that requests wait at most for names never answered while there is somebody else to serve them."""

MakeAlgorithm = Callable[[Upstream], IAlgorithm]
"""The algorithm of an upstream, new and without peers."""


class LiveTarget:
    """A target and the ``peers`` it stands for; ``name`` is what is known of its host, None for an address."""

    __slots__ = ("name", "peers", "target")

    def __init__(self, target: Target, name: Name | None) -> None:
        self.target = target
        self.name = name
        self.peers: tuple[Peer, ...] = ()

    @property
    def dns(self) -> str:
        """The type of the records that led to its peers, or why there are none, in Kong's words."""
        if self.name is None:
            return "AAAA" if ":" in self.target.host else "A"
        if self.name.record is not None:
            return self.name.record.told()
        return "unknown" if self.name.error is None else self.name.error.reason


class _Used:
    """A name that targets of one upstream have: how it is listened to, and the ids of these targets."""

    __slots__ = ("failing", "listener", "name", "targets")

    def __init__(self) -> None:
        self.name: Name
        self.listener: Listener
        self.targets: dict[str, None] = {}
        self.failing: str | None = None


class LiveUpstream:
    """An upstream, alive for as long as it is configured, whatever changes of it."""

    def __init__(
        self,
        entity: Upstream,
        make_algorithm: MakeAlgorithm,
        peers: Peers,
        names: Names,
        monitor: Monitor | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """``monitor`` probes, if there is one; with ``elsewhere`` it is there that its peers are judged."""
        self.entity = entity
        self.balancer = Balancer(entity.name, make_algorithm(entity))
        self.balancer.why = self._why
        self.balancer.keys = hash_keys(entity)
        self.host_header = _encoded(entity.host_header)
        """The Host that its targets are to be asked with, None for their own."""
        self.listens: Callable[[LiveUpstream], None] | None = None
        """Called when peers have joined or left, or their weights, or the upstream, have changed."""
        self._targets: dict[str, LiveTarget] = {}
        self._make_algorithm = make_algorithm
        self._peers = peers
        self._names = names
        self._judge: Judge = (
            Judge(entity, peers, monitor, names.clock)
            if elsewhere is None
            else Follower(entity, peers, elsewhere, names.clock)
        )
        self._used: dict[str, _Used] = {}
        self._unknown: set[str] = set()  # names in use that were never answered
        self._changed: set[str] = set()  # names whose records have changed
        self._news: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []
        self._moment: IDelayedCall | None = None

    @property
    def targets(self) -> Collection[LiveTarget]:
        """All targets, in their order."""
        return self._targets.values()

    @property
    def members(self) -> list[Peer]:
        """The peers of all targets, in their order."""
        return [peer for live in self._targets.values() for peer in live.peers]

    def change(self, entity: Upstream) -> None:
        """Be ``entity`` from now on. A new algorithm gets the peers of the old one, which keep what they know."""
        before, self.entity = self.entity, entity
        self.host_header = _encoded(entity.host_header)
        if before.algorithm != entity.algorithm:
            self.balancer.use(self._make_algorithm(entity))
        self.balancer.keys = hash_keys(entity)
        self.balancer.name = entity.name
        if before.use_srv_name != entity.use_srv_name:
            self._changed.update(self._used)
        self._refresh()

    def set_targets(self, targets: Iterable[Target]) -> None:
        """Have exactly these targets from now on."""
        before, found = self._targets, {}
        joining = []
        for target in targets:
            live = before.get(target.id)
            if live is None or live.target is not target:
                live = LiveTarget(target, None)
                joining.append(live)
            found[target.id] = live
        self._targets = found
        left = [live for id, live in before.items() if found.get(id) is not live]
        for live in joining:
            self._join(live)
        for live in left:
            self._leave(live)
        self._refresh()

    def reweigh(self, target: Target) -> bool:
        """Have this target with another weight, where that is all that is new of it, without a look at the others.

        False if it is not: then nothing was done. Names and weight 0 concern more than the balancer.
        """
        live = self._targets.get(target.id)
        if live is None or live.name is not None or target.upstream.id != self.entity.id:
            return False
        before = live.target
        if before.target != target.target or not before.weight or not target.weight:
            return False
        live.target = target
        for peer in live.peers:
            peer.weigh(target.weight)
            self._judge.reweighed(peer)
        if self.listens is not None:
            self.listens(self)
        return True

    def close(self) -> None:
        """It is configured no more: forget its names. Whoever waits is told that there is nobody.

        Nothing refers to itself in a circle afterwards: what was there at the start is no concern of the cyclic
        garbage collector any more, and would stay for good.
        """
        self.set_targets(())
        self.listens = None
        self._judge.close()
        self.balancer.observe = None
        self.balancer.why = _no_targets

    def set_health(self, target: Target, healthy: bool, address: tuple[str, int] | None) -> None:
        """Somebody says that a target is ``healthy`` or not: one address of it, or all where None.

        What is said of an address that the target does not have is not remembered.
        """
        live = self._targets.get(target.id)
        if live is not None:
            self._judge.say([peer for peer in live.peers if address in (None, peer.key)], healthy)

    def seen(self, peer: Peer, outcome: Outcome | None) -> None:
        """Another process has lent ``peer``: see `Judge.seen`."""
        self._judge.seen(peer, outcome)

    def told(self, peer: Peer, standing: Standing) -> None:
        """The process that judges says how ``peer`` stands."""
        if isinstance(self._judge, Follower):
            self._judge.told(peer, standing)

    def _why(self) -> str:
        """Why nobody is lent."""
        if self._targets and not self.balancer.peers:
            return "dns"
        return self._judge.why(self.members)

    def histories(self) -> list[History]:
        """What is known of the health of its targets, and how it came about."""
        return [History(live.target.id, tuple((peer.key, peer.health) for peer in live.peers)) for live in self.targets]

    def report(self) -> Report:
        """How it and its targets are."""
        return make_report(self.entity.healthchecks, self.targets)

    # -- targets and their names -------------------------------------------------------------------------------

    def _join(self, live: LiveTarget) -> None:
        """A target has come: it stands for its address, or uses its name."""
        target = live.target
        if is_address(target.host):
            live.peers = (self._peers.get(self.entity.id, target.host, target.port, target.weight),)
            return
        host = target.host.lower()
        used = self._used.get(host)
        if used is None:
            used = self._used[host] = _Used()
            used.listener = partial(self._name_changed, host)
            used.name = self._names.use(host, used.listener, keep=True)
            if not used.name.settled:
                self._unknown.add(host)
                if self._moment is None:
                    self._moment = self._names.clock.callLater(MOMENT, self._moment_over)
        live.name = used.name
        used.targets[target.id] = None
        self._changed.add(host)

    def _leave(self, live: LiveTarget) -> None:
        """A target has gone, or another one has its id: a name no other target has is forgotten."""
        if live.name is None:
            return
        host, id = live.target.host.lower(), live.target.id
        used = self._used[host]
        now = self._targets.get(id)
        if now is None or now.name is not live.name:
            del used.targets[id]
        if not used.targets:
            del self._used[host]
            self._unknown.discard(host)
            self._changed.discard(host)
            used.name.leave(used.listener)

    def _name_changed(self, host: str) -> None:
        """A name stands for something else. Others may as well in this very turn, so that is looked at in the next."""
        self._changed.add(host)
        if self._news is None:
            self._news = self._names.clock.callLater(0, self._heard)

    def _heard(self) -> None:
        self._news = None
        self._refresh()

    def _refresh(self) -> None:
        """Stand for what is known now, and tell everybody."""
        if self._news is not None:
            self._news.cancel()
            self._news = None
        changed, self._changed = self._changed, set()
        for host in sorted(changed):
            used = self._used[host]
            if used.name.settled:
                self._unknown.discard(host)
            for id in used.targets:
                live = self._targets[id]
                live.peers = self._stand(live.target, used.name.record)
            self._note(host, used)
        self.balancer.why = self._why
        self._judge.update(self.entity, self.balancer, self.members, self._used)
        self._settle()
        if self.listens is not None:
            self.listens(self)

    def _stand(self, target: Target, record: Record | None) -> tuple[Peer, ...]:
        """The peers that a target whose name has this record stands for."""
        owner, peers = self.entity.id, self._peers
        if record is None:
            return ()
        if record.virtual:
            return (peers.get(owner, target.host, target.port, target.weight),)
        srv_names = bool(self.entity.use_srv_name)
        return stand_for(record, target.host, target.port, target.weight, peers, owner, srv_names=srv_names)

    def _note(self, host: str, used: _Used) -> None:
        """Log that a name begins to fail, and that it no longer does."""
        name, before = used.name, used.failing
        used.failing = None if name.error is None else name.error.reason
        if used.failing is not None and used.failing != before:
            log.warn(
                "no address for {targets} of {upstream}: {reason}",
                targets=", ".join(self._targets[id].target.target for id in used.targets),
                upstream=self.entity.name,
                reason=used.failing,
            )
        elif name.record is not None and before is not None:
            log.info("{host}, a target of {upstream}, has addresses again", host=host, upstream=self.entity.name)

    # -- names not yet answered --------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Let requests wait or go on, as is right now."""
        if not self._unknown and self._moment is not None:
            self._moment.cancel()
            self._moment = None
        if self._unknown and (self._moment is not None or not any(peer.whole for peer in self.balancer.peers)):
            self.balancer.unknown(self._wait)
            return
        self.balancer.unknown(None)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:  # else it was cancelled
                one.callback(None)

    def _wait(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def _moment_over(self) -> None:
        self._moment = None
        self._settle()


def _no_targets() -> str:
    """Why an upstream lends nobody that is there no more."""
    return "no-targets"


def _encoded(host: str | None) -> bytes | None:
    return None if host is None else host.encode()
