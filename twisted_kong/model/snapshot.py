"""The whole configuration at one moment: immutable, indexed, cheap to change and to compare.

A change copies the mappings it touches and shares all others with the snapshot before it; `diff` relies on that.
What a single entity may say is decided in `twisted_kong.model.schema`; here is what holds between entities: unique
keys and references.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from twisted_kong.errors import AdminError, ForeignKeyViolation, StillReferenced, UniqueViolation
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import COLLECTIONS, Entity, Reference, Route, Service, Target, Upstream
from twisted_kong.model.fields import shapes
from twisted_kong.model.layered import copy_of
from twisted_kong.model.records import Mentions

Rows = MutableMapping[str, Entity]
"""id → entity, in the order of creation."""
Key = tuple[object, ...]
Touched = dict[str, dict[str, None]]
"""collection → the ids of what was put or deleted, in that order."""


class StillMentioned(AdminError):
    """The deletion of an authority that services trust."""

    code, name = 19, "referenced by others"

    def __init__(self, id: str, by: Entity) -> None:
        super().__init__(f"ca certificate {id} is still referenced by {by.collection} (id = {by.id})")


@dataclass(frozen=True, slots=True)
class _Table:
    """One collection. ``keys``: unique fields → their values → entity; ``children``: field → parent's id → rows."""

    rows: Rows
    keys: Mapping[tuple[str, ...], dict[Key, Entity]]
    children: Mapping[str, dict[str, Rows]]

    @classmethod
    def empty(cls, entity: type[Entity]) -> _Table:
        return cls({}, {names: {} for names in entity.unique}, {field: {} for field in entity.references})

    def copy(self) -> _Table:
        return _Table(
            copy_of(self.rows),
            {names: index.copy() for names, index in self.keys.items()},
            {field: index.copy() for field, index in self.children.items()},
        )


class Snapshot:
    """All entities, by id, by unique key and by parent. Never changes; `with_change` makes the next one."""

    __slots__ = ("_before", "_itself", "_tables", "_touched", "generation")

    def __init__(
        self, generation: int, tables: Mapping[str, _Table], before: object = None, touched: Touched | None = None
    ) -> None:
        self.generation = generation
        """Grows by one with every change."""
        self._tables = tables
        self._itself = object()  # stands for this snapshot in the next one, which must not keep this one alive
        self._before = before
        self._touched = touched or {}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(table.rows)} {name}" for name, table in self._tables.items())
        return f"<Snapshot {self.generation}: {sizes}>"

    def all(self, collection: str) -> Mapping[str, Entity]:
        """id → entity; empty for a collection nobody knows."""
        table = self._tables.get(collection)
        return table.rows if table else {}

    @property
    def services(self) -> Mapping[str, Service]:
        return cast(Mapping[str, Service], self.all("services"))

    @property
    def routes(self) -> Mapping[str, Route]:
        return cast(Mapping[str, Route], self.all("routes"))

    @property
    def upstreams(self) -> Mapping[str, Upstream]:
        return cast(Mapping[str, Upstream], self.all("upstreams"))

    @property
    def targets(self) -> Mapping[str, Target]:
        return cast(Mapping[str, Target], self.all("targets"))

    def get(self, collection: str, id: str) -> Entity | None:
        """The entity with this id; ids are in lower case."""
        return self.all(collection).get(id)

    def find(self, collection: str, key: str) -> Entity | None:
        """The entity with this endpoint key, where that alone is unique: not for targets."""
        name = COLLECTIONS[collection].endpoint_key
        return self.find_unique(collection, **{name: key}) if name else None

    def find_unique(self, collection: str, **key: str | None) -> Entity | None:
        """The entity with these values of unique fields: ``find_unique("targets", target="a:80", upstream=id)``.

        The fields are named in the order in which the entity declares them.

        :raise KeyError: such fields are not unique.
        """
        return self._tables[collection].keys[tuple(key)].get(tuple(key.values()))

    def below(self, collection: str, field: str, parent_id: str) -> Mapping[str, Entity]:
        """id → entity of those whose ``field`` refers to this parent, in the order of their creation."""
        return self._tables[collection].children[field].get(parent_id, {})

    def children(self, collection: str, field: str, parent_id: str) -> tuple[Entity, ...]:
        """The same entities without their ids."""
        return tuple(self.below(collection, field, parent_id).values())

    def touched_since(self, old: Snapshot, collection: str) -> Iterable[str] | None:
        """The ids that the change from ``old`` to this snapshot may concern; None if more than one lies between."""
        return self._touched.get(collection, ()) if self._before is old._itself else None

    def with_change(self, change: Change) -> Snapshot:
        """The snapshot after ``change``: puts in order, then deletes in order, all of it or nothing.

        :raise UniqueViolation: another entity has one of the keys.
        :raise ForeignKeyViolation: a reference to nothing.
        :raise StillReferenced: a deletion that references stand against, and that does not take them along.
        :raise StillMentioned: the deletion of an authority that a service trusts.
        """
        draft = _Draft(self._tables)
        for entity in change.puts:
            draft.put(entity)
        for collection, id in change.deletes:
            draft.delete(collection, id)
        return Snapshot(self.generation + 1, draft.tables, self._itself, draft.touched)


class _Draft:
    """A snapshot in the making: copies a mapping before its first change."""

    def __init__(self, tables: Mapping[str, _Table]) -> None:
        self.tables = dict(tables)
        self.touched: Touched = {}
        self._own_rows: set[tuple[str, str, str]] = set()

    def put(self, entity: Entity) -> None:
        self._check_references(entity)
        table = self._table(entity.collection)
        self.touched[entity.collection][entity.id] = None
        old = table.rows.get(entity.id)
        table.rows[entity.id] = entity
        for names, index in table.keys.items():
            key = _key(entity, names)
            if index.get(key, old) is not old:
                raise UniqueViolation({name: _told(getattr(entity, name)) for name in names})
            if old is not None:
                index.pop(_key(old, names), None)
            if any(value is not None for value in key):
                index[key] = entity
        for field in table.children:
            before, after = None if old is None else _parent(old, field), _parent(entity, field)
            if before is not None and before != after:
                self._leave(entity, field, before)
            if after is not None:
                self._rows(entity.collection, field, after)[entity.id] = entity

    def delete(self, collection: str, id: str) -> None:
        if id not in self.tables[collection].rows:
            return
        for child, field, cascades in _referring(collection):
            children = tuple(self.tables[child].children[field].get(id, ()))
            if children and not cascades:
                raise StillReferenced(collection, child)
            for child_id in children:
                self.delete(child, child_id)
        for mentioning, field in _mentioning(collection):
            for entity in self.tables[mentioning].rows.values():
                if id in (getattr(entity, field) or ()):
                    raise StillMentioned(id, entity)
        table = self._table(collection)
        self.touched[collection][id] = None
        old = table.rows.pop(id)
        for names, index in table.keys.items():
            index.pop(_key(old, names), None)
        for field in table.children:
            if (parent := _parent(old, field)) is not None:
                self._leave(old, field, parent)

    def _check_references(self, entity: Entity) -> None:
        for field, foreign in entity.references.items():
            parent = _parent(entity, field)
            table = self.tables.get(foreign.collection)
            if parent is not None and (table is None or parent not in table.rows):
                raise ForeignKeyViolation(field, foreign.collection, {"id": parent})

    def _table(self, collection: str) -> _Table:
        if collection not in self.touched:
            self.touched[collection] = {}
            self.tables[collection] = self.tables[collection].copy()
        return self.tables[collection]

    def _rows(self, collection: str, field: str, parent: str) -> Rows:
        """The children of one parent, ours to change."""
        index = self._table(collection).children[field]
        if (collection, field, parent) not in self._own_rows:
            self._own_rows.add((collection, field, parent))
            index[parent] = copy_of(index.get(parent, {}))
        return index.setdefault(parent, {})

    def _leave(self, child: Entity, field: str, parent: str) -> None:
        rows = self._rows(child.collection, field, parent)
        del rows[child.id]
        if not rows:
            del self._table(child.collection).children[field][parent]


def _parent(entity: Entity, field: str) -> str | None:
    reference: Reference | None = getattr(entity, field)
    return reference.id if reference else None


def _key(entity: Entity, names: tuple[str, ...]) -> Key:
    values = (getattr(entity, name) for name in names)
    return tuple(value.id if isinstance(value, Reference) else value for value in values)


def _told(value: Any) -> Any:
    return {"id": value.id} if isinstance(value, Reference) else value


@cache
def _referring(collection: str) -> tuple[tuple[str, str, bool], ...]:
    """Every field that refers into ``collection``, and whether its entities go with what they refer to."""
    return tuple(
        (child, field, foreign.on_delete == "cascade")
        for child, entity in COLLECTIONS.items()
        for field, foreign in entity.references.items()
        if foreign.collection == collection
    )


@cache
def _mentioning(collection: str) -> tuple[tuple[str, str], ...]:
    """Every field that holds ids of ``collection`` without referring to them."""
    return tuple(
        (name, field)
        for name, entity in COLLECTIONS.items()
        for field, shape in shapes(entity).items()
        if Mentions(collection) in shape.bricks
    )


EMPTY = Snapshot(0, {name: _Table.empty(entity) for name, entity in COLLECTIONS.items()})


# -- differences -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of one collection; ``changed`` are the new entities of ids that were there before."""

    added: tuple[Entity, ...] = ()
    removed: tuple[Entity, ...] = ()
    changed: tuple[Entity, ...] = ()


class Difference(dict[str, Changed]):
    """collection → what changed there. Only collections in which something did are keys; others read as unchanged."""

    def __missing__(self, collection: str) -> Changed:
        return Changed()


def diff(old: Snapshot, new: Snapshot) -> Difference:
    """What lies between two snapshots.

    Collections that they share cost nothing. Where ``new`` came of ``old`` by one change, only what that touched is
    compared; else every entity, of which those that they share cost little.
    """
    found = Difference()
    for collection in COLLECTIONS:
        before, after = old.all(collection), new.all(collection)
        if before is after:
            continue
        touched = new.touched_since(old, collection)
        ids = touched if touched is not None else (*before, *(id for id in after if id not in before))
        if changed := _compared(before, after, ids):
            found[collection] = changed
    return found


def _compared(before: Mapping[str, Entity], after: Mapping[str, Entity], ids: Iterable[str]) -> Changed | None:
    added: list[Entity] = []
    removed: list[Entity] = []
    changed: list[Entity] = []
    for id in ids:
        was, now = before.get(id), after.get(id)
        if was is None and now is not None:
            added.append(now)
        elif was is not None and now is None:
            removed.append(was)
        elif was is not now and was != now and now is not None:
            changed.append(now)
    if not (added or removed or changed):
        return None
    return Changed(tuple(added), tuple(removed), tuple(changed))
