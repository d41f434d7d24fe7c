"""Entities to rows and back, inside a transaction that the caller has begun.

No decision is taken here: a change comes with the snapshot it leads to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert

from twisted_kong.model.changes import Change
from twisted_kong.model.entities import COLLECTIONS, Entity, Reference
from twisted_kong.model.snapshot import EMPTY, Snapshot, diff
from twisted_kong.store.tables import CHANGES, TABLES, UNIQUE_KEY, in_one_text

HIDDEN = "******"
"""What stands in the log for a secret."""


class Last(NamedTuple):
    """The end of the log: the id of its last row, and the generation that row belongs to."""

    id: int
    generation: int


def last(connection: Connection) -> Last:
    """Where the log ends; zeros for an empty one."""
    newest = select(CHANGES.c.id, CHANGES.c.generation).order_by(CHANGES.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return Last(*row) if row else Last(0, 0)


def read(connection: Connection) -> Snapshot:
    """The whole configuration.

    :raise twisted_kong.errors.AdminError: the rows contradict each other.
    """
    entities: list[Entity] = []
    for collection, table in TABLES.items():
        revive = COLLECTIONS[collection].from_document
        documents = connection.scalars(select(table.c.document).order_by(table.c.first_change))
        entities.extend(revive(document) for document in documents)
    snapshot = EMPTY.with_change(Change(puts=tuple(entities)))
    snapshot.generation = last(connection).generation  # nobody else has seen it yet
    return snapshot


def write(connection: Connection, change: Change, old: Snapshot, new: Snapshot, at: float) -> None:
    """Write ``change``, which leads from ``old`` to ``new``, to the tables and to the log, at so many seconds.

    :raise sqlalchemy.exc.IntegrityError: the tables hold what ``old`` does not tell of.
    """
    first = last(connection).id + 1
    puts = [_Put(id, entity, entity.document()) for id, entity in enumerate(change.puts, first)]
    gone = _gone(change, old, new)
    author, address = change.author or (None, None)
    stamp = {"at": at, "generation": new.generation, "author": author, "address": address}
    log = [_entry("put", *put) for put in puts]
    log += [_entry("delete", id, entity) for id, entity in enumerate(gone, first + len(puts))]
    connection.execute(insert(CHANGES), [stamp | entry for entry in log])
    for collection, group in groupby(puts, lambda put: put.entity.collection):
        connection.execute(_upsert(collection), [_row(put) for put in group])
    for collection, lost in groupby(gone, lambda entity: entity.collection):
        table = TABLES[collection]
        connection.execute(delete(table).where(table.c.id == bindparam("lost")), [{"lost": each.id} for each in lost])


class _Put(NamedTuple):
    """``change`` is the row of the log that tells of it."""

    change: int
    entity: Entity
    document: Mapping[str, Any]


def _entry(operation: str, id: int, entity: Entity, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A row of the log, which is for ever: without the secrets, of which it tells only that they were there."""
    if document is not None and entity.secrets:
        document = {**document, **{name: HIDDEN for name in entity.secrets if document[name] is not None}}
    return {
        "id": id,
        "operation": operation,
        "collection": entity.collection,
        "entity_id": entity.id,
        "document": document,
    }


def _row(put: _Put) -> dict[str, Any]:
    change, entity, document = put
    row = {"id": entity.id, "created_at": entity.created_at, "first_change": change, "document": document}
    for column in TABLES[entity.collection].c:
        if field := column.info.get("field"):
            row[column.name] = _scalar(getattr(entity, field))
    for key in entity.unique:
        if in_one_text(type(entity), key):
            row[UNIQUE_KEY] = json.dumps([_scalar(getattr(entity, name)) for name in key])
    return row


def _scalar(value: Any) -> Any:
    return value.id if isinstance(value, Reference) else value


@cache
def _upsert(collection: str) -> Insert:
    """Insert, or replace the row with this id, which stays where it is in the order of creation."""
    statement = upsert(TABLES[collection])
    kept = ("id", "first_change")
    news = {column.name: column for column in statement.excluded if column.name not in kept}
    return statement.on_conflict_do_update(index_elements=["id"], set_=news)


def _gone(change: Change, old: Snapshot, new: Snapshot) -> list[Entity]:
    """What the deletions took away, cascades included, children before their parents."""
    if not change.deletes:
        return []
    lost = {(entity.collection, entity.id): entity for part in diff(old, new).values() for entity in part.removed}
    lost |= {(put.collection, put.id): put for put in change.puts if new.get(put.collection, put.id) is None}
    depth = {collection: -place for place, collection in enumerate(COLLECTIONS)}
    return sorted(lost.values(), key=lambda entity: depth[entity.collection])
