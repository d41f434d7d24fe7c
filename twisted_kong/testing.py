"""For authors of components: a contract suite for each interface.

A suite is a factory. Given a way to make the thing it answers a `TestCase` class that first verifies the interface and
then the behaviour that the gateway relies on; assign it to a name in a test module, and any runner of tests finds it.
"""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_kong.errors import AdminError, ForeignKeyViolation, NameNotFound, StillReferenced, UniqueViolation
from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IConfigStore, IPeer, IResolver
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity, Route, Service, Target, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import Snapshot, diff
from twisted_kong.model.traffic import Address, Answer, Outcome, Pick

T = TypeVar("T")
E = TypeVar("E", bound=Entity)


def started(work: Awaitable[T]) -> Deferred[T]:
    """``work`` under way, to be awaited later."""

    async def wait() -> T:
        return await work

    return Deferred.fromCoroutine(wait())


# -- IConfigStore ----------------------------------------------------------------------------------------------


def config_store_contract(make_store: Callable[[TestCase], Awaitable[IConfigStore]]) -> type[TestCase]:
    """What every `IConfigStore` must do.

    ``make_store(case)`` makes an empty store; what is to be closed it leaves to ``case.addCleanup``.
    """

    class ConfigStoreContract(TestCase):
        """The behaviour that the gateway relies on."""

        store: IConfigStore
        told: list[tuple[Snapshot, Snapshot]]

        async def setUp(self) -> None:  # type: ignore[override] # trial awaits what it returns
            self.store = await make_store(self)
            self.told = []

        def listen(self) -> None:
            self.store.subscribe(lambda old, new: self.told.append((old, new)))

        async def refused(self, error: type[AdminError], change: Change) -> AdminError:
            """The refusal of ``change``, which left no trace."""
            before = self.store.snapshot()
            self.listen()
            with self.assertRaises(error) as refusal:
                await self.store.apply(change)
            self.assertIs(self.store.snapshot(), before)
            self.assertEqual(self.told, [])
            raised: AdminError = refusal.exception
            return raised

        def test_interface(self) -> None:
            """The store provides `IConfigStore`."""
            verifyObject(IConfigStore, self.store)

        def test_empty(self) -> None:
            """A new store holds nothing."""
            self.assertEqual(diff(Snapshot(0, {}), self.store.snapshot()), {})

        async def test_answer_is_in_force(self) -> None:
            """The answer to a change is the snapshot in force, it holds the change, and its generation is higher."""
            before = self.store.snapshot()
            service = a_service("orders")
            after = await self.store.apply(Change(puts=(service,)))
            self.assertIs(self.store.snapshot(), after)
            self.assertEqual(after.services, {service.id: service})
            self.assertGreater(after.generation, before.generation)
            self.assertEqual(before.services, {})

        async def test_replacement(self) -> None:
            """A put with the id of an entity takes its place."""
            old = a_service("orders")
            new = old.model_copy(update={"name": "bills"})
            await self.store.apply(Change(puts=(old,)))
            after = await self.store.apply(Change(puts=(new,)))
            self.assertEqual(after.services, {old.id: new})
            self.assertIsNone(after.find("services", "orders"))

        async def test_several_at_once(self) -> None:
            """Puts come in order, then deletes in order: a route may follow its service and leave before it."""
            service, route = a_pair("orders")
            after = await self.store.apply(Change(puts=(service, route)))
            self.assertEqual(after.children("routes", "service", service.id), (route,))
            after = await self.store.apply(Change(deletes=(("routes", route.id), ("services", service.id))))
            self.assertEqual((after.routes, after.services), ({}, {}))

        async def test_put_and_deleted_at_once(self) -> None:
            """What a change both puts and deletes is gone after it."""
            service = a_service("orders")
            after = await self.store.apply(Change(puts=(service,), deletes=(("services", service.id),)))
            self.assertEqual(after.services, {})

        async def test_cascade(self) -> None:
            """The deletion of an upstream takes its targets along, and no others."""
            gone, targets = an_upstream("gone", "a:80", "b:80")
            kept, others = an_upstream("kept", "a:80")
            await self.store.apply(Change(puts=(gone, *targets, kept, *others)))
            after = await self.store.apply(Change(deletes=(("upstreams", gone.id),)))
            self.assertEqual(tuple(after.targets.values()), others)

        async def test_order_of_creation(self) -> None:
            """Entities come in the order of their creation; replacement does not move one."""
            upstream, targets = an_upstream("u", "c:80", "a:80", "b:80")
            await self.store.apply(Change(puts=(upstream, *targets)))
            heavier = targets[0].model_copy(update={"weight": 7})
            after = await self.store.apply(Change(puts=(heavier,)))
            self.assertEqual(after.children("targets", "upstream", upstream.id), (heavier, *targets[1:]))

        async def test_nothing_to_do(self) -> None:
            """A change that does nothing leaves the snapshot in force, and nobody is told."""
            before = await self.store.apply(Change(puts=(a_service("orders"),)))
            self.listen()
            self.assertIs(await self.store.apply(Change()), before)
            self.assertIs(await self.store.apply(Change(deletes=(("services", an_id(404)),))), before)
            self.assertEqual(self.told, [])

        async def test_unique(self) -> None:
            """A second entity with a unique key is refused, with all that came along with it."""
            await self.store.apply(Change(puts=(a_service("orders"),)))
            twin = a_service("orders").model_copy(update={"id": an_id(2)})
            refusal = await self.refused(UniqueViolation, Change(puts=(a_service("bills"), twin)))
            self.assertEqual(refusal.fields, {"name": "orders"})

        async def test_reference_to_nothing(self) -> None:
            """A reference to an entity that is not there is refused, with all that came along with it."""
            service, route = a_pair("orders")
            refusal = await self.refused(ForeignKeyViolation, Change(puts=(a_service("bills"), route)))
            self.assertEqual(refusal.fields, {"service": {"id": service.id}})

        async def test_still_referenced(self) -> None:
            """The deletion of a service that has routes is refused, with all that came along with it."""
            service, route = a_pair("orders")
            await self.store.apply(Change(puts=(service, route)))
            change = Change(puts=(a_service("bills"),), deletes=(("services", service.id),))
            refusal = await self.refused(StillReferenced, change)
            self.assertEqual(refusal.fields, {"@referenced_by": "routes"})

        async def test_goes_on_after_a_refusal(self) -> None:
            """A refused change does not stand in the way of the next one."""
            await self.refused(ForeignKeyViolation, Change(puts=(a_pair("orders")[1],)))
            service = a_service("orders")
            after = await self.store.apply(Change(puts=(service,)))
            self.assertEqual(after.services, {service.id: service})

        async def test_listeners_hear_first(self) -> None:
            """When the answer arrives all listeners have been told the old and the new snapshot, in their order."""
            events: list[object] = []
            before = self.store.snapshot()
            self.store.subscribe(lambda old, new: events.append(("first", old, new)))
            self.store.subscribe(lambda old, new: events.append(("second", old, new)))
            after = await self.store.apply(Change(puts=(a_service("orders"),)))
            events.append("answer")
            self.assertEqual(events, [("first", before, after), ("second", before, after), "answer"])

        async def test_in_force_when_told(self) -> None:
            """The new snapshot is in force when listeners hear of it."""
            seen: list[bool] = []
            self.store.subscribe(lambda old, new: seen.append(self.store.snapshot() is new))
            await self.store.apply(Change(puts=(a_service("orders"),)))
            self.assertEqual(seen, [True])

        async def test_raising_listener(self) -> None:
            """A listener that raises is logged; the others are told, and the answer arrives."""

            def raising(old: Snapshot, new: Snapshot) -> None:
                raise ZeroDivisionError

            self.store.subscribe(raising)
            self.listen()
            after = await self.store.apply(Change(puts=(a_service("orders"),)))
            self.assertEqual([new for _, new in self.told], [after])
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

        async def test_changes_in_flight(self) -> None:
            """Changes that do not wait for each other are made in the order of the calls, each upon the one before."""
            self.listen()
            service, route = a_pair("orders")
            answers = [
                started(self.store.apply(change))
                for change in (
                    Change(puts=(service,)),
                    Change(puts=(route,)),
                    Change(puts=(a_service("bills"),)),
                    Change(deletes=(("routes", route.id),)),
                    Change(deletes=(("services", service.id),)),
                )
            ]
            snapshots = [await answer for answer in answers]
            self.assertEqual([len(each.all("routes")) for each in snapshots], [0, 1, 1, 0, 0])
            self.assertEqual([each.name for each in snapshots[-1].services.values()], ["bills"])
            self.assertEqual([new for _, new in self.told], snapshots)

        async def test_unbroken_chain(self) -> None:
            """What a listener is told as old it was told as new before, even if another one applies a change."""
            answers: list[Deferred[Snapshot]] = []

            def applying(old: Snapshot, new: Snapshot) -> None:
                if len(new.services) < 3:
                    change = Change(puts=(a_service(f"by-listener-{len(new.services)}"),))
                    answers.append(started(self.store.apply(change)))

            before = self.store.snapshot()
            self.store.subscribe(applying)
            self.listen()
            await self.store.apply(Change(puts=(a_service("orders"),)))
            for answer in answers:  # grows by one while the first is awaited
                await answer
            olds, news = zip(*self.told, strict=True)
            self.assertEqual(len(news[-1].services), 3)
            self.assertEqual(olds, (before, *news[:-1]))

    return ConfigStoreContract


# -- IResolver -------------------------------------------------------------------------------------------------


@implementer(IResolver)
class KnownNames:
    """A resolver that knows the addresses of these names, at once and for an hour, and no others."""

    def __init__(self, known: Mapping[str, Sequence[str]] | None = None) -> None:
        self.known = known or {}

    async def resolve(self, name: str) -> Answer:
        if name not in self.known:
            raise NameNotFound
        return Answer(tuple(Address(host) for host in self.known[name]), 3600.0)


# -- IAlgorithm ------------------------------------------------------------------------------------------------


@implementer(IPeer)
class PlainPeer:
    """A peer that is an address and a weight, and nobody's to dial."""

    def __init__(self, address: str, weight: int = 1) -> None:
        self.address = address
        self.weight = weight

    def __repr__(self) -> str:
        return f"<PlainPeer {self.address} weight {self.weight}>"


def some_peers(*weights: int) -> list[PlainPeer]:
    """A peer for each weight, at 10.0.0.1:8000 and the addresses after it."""
    return [PlainPeer(f"10.0.{number >> 8}.{number & 255}:8000", weight) for number, weight in enumerate(weights, 1)]


def algorithm_contract(make_factory: Callable[[], IAlgorithmFactory]) -> type[TestCase]:
    """What every `IAlgorithmFactory` and the algorithms it builds must do; ``make_factory()`` makes one.

    Nothing here asks how the traffic is spread: that is the algorithm's own business.
    """

    class AlgorithmContract(TestCase):
        """The behaviour that the gateway relies on."""

        algorithm: IAlgorithm
        KEYS = (None, b"", b"one", b"another")

        def setUp(self) -> None:
            self.factory = make_factory()
            self.algorithm = self.build()

        def build(self) -> IAlgorithm:
            upstream, _ = an_upstream("orders")
            return self.factory.build(upstream.model_copy(update={"algorithm": self.factory.name}))

        def picks(self, count: int, tried: Sequence[IPeer] = ()) -> list[IPeer | None]:
            """What ``count`` requests get, with and without keys; each of them ends before the next."""
            found = []
            for number in range(count):
                peer = self.algorithm.pick(Pick(self.KEYS[number % len(self.KEYS)], tried))
                found.append(peer)
                if peer is not None:
                    self.algorithm.done(peer, Outcome(None, 200, 0.01))
            return found

        def test_interface(self) -> None:
            """Factory and algorithm provide their interfaces, and the name can be said in ``algorithm``."""
            verifyObject(IAlgorithmFactory, self.factory)
            verifyObject(IAlgorithm, self.algorithm)
            schema = Schema([self.factory.name])
            upstream = schema.build(Upstream, {"name": "orders", "algorithm": self.factory.name}, now=1500000000.0)
            self.assertEqual(upstream.algorithm, self.factory.name)

        def test_nobody(self) -> None:
            """Without peers nobody is picked: neither before the first update nor after all have left."""
            self.assertEqual(self.picks(4), [None] * 4)
            self.algorithm.update(some_peers(1, 2))
            self.algorithm.update([])
            self.assertEqual(self.picks(4), [None] * 4)

        def test_the_only_one(self) -> None:
            """A peer that is alone gets everything."""
            peers = some_peers(7)
            self.algorithm.update(peers)
            self.assertEqual(self.picks(8), peers * 8)

        def test_any_iterable(self) -> None:
            """The peers come as any iterable, which can be read once."""
            peers = some_peers(3)
            self.algorithm.update(iter(peers))
            self.assertEqual(self.picks(4), peers * 4)

        def test_only_the_latest(self) -> None:
            """Whoever an update does not list is not picked after it, whoever it lists may be."""
            before, after = some_peers(1, 50, 3), some_peers(2, 1, 9)
            kept = before[2]
            self.algorithm.update(before)
            self.assertLessEqual(set(self.picks(200)), set(before))
            self.algorithm.update([kept, *after])
            self.assertLessEqual(set(self.picks(200)), {kept, *after})

        def test_never_a_tried_one(self) -> None:
            """Peers that were tried are left out, down to the last one; when all were, nobody is picked."""
            peers = some_peers(1, 100, 10, 1)
            self.algorithm.update(peers)
            for count in range(len(peers)):
                found = self.picks(40, peers[:count])
                self.assertLessEqual(set(found), set(peers[count:]))
            self.assertEqual(self.picks(4, peers), [None] * 4)
            self.assertLessEqual(set(self.picks(40)), set(peers))

        def test_tried_strangers(self) -> None:
            """Peers that were tried and are there no longer change nothing."""
            peers = some_peers(1, 2)
            self.algorithm.update(peers)
            self.assertLessEqual(set(self.picks(40, some_peers(1, 1))), set(peers))

        def test_two_are_strangers(self) -> None:
            """Two algorithms of a factory share nothing, in whatever order they are used."""
            other = self.build()
            mine, others = some_peers(1, 2), some_peers(3)
            self.algorithm.update(mine)
            self.assertIsNone(other.pick(Pick()))
            other.update(others)
            for _ in range(20):
                self.assertIn(self.picks(1)[0], mine)
                self.assertIs(other.pick(Pick()), others[0])

        def test_same_again(self) -> None:
            """An update to the same peers does no harm, even before every pick."""
            peers = some_peers(1, 2, 3)
            found: list[IPeer | None] = []
            for _ in range(60):
                self.algorithm.update(peers)
                found += self.picks(1)
            self.assertLessEqual(set(found), set(peers))

        def test_new_weights(self) -> None:
            """A peer whose weight has changed by the next update is still the same peer."""
            peers = some_peers(1, 1)
            self.algorithm.update(peers)
            self.picks(5)
            peers[0].weight = 30
            self.algorithm.update(peers)
            self.assertLessEqual(set(self.picks(62)), set(peers))

        def test_many_at_once(self) -> None:
            """Attempts overlap and end in any order and in any way, after their peer has left as well."""
            peers = some_peers(1, 2, 3)
            self.algorithm.update(peers)
            picked = [self.algorithm.pick(Pick()) for _ in range(30)]
            self.algorithm.update(peers[1:])
            outcomes = (Outcome(None, 200, 0.1), Outcome(None, 503, 2.0), Outcome("tcp"), Outcome("timeout"), Outcome())
            for number, peer in enumerate(reversed(picked)):
                assert peer is not None
                self.algorithm.done(peer, outcomes[number % len(outcomes)])
            self.assertLessEqual(set(self.picks(30)), set(peers[1:]))

    return AlgorithmContract


# -- entities --------------------------------------------------------------------------------------------------


def an_id(number: int) -> str:
    """The same id for the same number."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def a_service(name: str) -> Service:
    """A service on ``NAME.test``; its id comes from its name."""
    return _made(Service, name, name=name, host=f"{name}.test")


def a_pair(name: str) -> tuple[Service, Route]:
    """A service and a route to it."""
    service = a_service(name)
    return service, _made(Route, name, name=name, paths=[f"/{name}"], service={"id": service.id})


def an_upstream(name: str, *targets: str) -> tuple[Upstream, tuple[Target, ...]]:
    """An upstream and its targets, each of them ``host:port``."""
    upstream = _made(Upstream, name, name=name)
    here = {"id": upstream.id}
    return upstream, tuple(_made(Target, f"{name} {target}", target=target, upstream=here) for target in targets)


def _made(entity: type[E], identity: str, **data: object) -> E:
    number = zlib.crc32(f"{entity.collection} {identity}".encode())
    return Schema().build(entity, {"id": an_id(number), **data}, now=1500000000.0)
