"""What the entities of a document mean for the configuration there is: one change that leads from it to them.

What the document does not change is not touched, and keeps its identity: nobody hears of it. That goes for what it
leaves to us as well, such as the time of creation, which stays as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from twisted_kong.model.changes import Change
from twisted_kong.model.checks import Auto, Stamp
from twisted_kong.model.declarative.expansion import Stated
from twisted_kong.model.declarative.layout import KINDS
from twisted_kong.model.entities import Entity, Reference
from twisted_kong.model.fields import shapes
from twisted_kong.model.snapshot import Snapshot


def replacement(snapshot: Snapshot, stated: Iterable[Stated]) -> Change:
    """The change after which there is nothing in the configuration but ``stated``."""
    stated = tuple(stated)
    wanted = {(each.entity.collection, each.entity.id) for each in stated}
    there = ((collection, id) for collection in reversed(tuple(KINDS)) for id in snapshot.all(collection))
    gone = tuple(key for key in there if key not in wanted)
    puts = tuple(_changed(snapshot, stated))
    return Change((*_parked(snapshot, puts, gone), *puts), gone)


def addition(snapshot: Snapshot, stated: Iterable[Stated]) -> Change:
    """The change that adds ``stated`` to the configuration, in the place of what has the same id or the same key.

    An entity that the document gives no id takes over that of the one there is with its unique values, if any. What
    else stands in the way is refused where the change is applied.
    """
    puts = tuple(_changed(snapshot, _identified(snapshot, tuple(stated))))
    return Change((*_parked(snapshot, puts), *puts))


def _changed(snapshot: Snapshot, stated: Iterable[Stated]) -> Iterator[Entity]:
    """The entities that are not there yet, or not like that."""
    for each in stated:
        old = snapshot.get(each.entity.collection, each.entity.id)
        if old is None:
            yield each.entity
            continue
        ours = [name for name in _automatic(type(old)) if each.sent.get(name) is None]
        kept = each.entity.model_copy(update={name: getattr(old, name) for name in ours})
        if kept.model_copy(update={"updated_at": old.updated_at}) != old:
            yield kept.model_copy(update={"updated_at": each.entity.updated_at})


@cache
def _automatic(entity: type[Entity]) -> tuple[str, ...]:
    """The fields that are made where nobody gives them."""
    return tuple(
        name for name, shape in shapes(entity).items() if any(isinstance(brick, Auto | Stamp) for brick in shape.bricks)
    )


# -- keys that change hands ------------------------------------------------------------------------------------


def _parked(snapshot: Snapshot, puts: Iterable[Entity], gone: Iterable[tuple[str, str]] = ()) -> Iterable[Entity]:
    """What must be put first, so that no entity meets one that has its key until later in the same change.

    Puts are made one by one and deletions last, so a name that goes from one entity to another has to be given up
    before. Who holds it gives it up for one that nobody has; what becomes of the holder in the end comes after.
    """
    changing = {(put.collection, put.id) for put in puts} | set(gone)
    parked: dict[tuple[str, str], Entity] = {}
    for put in puts:
        for fields in put.unique:
            holder = _holder(snapshot, put, fields)
            if holder is not None and holder.id != put.id and (key := (holder.collection, holder.id)) in changing:
                parked[key] = parked.get(key, holder).model_copy(update={fields[0]: holder.id})
    return parked.values()


def _holder(snapshot: Snapshot, entity: Entity, fields: tuple[str, ...]) -> Entity | None:
    """Who has the entity's values of unique fields in the configuration."""
    values = {name: getattr(entity, name) for name in fields}
    if all(value is None for value in values.values()):
        return None
    plain = {name: value.id if isinstance(value, Reference) else value for name, value in values.items()}
    return snapshot.find_unique(entity.collection, **plain)


# -- entities that are known by another id ---------------------------------------------------------------------


def _identified(snapshot: Snapshot, stated: Collection[Stated]) -> Iterator[Stated]:
    """The same entities by the ids that they have in the configuration; parents come first."""
    taken = {(each.entity.collection, each.entity.id) for each in stated if each.sent.get("id") is not None}
    known: dict[tuple[str, str], str] = {}
    for each in stated:
        entity = each.entity.model_copy(update=_renamed(each.entity, known))
        if each.sent.get("id") is None:
            holders = (_holder(snapshot, entity, fields) for fields in entity.unique)
            id = next((one.id for one in holders if one and (one.collection, one.id) not in taken), entity.id)
            known[entity.collection, entity.id] = id
            taken.add((entity.collection, id))
            entity = entity.model_copy(update={"id": id})
        yield Stated(entity, each.sent)


def _renamed(entity: Entity, known: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """The entity's references that lead to others than the document says."""
    found = {}
    for field, foreign in entity.references.items():
        reference: Reference | None = getattr(entity, field)
        if reference is not None and (id := known.get((foreign.collection, reference.id))):
            found[field] = Reference(id=id)
    return found
