"""Targets that are names: which peers they stand for, while records and the configuration change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.errors import NameNotFound, NameNotResolved
from twisted_kong.interfaces import IResolver
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Target, Upstream
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.model.traffic import Address, Answer, Outcome
from twisted_kong.resolving.cache import Rules
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.peers import Peer
from twisted_kong.testing import a_service, an_upstream

LATE = 0.6
"""After its time a name is asked within this."""


@implementer(IResolver)
class Zone:
    """A resolver whose records are written here; a name that is not is waited for."""

    def __init__(self) -> None:
        self.records: dict[str, Answer | Exception] = {}
        self.asked: Counter[str] = Counter()
        self.waiting: dict[str, Deferred[Answer]] = {}

    def put(self, name: str, *addresses: str | Address, ttl: float = 1.0) -> None:
        found = tuple(each if isinstance(each, Address) else Address(each) for each in addresses)
        self.records[name] = Answer(found, ttl)

    def resolve(self, name: str) -> Deferred[Answer]:
        self.asked[name] += 1
        found = self.records.get(name)
        if found is None:
            return self.waiting.setdefault(name, Deferred())
        return fail(found) if isinstance(found, Exception) else succeed(found)


class World:
    """A gateway with the upstream ``u``, over a zone."""

    def __init__(self, *targets: str, **records: tuple[str, ...]) -> None:
        self.clock: Any = Clock()
        self.zone = Zone()
        for name, addresses in records.items():
            self.zone.put(f"{name}.test", *addresses)
        names = Names(self.zone, self.clock, Rules(), random=Random(7))
        self.gateway = Gateway({"round-robin": RoundRobinFactory()}, "traditional_compatible", names)
        self.names = names
        self.snapshot = EMPTY
        self.upstream, self.targets = an_upstream("u", *targets)
        self.put(self.upstream, *self.targets)

    def put(self, *entities: Upstream | Target) -> None:
        self.change(Change(puts=entities))

    def change(self, change: Change) -> None:
        old, self.snapshot = self.snapshot, self.snapshot.with_change(change)
        self.gateway.apply(old, self.snapshot)

    @property
    def balancer(self) -> Any:
        return self.gateway.balancer(a_service("u").model_copy(update={"host": "u"}))[0]

    def peers(self) -> Mapping[str, Peer]:
        return {peer.address: peer for peer in self.balancer.peers}

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)
        self.clock.advance(0)

    def picked(self, count: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for _ in range(count):
            lease = self.balancer.lease()
            found[lease.peer.address] += 1
            lease.release(Outcome(None, 200, 0.1))
        return found


def test_who_stays() -> None:
    """Who stays in a record is the same peer with all it knows; who is new joins, who is missing leaves."""
    world = World("a.test:80", a=("10.0.0.1", "10.0.0.2"))
    before = world.peers()
    before["10.0.0.2:80"].healthy = False
    world.zone.put("a.test", "10.0.0.3", "10.0.0.2")
    world.wait(1 + LATE)
    after = world.peers()
    assert set(after) == {"10.0.0.2:80", "10.0.0.3:80"}
    assert after["10.0.0.2:80"] is before["10.0.0.2:80"]
    assert not after["10.0.0.2:80"].healthy
    assert after["10.0.0.3:80"].healthy


@pytest.mark.parametrize("trouble", [NameNotResolved("a.test", "timeout"), NameNotFound(empty=True)], ids=repr)
def test_a_blip(trouble: Exception) -> None:
    """A name server that fails for a while changes nothing about anybody."""
    world = World("a.test:80", a=("10.0.0.1", "10.0.0.2"))
    before = world.peers()
    before["10.0.0.1:80"].healthy = False
    world.zone.records["a.test"] = trouble
    world.wait(60)
    world.zone.put("a.test", "10.0.0.2", "10.0.0.1")
    world.wait(60)
    after = world.peers()
    assert after == before
    assert not after["10.0.0.1:80"].healthy


def test_order_says_nothing() -> None:
    """Records in another order are the same record, and the balancer does not even hear of it."""
    world = World("a.test:80", a=("10.0.0.2", "10.0.0.1"))
    peers = world.balancer.peers
    world.zone.put("a.test", "10.0.0.1", "10.0.0.2")
    world.wait(5)
    assert world.zone.asked["a.test"] > 2
    assert world.balancer.peers is peers


def test_weights() -> None:
    """Each address has the target's weight; SRV records have their own, and port; weight 0 is nothing in any case."""
    world = World("a.test:80", "s.test:80", "z.test:80", a=("10.0.0.1", "10.0.0.2"))
    for name in ("s.test", "z.test"):
        world.zone.put(name, Address("10.0.0.3", 81, 50), Address("10.0.0.4", None, 0))
        world.zone.waiting.pop(name).callback(world.zone.records[name])  # type: ignore[arg-type]  # it is an answer
    world.put(world.targets[2].model_copy(update={"weight": 0}))
    world.clock.advance(0)
    weights = {(peer.address, peer.name): peer.weight for peer in world.balancer.peers}
    assert weights == {
        ("10.0.0.1:80", "a.test"): 100,
        ("10.0.0.2:80", "a.test"): 100,
        ("10.0.0.3:81", "s.test"): 50,
        ("10.0.0.4:80", "s.test"): 1,
        ("10.0.0.3:81", "z.test"): 0,
        ("10.0.0.4:80", "z.test"): 0,
    }
    assert world.picked(251) == {"10.0.0.1:80": 100, "10.0.0.2:80": 100, "10.0.0.3:81": 50, "10.0.0.4:80": 1}


def test_virtual() -> None:
    """A TTL of 0 makes one peer of a target, another TTL as many as there are addresses again."""
    world = World("a.test:80")
    world.zone.put("a.test", "10.0.0.1", "10.0.0.2", ttl=0.0)
    world.zone.waiting.pop("a.test").callback(world.zone.records["a.test"])  # type: ignore[arg-type]  # the same
    world.clock.advance(0)
    (peer,) = world.balancer.peers
    assert (peer.address, peer.resolved, peer.weight) == ("a.test:80", False, 100)
    world.zone.put("a.test", "10.0.0.1", "10.0.0.2", ttl=30.0)
    world.names.get("a.test")
    world.clock.advance(0)
    assert set(world.peers()) == {"10.0.0.1:80", "10.0.0.2:80"}


def test_one_fails() -> None:
    """A name that leads nowhere leaves the traffic to the others, and has its share when it leads somewhere."""
    world = World("a.test:80", "b.test:80", a=("10.0.0.1",))
    world.zone.records["b.test"] = NameNotFound()
    world.zone.waiting.pop("b.test").errback(NameNotFound())
    world.clock.advance(0)
    assert world.picked(4) == {"10.0.0.1:80": 4}
    world.zone.put("b.test", "10.0.0.2")
    world.wait(31)
    assert world.picked(4) == {"10.0.0.1:80": 2, "10.0.0.2:80": 2}


def test_waiting_for_a_name() -> None:
    """Who asks while nobody's name is known waits; with somebody there, for a moment at most."""
    world = World("a.test:80", "10.0.0.9:80")
    waiting = world.balancer.before()
    assert waiting is not None
    world.wait(0.6)
    assert waiting.called
    assert world.balancer.before is None
    assert set(world.peers()) == {"10.0.0.9:80"}
    world.zone.waiting.pop("a.test").callback(Answer((Address("10.0.0.1"),), 60.0))
    world.clock.advance(0)
    assert set(world.peers()) == {"10.0.0.1:80", "10.0.0.9:80"}


def test_nobody_there() -> None:
    """With nobody there at all requests wait until the name was answered, well or not."""
    world = World("a.test:80")
    waiting = world.balancer.before()
    world.wait(5)
    assert not waiting.called
    world.zone.waiting.pop("a.test").errback(NameNotFound())
    world.clock.advance(0)
    assert waiting.called
    assert world.balancer.lease() is None


def test_forgotten() -> None:
    """Names of targets that are gone are asked for no more."""
    world = World("a.test:80", "A.test:81", a=("10.0.0.1",))
    world.change(Change(deletes=(("targets", world.targets[0].id),)))
    world.wait(3)
    assert world.zone.asked["a.test"] > 1
    world.change(Change(deletes=(("upstreams", world.upstream.id),)))
    asked = world.zone.asked["a.test"]
    world.wait(10)
    assert world.zone.asked["a.test"] == asked
    assert list(world.names.all()) == []
