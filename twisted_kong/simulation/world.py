"""Lets a load happen: arrivals, attempts, answers and changes in the order of their times, none of which passes.

The balancer, the peers and the algorithms are those of a running gateway. What is made up here is the clients and what
the targets do. The same seed gives the same traffic.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from itertools import accumulate
from random import Random
from typing import Any

from twisted_kong.balancing.latency import LatencyFactory
from twisted_kong.balancing.poweroftwo import PowerOfTwoChoicesFactory
from twisted_kong.balancing.sticky import ALGORITHM as STICKY
from twisted_kong.balancing.sticky import session
from twisted_kong.interfaces import IAlgorithmFactory
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.runtime.balancer import Balancer, Lease
from twisted_kong.runtime.peers import Peer
from twisted_kong.simulation.load import BadLoad, Behaviour, Event, Load

SLICES = 60
"""The parts of the time in which requests are counted apart."""

PROBES = 2000
"""The keys that are looked up before and after a change, to tell how many have moved."""

QUICK = 0.001
"""Seconds until a connection is refused, or an error answered."""


@dataclass
class Result:
    """What has happened under one algorithm.

    ``shares`` are the answers of each target in every slice of ``slice`` seconds; ``seconds`` how long each request
    took; ``failed`` how many of them ended in a failure; ``attempts`` and ``most_open`` are by target. ``weights`` are
    the last of everybody who was there; ``epochs`` those of the available, from a time on. ``moved`` tells, by the time
    of a change, the part of the keys that belong to another target after it; it is empty without hashing.
    """

    algorithm: str
    slice: float
    shares: dict[str, list[int]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    epochs: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    most_open: dict[str, int] = field(default_factory=dict)
    seconds: array[float] = field(default_factory=lambda: array("d"))
    failed: int = 0
    moved: list[tuple[float, str, float]] = field(default_factory=list)


class _Request:
    __slots__ = ("attempts", "began", "key", "tried")

    def __init__(self, began: float, key: int) -> None:
        self.began = began
        self.key = key
        self.attempts = 0
        self.tried: tuple[Peer, ...] = ()


class World:
    """One run: ``factory`` makes the algorithm of ``upstream``, whose ``targets`` are weights by ``host:port``."""

    def __init__(
        self, upstream: Upstream, targets: Mapping[str, int], load: Load, factory: IAlgorithmFactory, seed: int
    ) -> None:
        self.now = 0.0
        self._load = load
        self._arrivals = Random(seed)  # of its own, so that every algorithm gets the same requests at the same times
        self._random = Random(seed + 2)
        self._upstream = upstream
        self._factory = _on(factory, self.seconds, Random(seed + 1))
        self._balancer = Balancer(upstream.name, self._factory.build(upstream))
        self._peers = {address: _peer(address, weight) for address, weight in targets.items()}
        self._balancer.update(self._peers.values(), checked=True)
        self._behaviours: dict[str, Behaviour] = dict(load.targets)
        self._workers: dict[str, list[float]] = {}
        self._sessions: dict[int, bytes] = {}
        self._hashes = factory.name == "consistent-hashing"
        self._sums = _frequencies(load)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self.result = Result(factory.name, load.duration / SLICES)
        self._note()

    def seconds(self) -> float:
        """The virtual time."""
        return self.now

    def run(self, progress: Callable[[float], None] = lambda part: None) -> Result:
        """Let it all happen; ``progress`` is told the part of the time that has passed, every now and then."""
        for event in self._load.changes:
            if event.at < self._load.duration:
                self._later(event.at, self._change, event)
        self._later(self._arrivals.expovariate(self._load.rate), self._arrive)
        events, told, end = self._events, 0.0, self._load.duration
        while events:
            self.now, _, act, arguments = heappop(events)
            act(*arguments)
            if self.now >= told:
                progress(min(self.now / end, 1.0))
                told = self.now + end / 200
        progress(1.0)
        return self.result

    def _later(self, when: float, act: Callable[..., None], *arguments: Any) -> None:
        self._serial += 1
        heappush(self._events, (when, self._serial, act, arguments))

    # -- requests ------------------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        random = self._arrivals
        following = self.now + random.expovariate(self._load.rate)
        if following < self._load.duration:
            self._later(following, self._arrive)
        key = bisect_right(self._sums, random.random() * self._sums[-1]) if self._sums else -1
        self._attempt(_Request(self.now, key))

    def _attempt(self, request: _Request) -> None:
        lease = self._balancer.lease(request.tried, self._key(request))
        if lease is None:
            self._end(request, failed=True)
            return
        request.attempts += 1
        address = lease.peer.address
        result, behaviour = self.result, self._behaviours.get(address, self._load.default)
        result.attempts[address] = result.attempts.get(address, 0) + 1
        result.most_open[address] = max(result.most_open.get(address, 0), lease.peer.leases)
        failing = behaviour.failures and self._random.random() < behaviour.failures
        if not failing:
            takes = self._takes(address, behaviour)
            if takes <= self._load.timeout:
                self._later(self.now + takes, self._answered, request, lease, Outcome(None, 200, takes))
                return
        if failing and behaviour.how == "error":
            self._later(self.now + QUICK, self._answered, request, lease, Outcome(None, 500, QUICK))
        elif failing and behaviour.how == "refuse":
            self._later(self.now + QUICK, self._broken, request, lease, Outcome("tcp"))
        else:
            self._later(self.now + self._load.timeout, self._broken, request, lease, Outcome("timeout"))

    def _key(self, request: _Request) -> bytes | None:
        if self._factory.name == STICKY:
            return self._sessions.get(request.key)
        return b"key-%d" % request.key if request.key >= 0 else None

    def _takes(self, address: str, behaviour: Behaviour) -> float:
        """Seconds until the answer, those of waiting for a worker included."""
        jitter = behaviour.jitter
        works = behaviour.latency * (1 - jitter + (jitter * self._random.expovariate(1.0) if jitter else 0.0))
        if not behaviour.workers:
            return works
        workers = self._workers.get(address)
        if workers is None or len(workers) != behaviour.workers:
            workers = self._workers[address] = [self.now] * behaviour.workers
            heapify(workers)
        begins = max(workers[0], self.now)
        heapreplace(workers, begins + works)
        return begins + works - self.now

    def _answered(self, request: _Request, lease: Lease, outcome: Outcome) -> None:
        lease.release(outcome)
        peer = lease.peer
        if self._factory.name == STICKY and request.key >= 0:
            self._sessions[request.key] = session(self._upstream.id, peer)
        shares = self.result.shares.setdefault(peer.address, [0] * SLICES)
        shares[min(int(request.began / self.result.slice), SLICES - 1)] += 1
        self._end(request, failed=outcome.status == 500)

    def _broken(self, request: _Request, lease: Lease, outcome: Outcome) -> None:
        lease.release(outcome)
        if lease.peer not in request.tried:
            request.tried += (lease.peer,)
        if request.attempts <= self._load.retries:
            self._attempt(request)
        else:
            self._end(request, failed=True)

    def _end(self, request: _Request, *, failed: bool) -> None:
        self.result.seconds.append(self.now - request.began)
        self.result.failed += failed

    # -- changes -------------------------------------------------------------------------------------------------

    def _change(self, event: Event) -> None:
        before = self._mapping()
        address = event.target
        peer = self._peers.get(address)
        if event.leaves:
            if peer is not None:
                self._balancer.remove(self._peers.pop(address))
        else:
            if peer is None:
                peer = self._peers[address] = _peer(address, 100 if event.weight is None else event.weight)
                self._balancer.add(peer)
            if event.weight is not None:
                peer.weight = event.weight
            if event.healthy is not None:
                peer.healthy = event.healthy
            if event.behaves is not None:
                self._behaviours[address] = event.behaves
            self._balancer.changed(peer)
        self._note()
        after = self._mapping()
        if before:
            moved = sum(old is not new for old, new in zip(before, after, strict=True)) / len(before)
            self.result.moved.append((self.now, address, moved))

    def _note(self) -> None:
        """Write down what everybody weighs from now on."""
        weights = {address: peer.weight for address, peer in self._peers.items()}
        self.result.weights.update(weights)
        available = {address: weight for address, weight in weights.items() if self._peers[address].healthy}
        self.result.epochs.append((self.now, available))

    def _mapping(self) -> Sequence[object]:
        """Who has each of some keys, found without disturbing anybody."""
        if not self._hashes:
            return ()
        algorithm = self._factory.build(self._upstream)
        algorithm.update([peer for peer in self._peers.values() if peer.weight and peer.healthy])
        return [algorithm.pick(Pick(b"key-%d" % number)) for number in range(PROBES)]


def simulate(
    upstream: Upstream,
    targets: Mapping[str, int],
    load: Load,
    factories: Iterable[IAlgorithmFactory],
    seed: int = 1,
    progress: Callable[[float], None] = lambda part: None,
) -> list[Result]:
    """The same load under each of the algorithms.

    :raise BadLoad: it tells how a target answers that is never there.
    """
    there = dict.fromkeys([*targets, *(event.target for event in load.changes)])
    strangers = [address for address in load.targets if address not in there]
    if strangers:
        raise BadLoad(f"the load: targets: no {', '.join(strangers)}; there are: {', '.join(there) or 'none'}")
    chosen = list(factories)
    results = []
    for number, factory in enumerate(chosen):

        def told(part: float, done: int = number) -> None:
            progress((done + part) / len(chosen))

        results.append(World(upstream, targets, load, factory, seed).run(told))
    return results


def _on(factory: IAlgorithmFactory, now: Callable[[], float], random: Random) -> IAlgorithmFactory:
    """The factory on the virtual clock, and with a seeded source of chance, where it is one of ours that has either."""
    if isinstance(factory, LatencyFactory):
        return LatencyFactory(now)
    if isinstance(factory, PowerOfTwoChoicesFactory):
        return PowerOfTwoChoicesFactory(random)
    return factory


def _peer(address: str, weight: int) -> Peer:
    host, _, port = address.rpartition(":")
    return Peer(host.strip("[]"), int(port), weight)


def _frequencies(load: Load) -> Sequence[float]:
    """For each key how often it or one before it comes."""
    return list(accumulate(1 / number**load.keys.skew for number in range(1, load.keys.count + 1)))
