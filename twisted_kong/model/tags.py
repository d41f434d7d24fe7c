"""Tags seen from their side: who bears which. Nothing is kept of it; it is read off the entities."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from typing import NamedTuple

from twisted_kong.model.entities import COLLECTIONS, TargetEntry
from twisted_kong.model.snapshot import Snapshot


class Tagged(NamedTuple):
    """One tag of one entity, by Kong's names."""

    tag: str
    entity_name: str
    """The entity's collection."""
    entity_id: str


def tagged(snapshot: Snapshot, tag: str | None = None, since: str = "", most: int | None = None) -> list[Tagged]:
    """Every tag of every entity, or all that bear ``tag``: in the order of the entities' ids, then of their tags.

    Only entities count whose id is ``since`` or a later one, and of these only the first ``most``.
    """
    first = sorted(bearer for collection in _PLACES for bearer in _bearers(snapshot, collection, tag, since, most))
    return [
        Tagged(one, collection, id)
        for id, _, collection in first[:most]
        for one in snapshot.all(collection)[id].tags or ()
        if tag in (None, one)
    ]


def _bearers(
    snapshot: Snapshot, collection: str, tag: str | None, since: str, most: int | None
) -> Iterator[tuple[str, int, str]]:
    """Who bears a tag: id, the place of its collection, which decides between equal ids, and its name."""
    rows = snapshot.all(collection)
    if tag is None:
        later = [id for id, entity in rows.items() if entity.tags and id >= since]
    else:
        later = [id for id, entity in rows.items() if (tags := entity.tags) and tag in tags and id >= since]
    place = _PLACES[collection]
    return ((id, place, collection) for id in (later if most is None else nsmallest(most, later)))


_PLACES = {
    collection: place
    for place, (collection, entity) in enumerate(COLLECTIONS.items())
    if entity is not TargetEntry  # which nobody writes, and is as long as all targets several times over
}
