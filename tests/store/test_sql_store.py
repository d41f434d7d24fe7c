"""The store on SQLite, in its own thread."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import a_path, a_store, ask, replayed, tables
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from twisted_kong.errors import ForeignKeyViolation, StillReferenced, UniqueViolation
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Service
from twisted_kong.model.snapshot import Snapshot, diff
from twisted_kong.store.sql import SqlStore
from twisted_kong.testing import a_pair, a_service, an_id, an_upstream, config_store_contract


async def make_store(case: TestCase) -> SqlStore:
    return await a_store(case, a_path(case))


SqlStoreContract = config_store_contract(make_store)


def insert(path: Path, service: Service) -> None:
    """What a process does that knows nothing of the log."""
    row = (service.id, service.name, service.model_dump_json())
    ask(path, "INSERT INTO services (id, name, created_at, first_change, document) VALUES (?, ?, 1, 0, ?)", *row)


class RestartTests(TestCase):
    """What is there after the store was closed and opened again."""

    async def test_configuration_survives(self) -> None:
        """The configuration, its order and its generation are those before the restart."""
        path = a_path(self)
        store = await a_store(self, path)
        upstream, targets = an_upstream("u", "c:80", "[::1]:80", "a:80")
        await store.apply(Change(puts=(*a_pair("orders"), upstream, *targets)))
        await store.apply(Change(puts=(targets[0].model_copy(update={"weight": 7}),)))
        before = await store.apply(Change(deletes=(("targets", targets[1].id),)))
        await store.close()
        after = (await a_store(self, path)).snapshot()
        assert diff(before, after) == {}
        assert list(after.targets.values()) == list(before.targets.values())
        assert after.generation == before.generation == 3

    async def test_changes_in_flight_land(self) -> None:
        """Changes that nobody waited for are on the disk when the store has closed, and were answered."""
        path = a_path(self)
        store = await a_store(self, path)
        services = [a_service(f"s{number}") for number in range(10)]
        answers = [store.apply(Change(puts=(service,))) for service in services]
        await store.close()
        assert list(tables(path)["services"]) == [service.id for service in services]
        assert [self.successResultOf(answer).generation for answer in answers] == list(range(1, 11))

    async def test_closed(self) -> None:
        """A closed store refuses changes instead of leaving them without an answer."""
        store = await a_store(self, a_path(self))
        await store.close()
        with pytest.raises(RuntimeError, match="closed"):
            await store.apply(Change())

    async def test_reachable(self) -> None:
        """A store whose file has gone says so, until it is back; so does a closed one."""
        path = a_path(self)
        store = await a_store(self, path)
        await store.apply(Change(puts=(a_service("orders"),)))
        assert await store.reachable()
        hidden = path.rename(path.with_suffix(".hidden"))
        assert not await store.reachable()
        hidden.rename(path)
        assert await store.reachable()
        await store.close()
        assert not await store.reachable()

    async def test_unreadable(self) -> None:
        """What cannot be read is not reachable."""
        path = a_path(self)
        store = await a_store(self, path)
        ask(path, "DROP TABLE changes")
        assert not await store.reachable()


class LogTests(TestCase):
    """The table of changes."""

    async def test_every_write_has_a_row(self) -> None:
        """A change's rows tell time, generation, operation and document, of cascaded deletions as well."""
        path = a_path(self)
        store = await a_store(self, path, now=lambda: 1700000000.25)
        upstream, (target,) = an_upstream("u", "a:80")
        await store.apply(Change(puts=(upstream, target)))
        await store.apply(Change(deletes=(("upstreams", upstream.id),)))
        log = ask(path, "SELECT id, at, generation, operation, collection, entity_id FROM changes ORDER BY id")
        assert log == [
            (1, 1700000000.25, 1, "put", "upstreams", upstream.id),
            (2, 1700000000.25, 1, "put", "targets", target.id),
            (3, 1700000000.25, 2, "delete", "targets", target.id),
            (4, 1700000000.25, 2, "delete", "upstreams", upstream.id),
        ]
        assert ask(path, "SELECT document IS NULL FROM changes ORDER BY id") == [(0,), (0,), (1,), (1,)]
        assert replayed(path) == tables(path)

    async def test_nothing_done_nothing_logged(self) -> None:
        """Refused changes and changes that do nothing leave no row."""
        path = a_path(self)
        store = await a_store(self, path)
        with pytest.raises(ForeignKeyViolation):
            await store.apply(Change(puts=(a_service("bills"), a_pair("orders")[1])))
        await store.apply(Change(deletes=(("services", an_id(404)),)))
        assert ask(path, "SELECT * FROM changes") == []

    async def test_order_of_the_clock(self) -> None:
        """The time logged is the time of the call, not of the thread's turn."""
        path = a_path(self)
        times = iter([1.0, 2.0])
        store = await a_store(self, path, now=lambda: next(times))
        answers = [store.apply(Change(puts=(a_service(name),))) for name in ("a", "b")]
        assert list(times) == []
        for answer in answers:
            await answer
        assert ask(path, "SELECT at FROM changes ORDER BY id") == [(1.0,), (2.0,)]


class FailureTests(TestCase):
    """What happens when a commit does not, or nobody waits for it."""

    async def test_failed_commit(self) -> None:
        """A write that the database refuses changes nothing, in memory or on the disk, and the next one succeeds."""
        path = a_path(self)
        store = await a_store(self, path)
        before = await store.apply(Change(puts=(a_service("orders"),)))
        told: list[Snapshot] = []
        store.subscribe(lambda old, new: told.append(new))
        ask(path, "CREATE TRIGGER full BEFORE INSERT ON changes BEGIN SELECT RAISE(ABORT, 'no room'); END")
        with pytest.raises(IntegrityError, match="no room"):
            await store.apply(Change(puts=(a_service("bills"),)))
        assert store.snapshot() is before
        assert told == []
        ask(path, "DROP TRIGGER full")
        after = await store.apply(Change(puts=(a_service("bills"),)))
        assert [service.name for service in after.services.values()] == ["orders", "bills"]
        assert replayed(path) == tables(path)

    async def test_cancelled_answer(self) -> None:
        """Who no longer waits for the answer does not undo the change, nor keep it from the listeners."""
        path = a_path(self)
        store = await a_store(self, path)
        told: list[Snapshot] = []
        store.subscribe(lambda old, new: told.append(new))
        answer = store.apply(Change(puts=(a_service("orders"),)))
        answer.cancel()
        with pytest.raises(CancelledError):
            await answer
        after = await store.apply(Change(puts=(a_service("bills"),)))
        assert [service.name for service in after.services.values()] == ["orders", "bills"]
        assert [snapshot.generation for snapshot in told] == [1, 2]


class OtherWriterTests(TestCase):
    """Another process writes to the same file."""

    async def test_second_store(self) -> None:
        """A change stands on what another store wrote, listeners hear of both, and generations are not shared."""
        path = a_path(self)
        ours, theirs = await a_store(self, path), await a_store(self, path)
        told: list[tuple[Snapshot, Snapshot]] = []
        ours.subscribe(lambda old, new: told.append((old, new)))
        before = await ours.apply(Change(puts=(a_service("orders"),)))
        await theirs.apply(Change(puts=(a_service("bills"),)))
        after = await ours.apply(Change(puts=(a_service("mail"),)))
        assert [service.name for service in after.services.values()] == ["orders", "bills", "mail"]
        assert told[-1] == (before, after)
        assert ask(path, "SELECT generation FROM changes ORDER BY id") == [(1,), (2,), (3,)]
        with pytest.raises(UniqueViolation):
            await theirs.apply(Change(puts=(a_service("mail").model_copy(update={"id": an_id(2)}),)))

    async def test_unlogged_twin(self) -> None:
        """A unique key that a row without a log entry holds is refused as any other."""
        path = a_path(self)
        store = await a_store(self, path)
        before = store.snapshot()
        insert(path, a_service("orders"))
        with pytest.raises(UniqueViolation) as refusal:
            await store.apply(Change(puts=(a_service("orders").model_copy(update={"id": an_id(2)}),)))
        assert refusal.value.fields == {"name": "orders"}
        assert store.snapshot() is before

    async def test_unlogged_deletion(self) -> None:
        """A reference to a row that has gone without a log entry is refused as any other."""
        path = a_path(self)
        store = await a_store(self, path)
        service, route = a_pair("orders")
        await store.apply(Change(puts=(service,)))
        ask(path, "DELETE FROM services")
        with pytest.raises(ForeignKeyViolation) as refusal:
            await store.apply(Change(puts=(route,)))
        assert refusal.value.fields == {"service": {"id": service.id}}

    async def test_unlogged_child(self) -> None:
        """The deletion of what a row without a log entry refers to is refused as any other."""
        path = a_path(self)
        store = await a_store(self, path)
        service, route = a_pair("orders")
        await store.apply(Change(puts=(service,)))
        row = (route.id, service.id, route.model_dump_json())
        columns = "id, service_id, created_at, first_change, document"
        ask(path, f"INSERT INTO routes ({columns}) VALUES (?, ?, 1, 0, ?)", *row)
        with pytest.raises(StillReferenced):
            await store.apply(Change(deletes=(("services", service.id),)))
