"""The configuration in force: what a change touches, and what it leaves alone."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer, implementer_only

from twisted_kong.balancing.roundrobin import RoundRobin, RoundRobinFactory
from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IPeer
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity, Reference, Service, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.balancer import Balancer, Lease
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.peers import Peer
from twisted_kong.testing import KnownNames, a_pair, a_service, an_id, an_upstream

E = TypeVar("E", bound=Entity)

OK = Outcome(None, 200, 0.1)


@implementer(IPlugin, IAlgorithmFactory)
class OtherFactory(RoundRobinFactory):
    """Round robin under another name."""

    name = "other"


@implementer(IPlugin, IAlgorithmFactory)
class FailingFactory:
    """Makes algorithms that fail on more than one peer; it cannot make any for an upstream called ``none``."""

    name = "failing"

    def build(self, upstream: Upstream) -> IAlgorithm:
        if upstream.name == "none":
            raise ZeroDivisionError
        return FailingOnTwo()


@implementer_only(IAlgorithm)
class FailingOnTwo(RoundRobin):
    def update(self, peers: Iterable[IPeer]) -> None:
        peers = list(peers)
        if len(peers) > 1:
            raise ZeroDivisionError
        super().update(peers)


ALGORITHMS: Mapping[str, IAlgorithmFactory] = {
    factory.name: factory for factory in (RoundRobinFactory(), OtherFactory(), FailingFactory())
}


def edited(entity: E, **fields: Any) -> E:
    return entity.model_copy(update=fields)


def to(host: str, port: int = 80) -> Service:
    """A service with this host."""
    return edited(a_service(host), host=host, port=port)


class Configured:
    """A gateway, and the configuration that is changed under it."""

    def __init__(self, *puts: Entity) -> None:
        names = Names(
            KnownNames({"a.test": ["10.0.9.1"], "b.test": ["10.0.9.2"], "orders": ["10.0.9.3"], "none": ["10.0.9.4"]}),
            Clock(),
        )
        self.gateway = Gateway(ALGORITHMS, "traditional_compatible", names)
        self.snapshot = EMPTY
        self.put(*puts)

    def put(self, *puts: Entity) -> None:
        self.change(Change(puts=puts))

    def delete(self, *entities: Entity) -> None:
        self.change(Change(deletes=tuple((entity.collection, entity.id) for entity in entities)))

    def change(self, change: Change) -> None:
        old, self.snapshot = self.snapshot, self.snapshot.with_change(change)
        self.gateway.apply(old, self.snapshot)

    def balancer(self, host: str, port: int = 80) -> Balancer:
        """Who lends the peers of a service with this host, when they are known."""
        balancer = self.gateway.balancer(to(host, port))[0]
        waiting = None if balancer.before is None else balancer.before()
        if waiting is not None:
            _ = waiting.addErrback(lambda _: None)
        return balancer

    def lease(self, host: str) -> Lease:
        lease = self.balancer(host).lease()
        assert lease is not None
        return lease

    def peers(self, host: str) -> dict[str, Peer]:
        return {peer.address: peer for peer in self.balancer(host).peers}

    def picked(self, host: str, count: int) -> Counter[str]:
        """How often each address is lent in ``count`` requests."""
        found: Counter[str] = Counter()
        for _ in range(count):
            lease = self.lease(host)
            lease.release(OK)
            found[lease.peer.address] += 1
        return found


class TargetTests(SynchronousTestCase):
    """Targets come, go and change their weights."""

    def setUp(self) -> None:
        self.upstream, (self.a, self.b) = an_upstream("orders", "10.0.0.1:80", "10.0.0.2:80")
        self.world = Configured(self.upstream, self.a, self.b)

    def test_weight(self) -> None:
        """Another weight is in force at once; balancer and peers are the same objects."""
        balancer, peers = self.world.balancer("orders"), self.world.peers("orders")
        self.world.put(edited(self.a, weight=300))
        self.assertIs(self.world.balancer("orders"), balancer)
        self.assertEqual(self.world.peers("orders"), peers)
        self.assertEqual(self.world.picked("orders", 8), {"10.0.0.1:80": 6, "10.0.0.2:80": 2})

    def test_weight_zero(self) -> None:
        """A target of weight 0 is lent no more, and again when it has a weight."""
        self.world.put(edited(self.a, weight=0))
        self.assertEqual(self.world.picked("orders", 4), {"10.0.0.2:80": 4})
        self.world.put(self.a)
        self.assertEqual(self.world.picked("orders", 4), {"10.0.0.1:80": 2, "10.0.0.2:80": 2})

    def test_deleted(self) -> None:
        """A deleted target is lent no more; what it carries comes to its end."""
        leases = [self.world.lease("orders") for _ in range(2)]
        self.world.delete(self.a)
        self.assertEqual(self.world.picked("orders", 4), {"10.0.0.2:80": 4})
        for lease in leases:
            self.assertEqual(lease.peer.leases, 1)
            lease.release(OK)
            self.assertEqual(lease.peer.leases, 0)

    def test_back_while_leased(self) -> None:
        """A target that is deleted and added again, under whatever id, is the same peer while it carries anything."""
        leases = [self.world.lease("orders") for _ in range(2)]
        peers = self.world.peers("orders")
        self.world.delete(self.a, self.b)
        self.world.put(edited(self.a, id=an_id(1)), edited(self.b, id=an_id(2), weight=7))
        self.assertEqual(self.world.peers("orders"), peers)
        self.assertEqual([peer.weight for peer in peers.values()], [100, 7])
        for lease in leases:
            self.assertEqual(lease.peer.leases, 1)
            lease.release(OK)

    def test_upstream_back_while_leased(self) -> None:
        """The same where the whole upstream was away, with another balancer then."""
        leases = [self.world.lease("orders") for _ in range(2)]
        balancer, peers = self.world.balancer("orders"), self.world.peers("orders")
        self.world.delete(self.upstream)
        self.world.put(self.upstream, self.a, self.b)
        self.assertIsNot(self.world.balancer("orders"), balancer)
        self.assertEqual(self.world.peers("orders"), peers)
        for lease in leases:
            lease.release(OK)
        self.assertEqual([peer.leases for peer in peers.values()], [0, 0])

    def test_same_address_of_another(self) -> None:
        """The same address in two upstreams is two peers."""
        other, targets = an_upstream("bills", "10.0.0.1:80")
        self.world.put(other, *targets)
        self.assertIsNot(self.world.peers("bills")["10.0.0.1:80"], self.world.peers("orders")["10.0.0.1:80"])

    def test_others_left_alone(self) -> None:
        """A change of one upstream's targets does not begin another upstream's turns anew."""
        other, targets = an_upstream("bills", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
        self.world.put(other, *targets)
        balancer = self.world.balancer("bills")
        for number in (1, 2, 3, 1, 2):
            self.assertEqual(self.world.picked("bills", 1), {f"10.0.0.{number}:80": 1})
            self.world.put(edited(self.a, weight=number))
        self.assertIs(self.world.balancer("bills"), balancer)


class UpstreamTests(SynchronousTestCase):
    """Upstreams come, go and change what they are."""

    def test_without_targets(self) -> None:
        """An upstream without targets lends nobody."""
        upstream, _ = an_upstream("orders")
        self.assertIsNone(Configured(upstream).balancer("orders").lease())

    def test_other_fields(self) -> None:
        """What is no concern of the balancer leaves it and its turns alone; the Host it prescribes is in force."""
        upstream, targets = an_upstream("orders", "10.0.0.1:80", "10.0.0.2:80")
        world = Configured(upstream, *targets)
        balancer = world.balancer("orders")
        self.assertEqual(world.gateway.balancer(to("orders")), (balancer, None))
        first = world.picked("orders", 1)
        world.put(edited(upstream, host_header="orders.example:81", slots=100))
        self.assertEqual(world.gateway.balancer(to("orders")), (balancer, b"orders.example:81"))
        self.assertEqual(first + world.picked("orders", 1), {"10.0.0.1:80": 1, "10.0.0.2:80": 1})

    def test_another_algorithm(self) -> None:
        """Another algorithm picks among the same peers, which keep count of the leases that the old one gave."""
        upstream, targets = an_upstream("orders", "10.0.0.1:80", "10.0.0.2:80")
        world = Configured(upstream, *targets)
        balancer, peers, lease = world.balancer("orders"), world.peers("orders"), world.lease("orders")
        world.put(edited(upstream, algorithm="other"))
        self.assertIs(world.balancer("orders"), balancer)
        self.assertEqual(world.picked("orders", 4), {"10.0.0.1:80": 2, "10.0.0.2:80": 2})
        self.assertEqual(world.peers("orders"), peers)
        self.assertEqual(lease.peer.leases, 1)
        lease.release(OK)
        self.assertEqual(lease.peer.leases, 0)

    def test_another_weight(self) -> None:
        """Another weight of one target is in force, and its peers and those of the others stay who they are."""
        upstream, targets = an_upstream("orders", "10.0.0.1:80", "10.0.0.2:80")
        world = Configured(upstream, *targets)
        peers = world.peers("orders")
        for weight, picked in ((50, {"10.0.0.1:80": 1, "10.0.0.2:80": 2}), (0, {"10.0.0.2:80": 3})):
            world.put(edited(targets[0], weight=weight))
            self.assertEqual(world.picked("orders", 3), picked)
        world.put(edited(targets[0], weight=200))
        self.assertEqual(world.picked("orders", 3), {"10.0.0.1:80": 2, "10.0.0.2:80": 1})
        self.assertEqual(world.peers("orders"), peers)

    def test_unknown_algorithm(self) -> None:
        """An algorithm nobody has installed is round-robin, and a warning that names both."""
        upstream, targets = an_upstream("orders", "10.0.0.1:80", "10.0.0.2:80")
        with capturedLogs() as events:
            world = Configured(edited(upstream, algorithm="clairvoyant"), *targets)
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual([(event["name"], event["algorithm"]) for event in warnings], [("orders", "clairvoyant")])
        self.assertEqual(world.picked("orders", 4), {"10.0.0.1:80": 2, "10.0.0.2:80": 2})

    def test_renamed(self) -> None:
        """An upstream under another name keeps its balancer, which goes by the new name in the log."""
        upstream, targets = an_upstream("orders", "10.0.0.1:80")
        world = Configured(upstream, *targets)
        balancer = world.balancer("orders")
        world.put(edited(upstream, name="bills"))
        self.assertIs(world.balancer("bills"), balancer)
        self.assertEqual(list(world.peers("orders")), ["10.0.9.3:80"])
        self.assertEqual(balancer.name, "bills")

    def test_names_exchanged(self) -> None:
        """Two upstreams may exchange their names by way of a third, or hand one on to a new one, in one change."""
        one, targets = an_upstream("one", "10.0.0.1:80")
        two, others = an_upstream("two", "10.0.0.2:80")
        world = Configured(one, *targets, two, *others)
        world.put(edited(one, name="three"), edited(two, name="one"), edited(one, name="two"))
        self.assertEqual((list(world.peers("one")), list(world.peers("two"))), (["10.0.0.2:80"], ["10.0.0.1:80"]))
        new = edited(one, id=an_id(1), name="two")
        target = edited(targets[0], id=an_id(2), upstream=Reference(id=new.id))
        world.put(edited(one, name="four"), new, target)
        self.assertEqual((list(world.peers("four")), list(world.peers("two"))), (["10.0.0.1:80"], ["10.0.0.1:80"]))
        self.assertNotEqual(world.peers("four"), world.peers("two"))

    def test_gone(self) -> None:
        """A deleted upstream is gone without a garbage collection, which does not see what was there at the start."""
        named, targets = an_upstream("orders", "10.0.0.1:80")
        checks = {"passive": {"unhealthy": {"tcp_failures": 2}}}
        upstream = Schema().build(Upstream, {"id": named.id, "name": "orders", "healthchecks": checks}, now=1.0)
        world = Configured(upstream, *targets)
        world.lease("orders").release(OK)
        gone = ref(world.balancer("orders"))
        gc.disable()
        self.addCleanup(gc.enable)
        world.delete(*targets, upstream)
        self.assertIsNone(gone())


class DirectTests(SynchronousTestCase):
    """Services whose host is no upstream."""

    def test_host_and_port(self) -> None:
        """The host's address is the only peer, at the service's port; the same two are the same balancer."""
        world = Configured(to("a.test"), to("b.test", 81))
        self.assertEqual(list(world.peers("a.test")), ["10.0.9.1:80"])
        self.assertIs(world.balancer("a.test"), world.balancer("a.test"))
        self.assertIsNot(world.balancer("a.test", 81), world.balancer("a.test"))
        self.assertEqual([peer.address for peer in world.balancer("b.test", 81).peers], ["10.0.9.2:81"])

    def test_upstream_first(self) -> None:
        """The name of an upstream means that upstream from the moment it is there, and to the moment it is gone."""
        world = Configured(to("orders"))
        direct = world.balancer("orders")
        upstream, targets = an_upstream("orders", "10.0.0.1:80")
        world.put(upstream, *targets)
        self.assertEqual(list(world.peers("orders")), ["10.0.0.1:80"])
        world.delete(upstream)
        self.assertIs(world.balancer("orders"), direct)

    def test_forgotten(self) -> None:
        """What no service names any more is forgotten; the others stay as they are."""
        a, b = to("a.test"), to("b.test")
        world = Configured(a, b)
        gone, kept = world.balancer("a.test"), world.balancer("b.test")
        world.delete(a)
        self.assertIsNot(world.balancer("a.test"), gone)
        self.assertIs(world.balancer("b.test"), kept)


class RouterTests(SynchronousTestCase):
    """When there is a new router."""

    def test_same_router(self) -> None:
        """What is neither a route nor a service leaves the router as it is."""
        upstream, targets = an_upstream("orders", "10.0.0.1:80")
        world = Configured(*a_pair("orders"))
        router = world.gateway.router
        world.put(upstream, *targets)
        world.put(edited(targets[0], weight=1), edited(upstream, slots=100))
        world.delete(upstream)
        self.assertIs(world.gateway.router, router)

    def test_new_router(self) -> None:
        """A change of routes or of services is a new router, whose routes are in force."""
        service, route = a_pair("orders")
        world = Configured(service, route)

        def found(path: bytes) -> Any:
            return world.gateway.router.match(b"GET", b"a.test", path, lambda name: [], False)

        self.assertEqual(found(b"/orders").service, service)
        self.assertIsNone(found(b"/bills"))
        world.put(edited(service, host="elsewhere.test"))
        self.assertEqual(found(b"/orders").service.host, "elsewhere.test")
        world.put(*a_pair("bills"))
        self.assertIsNotNone(found(b"/bills"))
        world.delete(route)
        self.assertIsNone(found(b"/orders"))


class FailingComponentTests(SynchronousTestCase):
    """An algorithm that fails is logged, and concerns nobody but its upstream."""

    def assert_others_work(self, world: Configured) -> None:
        """Later changes, those of the same configuration included, are in force."""
        other, targets = an_upstream("other", "10.0.0.1:80")
        world.put(other, *targets, *a_pair("bills"))
        self.assertEqual(world.picked("other", 2), {"10.0.0.1:80": 2})
        self.assertIsNotNone(world.gateway.router.match(b"GET", b"a.test", b"/bills", lambda name: [], False))
        self.assertIsNotNone(world.gateway.router.match(b"GET", b"a.test", b"/orders", lambda name: [], False))

    def test_failing_update(self) -> None:
        """An algorithm that fails on its peers does not keep a change from coming into force elsewhere."""
        upstream, targets = an_upstream("failing", "10.0.0.1:80", "10.0.0.2:80")
        upstream = edited(upstream, algorithm="failing")
        world = Configured(upstream, *targets, *a_pair("orders"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_others_work(world)
        world.delete(targets[0])
        self.assertEqual(world.picked("failing", 2), {"10.0.0.2:80": 2})

    def test_failing_build(self) -> None:
        """Nor does a factory that fails; the upstream works once it has another algorithm, and can be deleted."""
        upstream, targets = an_upstream("none", "10.0.0.1:80")
        world = Configured(edited(upstream, algorithm="failing"), *targets, *a_pair("orders"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_others_work(world)
        world.put(upstream)
        self.assertEqual(world.picked("none", 2), {"10.0.0.1:80": 2})
        world.delete(upstream)
        self.assertEqual(list(world.peers("none")), ["10.0.9.4:80"])


NAMES = ("u", "v", "w")


@st.composite
def changes(draw: st.DrawFn) -> list[Change]:
    """Changes of a few upstreams and their targets, each of them possible after those before it."""
    snapshot = EMPTY
    made = []
    for _ in range(draw(st.integers(1, 8))):
        name = draw(st.sampled_from(NAMES))
        upstream, targets = an_upstream(name, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
        known = snapshot.get("upstreams", upstream.id)
        if known is not None and draw(st.booleans()):
            gone = draw(st.sampled_from([upstream, *targets]))
            change = Change(deletes=((gone.collection, gone.id),))
        else:
            kept = draw(st.lists(st.sampled_from(targets), unique_by=lambda target: target.id))
            puts = [edited(target, weight=draw(st.integers(0, 3))) for target in kept]
            algorithm = draw(st.sampled_from(["round-robin", "other"]))
            change = Change(puts=(edited(upstream, algorithm=algorithm), *puts))
        snapshot = snapshot.with_change(change)
        made.append(change)
    return made


def told(world: Configured) -> dict[str, list[tuple[str, int]]]:
    """The peers of every upstream, and their weights."""
    names = [upstream.name for upstream in world.snapshot.upstreams.values()]
    return {name: [(peer.address, peer.weight) for peer in world.balancer(name).peers] for name in sorted(names)}


@given(changes())
def test_changes_lead_where_a_start_does(made: list[Change]) -> None:
    """However a configuration came about, its peers are those of a gateway that starts with it."""
    world = Configured()
    for change in made:
        world.change(change)
    fresh = Configured()
    fresh.snapshot = world.snapshot
    fresh.gateway.apply(EMPTY, world.snapshot)
    assert told(world) == told(fresh)
    targets: dict[str, list[tuple[str, int]]] = {name: [] for name in told(world)}
    for target in world.snapshot.targets.values():
        owner = world.snapshot.upstreams[target.upstream.id].name
        targets[owner].append((target.target, target.weight))
    assert told(world) == targets
