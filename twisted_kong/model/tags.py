"""Tags seen from their side: who bears which. Nothing is kept of it; it is read off the entities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from twisted_kong.model.entities import COLLECTIONS
from twisted_kong.model.snapshot import Snapshot


class Tagged(NamedTuple):
    """One tag of one entity, by Kong's names."""

    tag: str
    entity_name: str
    """The entity's collection."""
    entity_id: str


def tagged(snapshot: Snapshot, tag: str | None = None) -> list[Tagged]:
    """Every tag of every entity, or all that bear ``tag``: in the order of the entities' ids, then of their tags."""
    found = [row for collection in COLLECTIONS for row in _of(snapshot, collection) if tag in (None, row.tag)]
    return sorted(found, key=lambda row: row.entity_id)


def _of(snapshot: Snapshot, collection: str) -> Iterator[Tagged]:
    for entity in snapshot.all(collection).values():
        for tag in entity.tags or ():
            yield Tagged(tag, collection, entity.id)
