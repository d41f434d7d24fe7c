"""Upstreams come alive: each with its balancer, its targets, and the peers that these stand for.

Which peers a target stands for is decided in `LiveUpstream._stand`, who is healthy in `LiveUpstream.set_health`;
whatever changes either goes through here, so that the balancer hears of it, and whoever else ``listens``.

A target whose host is a name stands for the entries of its record, and for one peer that every request resolves anew
where the TTL is 0. Entries that stay keep their peers, whatever becomes of the others. A name that fails leaves the
traffic to the other targets. Requests wait for a name that was never answered: for as long as nobody else could serve
them, and otherwise for a moment, so that a target that was just added has its share from the first request on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_kong.interfaces import IAlgorithm
from twisted_kong.model.entities import Target, Upstream
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.direct import stand_for
from twisted_kong.runtime.names import Name, Names
from twisted_kong.runtime.peers import Peer, Peers, is_address
from twisted_kong.runtime.reports import Report, checks, make_report

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


class LiveUpstream:
    """An upstream, alive for as long as it is configured, whatever changes of it."""

    def __init__(self, entity: Upstream, make_algorithm: MakeAlgorithm, peers: Peers, names: Names) -> None:
        self.entity = entity
        self.targets: Sequence[LiveTarget] = ()
        self.balancer = Balancer(entity.name, make_algorithm(entity))
        self.host_header = _encoded(entity.host_header)
        """The Host that its targets are to be asked with, None for their own."""
        self.listens: Callable[[LiveUpstream], None] | None = None
        """Called when peers have joined or left, or their weights, or the upstream, have changed."""
        self._make_algorithm = make_algorithm
        self._peers = peers
        self._names = names
        self._used: dict[str, Name] = {}
        self._news: IDelayedCall | None = None
        self._failing: dict[str, str] = {}
        self._waiting: list[Deferred[None]] = []
        self._moment: IDelayedCall | None = None

    @property
    def members(self) -> list[Peer]:
        """The peers of all targets, in their order."""
        return [peer for live in self.targets for peer in live.peers]

    def change(self, entity: Upstream) -> None:
        """Be ``entity`` from now on. A new algorithm gets the peers of the old one, which keep what they know."""
        before, self.entity = self.entity, entity
        self.host_header = _encoded(entity.host_header)
        if before.algorithm != entity.algorithm:
            self.balancer = Balancer(entity.name, self._make_algorithm(entity))
        self.balancer.name = entity.name
        self._refresh()

    def set_targets(self, targets: Iterable[Target]) -> None:
        """Have exactly these targets from now on."""
        targets = list(targets)
        hosts = {target.host.lower() for target in targets if not is_address(target.host)}
        for host in self._used.keys() - hosts:
            self._forget(host)
        self.targets = ()  # what becomes known meanwhile is taken in below
        for host in sorted(hosts - self._used.keys()):
            self._used[host] = self._names.use(host, self._name_changed, keep=True)
        self.targets = [LiveTarget(target, self._used.get(target.host.lower())) for target in targets]
        if self._unsettled() and self._moment is None:
            self._moment = self._names.clock.callLater(MOMENT, self._moment_over)
        self._refresh()

    def close(self) -> None:
        """It is configured no more: forget its names. Whoever waits is told that there is nobody."""
        for host in list(self._used):
            self._forget(host)
        self.targets = ()
        self._refresh()
        self.listens = None

    def set_health(self, target: Target, healthy: bool, address: tuple[str, int] | None) -> None:
        """Somebody says that a target is ``healthy`` or not: one address of it, or all where None.

        What is said of an address that the target does not have is not remembered.
        """
        for live in self.targets:
            if live.target.id == target.id:
                for peer in live.peers:
                    if address in (None, peer.key):
                        peer.healthy = healthy
        self.balancer.refresh()

    def report(self) -> Report:
        """How it and its targets are."""
        return make_report(self.entity.healthchecks, self.targets)

    def _forget(self, host: str) -> None:
        self._used.pop(host).leave(self._name_changed)
        self._failing.pop(host, None)

    def _name_changed(self) -> None:
        """A name stands for something else. Others may as well in this very turn, so that is looked at in the next."""
        if self._news is None:
            self._news = self._names.clock.callLater(0, self._refresh)

    def _refresh(self) -> None:
        """Stand for what is known now, and tell everybody."""
        if self._news is not None:
            if self._news.active():
                self._news.cancel()
            self._news = None
        for live in self.targets:
            live.peers = self._stand(live)
        self._note_failures()
        self.balancer.update(self.members, checked=checks(self.entity.healthchecks))
        self._settle()
        if self.listens is not None:
            self.listens(self)

    def _stand(self, live: LiveTarget) -> tuple[Peer, ...]:
        """The peers a target stands for."""
        target, owner = live.target, self.entity.id
        if live.name is None:
            return (self._peers.get(owner, target.host, target.port, target.weight),)
        record = live.name.record
        if record is None:
            return ()
        if record.virtual:
            return (self._peers.get(owner, target.host, target.port, target.weight),)
        srv_names = bool(self.entity.use_srv_name)
        return stand_for(record, target.host, target.port, target.weight, self._peers, owner, srv_names=srv_names)

    def _note_failures(self) -> None:
        """Log which names begin to fail, and which no longer do."""
        for host, name in self._used.items():
            reason = None if name.error is None or name.record is not None else name.error.reason
            before = self._failing.get(host)
            if reason is not None and reason != before:
                self._failing[host] = reason
                log.warn(
                    "the targets at {host} of {upstream} have no address: {reason}",
                    host=host,
                    upstream=self.entity.name,
                    reason=reason,
                )
            elif name.record is not None and before is not None:
                del self._failing[host]
                log.info("the targets at {host} of {upstream} have addresses", host=host, upstream=self.entity.name)

    # -- names not yet answered --------------------------------------------------------------------------------

    def _unsettled(self) -> bool:
        return any(not name.settled for name in self._used.values())

    def _settle(self) -> None:
        """Let requests wait or go on, as is right now."""
        unsettled = self._unsettled()
        if not unsettled and self._moment is not None:
            self._moment.cancel()
            self._moment = None
        if unsettled and (self._moment is not None or not any(peer.weight for peer in self.balancer.peers)):
            self.balancer.before = self._wait
            return
        self.balancer.before = None
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


def _encoded(host: str | None) -> bytes | None:
    return None if host is None else host.encode()
