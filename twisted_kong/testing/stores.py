"""The contract of `IConfigStore`. Its double in memory is `twisted_kong.store.memory.MemoryStore`."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from twisted_kong.errors import AdminError, ForeignKeyViolation, StillReferenced, UniqueViolation
from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.changes import Change
from twisted_kong.model.snapshot import Snapshot, diff
from twisted_kong.testing.entities import a_pair, a_service, an_id, an_upstream

T = TypeVar("T")


def started(work: Awaitable[T]) -> Deferred[T]:
    """``work`` under way, to be awaited later."""

    async def wait() -> T:
        return await work

    return Deferred.fromCoroutine(wait())


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
