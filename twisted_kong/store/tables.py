"""How the configuration lies in a database: one table for each collection, and the log of all changes.

A collection's table is read off its entity: a column for every unique field and every reference, so that the database
itself enforces what `twisted_kong.model.snapshot` promises, and the whole entity as a JSON document, which is what is
read back. Declaring an entity declares its table. A new database gets these tables as they are; the migration that
makes them of older ones is written by hand in `twisted_kong.store.migrations`, and tests compare the two. No SQL is
spoken here but that of triggers; the rest is `twisted_kong.store.rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    DDL,
    JSON,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
)

from twisted_kong.model.entities import COLLECTIONS, Entity
from twisted_kong.model.fields import shapes

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

CHANGES = Table(
    "changes",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("operation", Text, CheckConstraint("operation IN ('put', 'delete')", "operation"), nullable=False),
    Column("collection", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    Column("document", JSON(none_as_null=True)),
    Column("author", Text),
    Column("address", Text),
    sqlite_autoincrement=True,
)
"""Every write there ever was; triggers refuse to alter or remove any. ``at`` is seconds since the epoch; ``document``
is what was put, without its secrets; null for a deletion. ``author`` and ``address`` are those of
`twisted_kong.model.changes.Author`; null where nobody knows."""


# REPLACE removes rows without firing the trigger for deletions, hence the third.
for _name, _what in {
    "altered": "UPDATE ON changes",
    "removed": "DELETE ON changes",
    "replaced": "INSERT ON changes WHEN EXISTS (SELECT 1 FROM changes WHERE id = NEW.id)",
}.items():
    _trigger = f"CREATE TRIGGER changes_are_never_{_name} BEFORE {_what}"
    _whole = DDL(f"{_trigger} BEGIN SELECT RAISE(ABORT, 'changes is append-only'); END")  # type: ignore[no-untyped-call]
    event.listen(CHANGES, "after_create", _whole)

UNIQUE_KEY = "unique_key"


def table_of(entity: type[Entity], metadata: MetaData) -> Table:
    """The table of the entity's collection.

    ``first_change`` is the row of `CHANGES` that brought the entity: the order of creation. ``unique_key`` is there
    where several fields are unique together and some may be null: they are kept as one text, since for SQL no null is
    like another.
    """
    columns = {name: f"{name}_id" for name in entity.references}
    columns |= {
        name: name for key in entity.unique if not in_one_text(entity, key) for name in key if name not in columns
    }
    return Table(
        entity.collection,
        metadata,
        Column("id", Text, primary_key=True),
        *(_column(entity, name, column) for name, column in columns.items()),
        *(Column(UNIQUE_KEY, Text, nullable=False) for key in entity.unique if in_one_text(entity, key)),
        Column("created_at", Float, nullable=False),
        Column("first_change", Integer, nullable=False),
        Column("document", JSON, nullable=False),
        *(
            UniqueConstraint(*([UNIQUE_KEY] if in_one_text(entity, key) else [columns[name] for name in key]))
            for key in entity.unique
        ),
    )


def in_one_text(entity: type[Entity], key: tuple[str, ...]) -> bool:
    """Whether a unique key is kept as one text."""
    return len(key) > 1 and any(shapes(entity)[name].nullable for name in key)


def _column(entity: type[Entity], name: str, column: str) -> Column[Any]:
    nullable = shapes(entity)[name].nullable
    if foreign := entity.references.get(name):
        parent = ForeignKey(f"{foreign.collection}.id", ondelete=foreign.on_delete.upper())
        return Column(column, Text, parent, nullable=nullable, index=True, info={"field": name})
    return Column(column, Text, nullable=nullable, info={"field": name})


TABLES: Mapping[str, Table] = MappingProxyType(
    {collection: table_of(entity, METADATA) for collection, entity in COLLECTIONS.items()}
)
"""collection → its table, parents before their children."""
