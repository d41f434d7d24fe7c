"""A gateway on a clock of our own, whose peers are as well as the test says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.errors import NameNotFound
from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory, IProbe, IResolver
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity, Target, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.model.traffic import Address, Answer, Outcome
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.peers import Peer, Peers
from twisted_kong.testing import a_service, an_id

WELL = Outcome(None, 200)
ILL = Outcome(None, 500)
HANGS = None

Say = Callable[[], Outcome | None]
"""What a peer says when it is probed; None, and it hangs."""


@implementer(IHealthChecker)
class Scripted:
    """Asks nobody: how a peer is stands in ``world.says``."""

    def __init__(self, world: HealthWorld) -> None:
        self._world = world

    def check(self, probe: IProbe) -> Deferred[Outcome]:
        world, address = self._world, f"{probe.host}:{probe.port}"
        world.probes.append((world.clock.seconds(), address))
        waiting: Deferred[Outcome] = Deferred()
        outcome = world.says.get(address, lambda: WELL)()
        if outcome is not None:
            waiting.callback(outcome)
        return waiting


@implementer(IPlugin, IHealthCheckerFactory)
class ScriptedFactory:
    name = "http"

    def __init__(self, world: HealthWorld) -> None:
        self._world = world

    def build(self, upstream: Upstream) -> Scripted:
        return Scripted(self._world)


@implementer(IResolver)
class Book:
    """Knows the names in ``world.names``, each for ever."""

    def __init__(self, world: HealthWorld) -> None:
        self._world = world

    async def resolve(self, name: str) -> Answer:
        if name not in self._world.names:
            raise NameNotFound
        found = self._world.names[name]
        return Answer(tuple(map(Address, [found] if isinstance(found, str) else found)), self._world.ttl)


class HealthWorld:
    """``says`` what each address says to probes, which are kept in ``probes`` as (time, address)."""

    def __init__(self, seed: int = 1, sockets: int = 256) -> None:
        self.clock = Clock()
        self.today = 1_700_000_000.0
        self.says: dict[str, Say] = {}
        self.names: dict[str, str | list[str]] = {}
        self.ttl = 1e6
        self.probes: list[tuple[float, str]] = []
        checkers = cast(Any, {"http": ScriptedFactory(self)})
        names = Names(Book(self), self.clock, random=Random(seed))
        self.monitor = Monitor(self.clock, Random(seed), checkers, names, cast(Any, None), sockets)
        self.gateway = Gateway(
            {"round-robin": RoundRobinFactory()}, "traditional_compatible", names, monitor=self.monitor
        )
        self.gateway.peers = Peers(lambda: self.today + self.clock.seconds())
        self.snapshot = EMPTY

    # -- configuration -----------------------------------------------------------------------------------------

    def put(self, *puts: Entity) -> None:
        self.change(Change(puts=puts))

    def delete(self, *entities: Entity) -> None:
        self.change(Change(deletes=tuple((entity.collection, entity.id) for entity in entities)))

    def change(self, change: Change) -> None:
        old, self.snapshot = self.snapshot, self.snapshot.with_change(change)
        self.gateway.apply(old, self.snapshot)

    def upstream(self, name: str = "orders", **fields: Any) -> Upstream:
        """An upstream, put; again, and it is changed."""
        data = {"id": an_id(sum(map(ord, name))), "name": name, **fields}
        upstream = Schema().build(Upstream, data, now=1.0)
        self.put(upstream)
        return upstream

    def target(self, upstream: Upstream, address: str, weight: int = 100) -> Target:
        """A target of it, put."""
        known = [
            one for one in self.snapshot.targets.values() if (one.target, one.upstream.id) == (address, upstream.id)
        ]
        id = known[0].id if known else an_id(1000 + len(self.snapshot.targets) + int(self.clock.seconds() * 1e6))
        data = {"id": id, "target": address, "weight": weight, "upstream": {"id": upstream.id}}
        target = Schema().build(Target, data, now=1.0)
        self.put(target)
        return target

    # -- what there is -----------------------------------------------------------------------------------------

    def balancer(self, name: str = "orders") -> Balancer:
        service = a_service(name).model_copy(update={"host": name})
        return self.gateway.balancer(service)[0]

    def peers(self, name: str = "orders") -> dict[str, Peer]:
        return {peer.address: peer for peer in self.balancer(name).peers}

    def healths(self, name: str = "orders") -> dict[str, bool]:
        return {address: peer.healthy for address, peer in self.peers(name).items()}

    def attempt(self, outcome: Outcome, name: str = "orders") -> str | None:
        """One attempt that ends in ``outcome``, and on whom."""
        lease = self.balancer(name).lease()
        if lease is None:
            return None
        lease.release(outcome)
        return lease.peer.address

    def lent(self, count: int, name: str = "orders") -> Counter[str | None]:
        """Who is lent, in so many attempts that go well."""
        return Counter(self.attempt(WELL, name) for _ in range(count))

    def run(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(step, end - self.clock.seconds()))
        self.clock.advance(1e-6)  # what is due at the end has come, however it was rounded

    def probed(self, address: str) -> list[float]:
        """When it was probed."""
        return [when for when, who in self.probes if who == address]
