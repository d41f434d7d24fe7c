"""The tables: what the migrations make, what the database enforces, what is read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError, IntegrityError

from twisted_kong.errors import AdminError
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import (
    COLLECTIONS,
    Api,
    CaCertificate,
    Certificate,
    Consumer,
    Entity,
    KeyauthCredential,
    Plugin,
    Reference,
    Sni,
    TargetEntry,
)
from twisted_kong.model.snapshot import EMPTY, Snapshot
from twisted_kong.store import migrations, rows
from twisted_kong.store.published import after
from twisted_kong.store.sql import make_engine
from twisted_kong.store.tables import METADATA, TABLES
from twisted_kong.testing import a_pair, a_service, an_id, an_upstream

E = TypeVar("E", bound=Entity)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Inside a transaction on a migrated, empty database."""
    engine = make_engine(tmp_path / "kong.db")
    with engine.begin() as connection:
        migrations.migrate(connection)
        yield connection
    engine.dispose()


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[Connection]:
    """The same on one that has taken all steps."""
    engine = make_engine(tmp_path / "older.db")
    with engine.begin() as connection:
        first_tables(connection)
        migrations.migrate(connection)
        yield connection
    engine.dispose()


def put(connection: Connection, *entities: Entity) -> Snapshot:
    """Write the entities as if there were nothing else in the world."""
    alone = EMPTY.with_change(Change(puts=entities))
    rows.write(connection, Change(puts=entities), EMPTY, alone, at=1.0)
    return alone


# -- migrations ------------------------------------------------------------------------------------------------


def test_migrations_make_the_declared_tables(stepped: Connection) -> None:
    """The migrations lead to exactly the tables that the entities declare."""
    context = MigrationContext.configure(stepped, opts={"compare_type": True, "include_object": but_references})
    assert compare_metadata(context, METADATA) == []


def but_references(_: object, __: str | None, kind: str, ___: bool, ____: object) -> bool:
    """Alembic does not see whole what was added to a table with a column; SQLite itself is asked below."""
    return kind != "foreign_key_constraint"


@pytest.mark.parametrize("table", TABLES)
def test_migrations_make_the_declared_references(connection: Connection, stepped: Connection, table: str) -> None:
    """The references of a migrated table, and what a deletion means to them, are those that are declared."""
    assert references(stepped, table) == references(connection, table)


def test_migrations_make_the_declared_triggers(connection: Connection, stepped: Connection) -> None:
    """A new database has the triggers, the indexes and the mark of one that has taken all steps, to the letter."""
    for asked in (
        "SELECT name, sql FROM sqlite_master WHERE type IN ('trigger', 'index') ORDER BY name",
        "SELECT sql FROM sqlite_master WHERE name = 'alembic_version'",
        "SELECT * FROM alembic_version",
    ):
        new, migrated = (_rows(one, asked) for one in (connection, stepped))
        assert new == migrated
        assert new


def _rows(connection: Connection, query: str) -> list[list[str]]:
    """What it answers, blanks left out."""
    return [["".join(str(value).split()) for value in row] for row in connection.execute(text(query))]


def test_columns_of_a_new_database(connection: Connection, stepped: Connection) -> None:
    """Its tables have the same columns: names, types, defaults, what may be null, and which are the key."""
    for table in (*TABLES, "changes"):
        asked = f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}') ORDER BY name"
        assert _rows(connection, asked) == _rows(stepped, asked)


def references(connection: Connection, table: str) -> set[tuple[str, str, str, str]]:
    """Column, table and column it refers to, what a deletion means."""
    rows = connection.execute(text(f"PRAGMA foreign_key_list({table})")).mappings()
    return {(row["from"], row["table"], row["to"], row["on_delete"]) for row in rows}


def test_older_database(tmp_path: Path) -> None:
    """What the first version wrote is there after the migration, and may refer to what came later."""
    engine = make_engine(tmp_path / "kong.db")
    service, route = a_pair("orders")
    upstream, (target,) = an_upstream("u", "a:80")
    with engine.begin() as connection:
        first_tables(connection)
        older(connection, service, route, upstream, target)
        migrations.migrate(connection)
        snapshot = rows.read(connection)
        certificate = Certificate.from_document(
            {"id": an_id(1), "created_at": 1, "updated_at": 1, "cert": "", "key": ""}
        )
        refers = service.model_copy(update={"client_certificate": Reference(id=certificate.id)})
        rows.write(connection, change := Change((certificate, refers)), snapshot, snapshot.with_change(change), at=2.0)
        found = rows.read(connection)
    engine.dispose()
    assert snapshot.services == {service.id: service}
    assert snapshot.routes == {route.id: route}
    assert snapshot.targets == {target.id: target}
    assert found.services == {service.id: refers}


def test_older_log(tmp_path: Path) -> None:
    """The secrets that an older version wrote to the log are gone after the migration, from all of the file; what else
    it told is as it was, and the log is append-only again."""
    path = tmp_path / "kong.db"
    engine = make_engine(path)
    documents = [
        ("certificates", {"id": "1", "cert": "C", "key": "PRIVATE-1", "key_alt": "PRIVATE-2"}),
        ("certificates", {"id": "2", "cert": "C", "key": "PRIVATE-3", "key_alt": None}),
        ("keyauth_credentials", {"id": "3", "key": "PRIVATE-4"}),
        ("services", {"id": "4", "key": "public"}),
    ]
    with engine.begin() as connection:
        first_tables(connection, "0002")
        for number, (collection, document) in enumerate(documents, 1):
            connection.execute(
                text("INSERT INTO changes VALUES (:id, 1.0, :id, 'put', :collection, 'x', :document)"),
                {"id": number, "collection": collection, "document": json.dumps(document)},
            )
    with engine.begin() as connection:
        migrations.migrate(connection)
        found = [json.loads(one) for one in connection.scalars(text("SELECT document FROM changes ORDER BY id"))]
        assert found == [
            {"id": "1", "cert": "C", "key": "******", "key_alt": "******"},
            {"id": "2", "cert": "C", "key": "******", "key_alt": None},
            {"id": "3", "key": "******"},
            {"id": "4", "key": "public"},
        ]
        with pytest.raises(DatabaseError, match="changes is append-only"):
            connection.execute(text("UPDATE changes SET at = 2"))
    engine.dispose()
    assert b"PRIVATE" not in path.read_bytes()


def first_tables(connection: Connection, step: str = "0001") -> None:
    """Take the first step only, or all up to one."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, step)


def older(connection: Connection, *entities: Entity) -> None:
    """Write entities as the first version did."""
    for number, entity in enumerate(entities, 1):
        document = entity.document()
        columns = {"id": entity.id, "created_at": 1.0, "first_change": number, "document": json.dumps(document)}
        columns |= {name: document[name] for name in ("name", "target") if name in document}
        columns |= {f"{name}_id": document[name]["id"] for name in ("service", "upstream") if name in document}
        names = ", ".join(columns)
        values = ", ".join(f":{name}" for name in columns)
        connection.execute(text(f"INSERT INTO {entity.collection} ({names}) VALUES ({values})"), columns)


def test_head_is_the_last_migration() -> None:
    """`HEAD` names the last step there is."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_migrating_twice(connection: Connection) -> None:
    """A database that is up to date is left alone."""
    service = a_service("orders")
    put(connection, service)
    migrations.migrate(connection)
    assert rows.read(connection).services == {service.id: service}


def test_durability(connection: Connection) -> None:
    """Connections write ahead, sync every commit, wait for locks and check references."""
    asked = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
    assert [connection.scalar(text(f"PRAGMA {name}")) for name in asked] == ["wal", 2, 5000, 1]


# -- what the database itself enforces -------------------------------------------------------------------------


@pytest.mark.parametrize("entity", [a_service("x"), an_upstream("x")[0]])
def test_unique_names(connection: Connection, entity: Entity) -> None:
    """The database has no two entities of a collection with the same name."""
    put(connection, entity)
    with pytest.raises(IntegrityError, match=f"UNIQUE constraint failed: {entity.collection}.name"):
        put(connection, entity.model_copy(update={"id": an_id(2)}))


def test_names_may_be_missing(connection: Connection) -> None:
    """Entities without a name do not stand in each other's way."""
    nameless = [a_service("x").model_copy(update={"id": an_id(number), "name": None}) for number in range(3)]
    put(connection, *nameless)
    assert list(rows.read(connection).services.values()) == nameless


def test_unique_targets(connection: Connection) -> None:
    """The database has no two targets with the same address in one upstream, though it has in two."""
    upstream, (target,) = an_upstream("u", "a:80")
    other, targets = an_upstream("other", "a:80")
    put(connection, upstream, target, other, *targets)
    with pytest.raises(IntegrityError, match="UNIQUE constraint failed: targets"):
        put(connection, upstream, target.model_copy(update={"id": an_id(2)}))


def test_unique_plugins(connection: Connection) -> None:
    """The database has no two plugins of one name in the same place, though nulls are part of that place."""
    service, _ = a_pair("orders")
    everywhere, there = a_plugin(1), a_plugin(2, service=service.id)
    put(connection, service, everywhere, there)
    with pytest.raises(IntegrityError, match="UNIQUE constraint failed: plugins"):
        put(connection, everywhere.model_copy(update={"id": an_id(3)}))


def test_references(connection: Connection) -> None:
    """The database has no route to a service that is not there."""
    service, route = a_pair("orders")
    both = EMPTY.with_change(Change(puts=(service, route)))
    with pytest.raises(IntegrityError, match="FOREIGN KEY constraint failed"):
        rows.write(connection, Change(puts=(route,)), EMPTY, both, at=1.0)


def test_referenced_rows_stay(connection: Connection) -> None:
    """The database does not let go of a service that has a route."""
    service, route = a_pair("orders")
    put(connection, service, route)
    without_route = EMPTY.with_change(Change(puts=(service,)))
    with pytest.raises(IntegrityError, match="FOREIGN KEY constraint failed"):
        rows.write(connection, Change(deletes=(("services", service.id),)), without_route, EMPTY, at=1.0)


def test_cascade(connection: Connection) -> None:
    """The database lets an upstream take its targets along."""
    upstream, targets = an_upstream("u", "a:80", "b:80")
    put(connection, upstream, *targets)
    without_targets = EMPTY.with_change(Change(puts=(upstream,)))
    rows.write(connection, Change(deletes=(("upstreams", upstream.id),)), without_targets, EMPTY, at=1.0)
    assert rows.read(connection).targets == {}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE changes SET at = 2",
        "DELETE FROM changes",
        "INSERT OR REPLACE INTO changes SELECT * FROM changes",
        "INSERT INTO changes SELECT * FROM changes WHERE true ON CONFLICT (id) DO UPDATE SET at = 2",
    ],
)
def test_log_is_append_only(connection: Connection, sql: str) -> None:
    """No row of the log is ever altered, removed or replaced."""
    put(connection, a_service("orders"))
    before = connection.execute(text("SELECT * FROM changes")).all()
    with pytest.raises(DatabaseError, match="changes is append-only"):
        connection.execute(text(sql))
    assert connection.execute(text("SELECT * FROM changes")).all() == before


# -- secrets ---------------------------------------------------------------------------------------------------


def test_log_has_no_secrets(connection: Connection) -> None:
    """The entity is kept with its secret, the log tells only that there was one."""
    certificate = made(Certificate, 1, cert="C", key="PRIVATE-1")
    credential = made(KeyauthCredential, 2, key="PRIVATE-2", consumer={"id": CONSUMER.id})
    snapshot = put(connection, CONSUMER, certificate, credential)
    log = connection.scalars(text("SELECT document FROM changes ORDER BY id")).all()
    assert [json.loads(document).get("key") for document in log] == [None, "******", "******"]
    assert json.loads(log[1]) == {**certificate.document(), "key": "******"}
    found = rows.read(connection)
    assert found.all("certificates") == snapshot.all("certificates")
    assert found.all("keyauth_credentials") == snapshot.all("keyauth_credentials")


def test_replaced_secrets_are_gone(tmp_path: Path) -> None:
    """A secret that was replaced or deleted is nowhere in the file."""
    path = tmp_path / "kong.db"
    engine = make_engine(path)
    one, two = (made(KeyauthCredential, n, key=f"PRIVATE-{n}" * 99, consumer={"id": CONSUMER.id}) for n in (1, 2))
    before = EMPTY.with_change(Change((CONSUMER, one, two)))
    change = Change((one.model_copy(update={"key": "public"}),), ((two.collection, two.id),))
    with engine.begin() as connection:
        migrations.migrate(connection)
        rows.write(connection, Change((CONSUMER, one, two)), EMPTY, before, at=1.0)
    with engine.begin() as connection:
        rows.write(connection, change, before, before.with_change(change), at=2.0)
    engine.dispose()
    content = path.read_bytes()
    assert b"public" in content
    assert b"PRIVATE" not in content


# -- what is read back -----------------------------------------------------------------------------------------


def a_plugin(number: int, service: str | None = None, route: str | None = None, name: str | None = None) -> Plugin:
    parents = {"service": service and {"id": service}, "route": route and {"id": route}}
    return made(Plugin, number, name="key-auth", instance_name=name, **parents)


def made(kind: type[E], number: int, **fields: Any) -> E:
    return kind.from_document({"id": an_id(number), "created_at": 1, "updated_at": 1, **fields})


UPSTREAMS = [an_upstream("u", "a:80", "b:80"), an_upstream("v", "a:80")]
PAIRS = [a_pair("a"), a_pair("b")]
CERTIFICATE = made(Certificate, 1, cert="", key="")
CONSUMER = made(Consumer, 1, username="a")
ENTITIES: list[Entity] = [
    *(entity for pair in PAIRS for entity in pair),
    *(entity for upstream, targets in UPSTREAMS for entity in (upstream, *targets)),
    CERTIFICATE,
    *(made(Sni, number, name=f"{number}.test", certificate={"id": CERTIFICATE.id}) for number in (1, 2)),
    *(made(CaCertificate, number, cert="", cert_digest=str(number)) for number in (1, 2)),
    CONSUMER,
    made(Consumer, 2, custom_id="a"),
    *(made(KeyauthCredential, number, key=str(number), consumer={"id": CONSUMER.id}) for number in (1, 2)),
    a_plugin(1, name="a"),
    *(a_plugin(number, service.id) for number, (service, _) in enumerate(PAIRS, 2)),
    *(a_plugin(number, route=route.id) for number, (_, route) in enumerate(PAIRS, 4)),
    *(
        made(TargetEntry, number, target="a:80", weight=number, upstream={"id": UPSTREAMS[0][0].id})
        for number in (1, 2)
    ),
    *(made(Api, number, name=str(number), upstream_url="http://a") for number in (1, 2)),
]


@st.composite
def variants(draw: st.DrawFn) -> Entity:
    """An entity of `ENTITIES`, perhaps with the unique or referring field of another one of its kind."""
    entity = draw(st.sampled_from(ENTITIES))
    other = draw(st.sampled_from([each for each in ENTITIES if each.collection == entity.collection]))
    field = draw(st.sampled_from(["id", *entity.references, *(name for key in entity.unique for name in key)]))
    return entity.model_copy(update={field: getattr(other, field)})


CHANGES = st.builds(
    Change,
    puts=st.lists(variants(), max_size=4).map(tuple),
    deletes=st.lists(st.sampled_from([(each.collection, each.id) for each in ENTITIES]), max_size=3).map(tuple),
)


@given(st.lists(CHANGES, max_size=8))
def test_database_agrees_with_the_snapshot(changes: list[Change]) -> None:
    """Whatever change a snapshot accepts the tables accept, and what is read from them is that snapshot."""
    engine = make_engine(Path(":memory:"))
    snapshot = EMPTY
    with engine.begin() as connection:
        METADATA.create_all(connection)
        for change in changes:
            try:
                new = after(snapshot, change)
            except AdminError:
                continue
            if new is not snapshot:
                rows.write(connection, change, snapshot, new, at=1.0)
            snapshot = new
        found = rows.read(connection)
    engine.dispose()
    assert found.generation == snapshot.generation
    for collection in COLLECTIONS:
        assert list(found.all(collection).items()) == list(snapshot.all(collection).items())


def test_every_collection_has_a_table() -> None:
    """A table is declared with its entity: parents first, and nothing besides them but the log."""
    assert list(TABLES) == list(COLLECTIONS)
    assert METADATA.tables.keys() == {*COLLECTIONS, "changes"}
