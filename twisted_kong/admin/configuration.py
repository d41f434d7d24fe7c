"""Between the handlers and the store: the configuration as it is read, and as it is changed.

A write reads the configuration, decides what shall become of it, and waits until the store has it. Whoever writes in
between would write over it, so the writes of this process stand in line: `Configuration.edit`. Nothing here knows
HTTP, and what an entity may say is the schema's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

from twisted.internet.defer import DeferredLock

from twisted_kong.admin.codec import Document
from twisted_kong.errors import ForeignKeysUnresolved, PrimaryKeyViolation
from twisted_kong.interfaces import IConfigStore
from twisted_kong.model import history
from twisted_kong.model.changes import Author, Change
from twisted_kong.model.entities import COLLECTIONS, Entity, Reference, Target
from twisted_kong.model.schema import Names, Schema
from twisted_kong.model.snapshot import EMPTY, Snapshot
from twisted_kong.model.values import is_id

E = TypeVar("E", bound=Entity)


class View:
    """The configuration at one moment, with the ways by which clients name what is in it."""

    def __init__(self, schema: Schema, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._schema = schema

    def find(self, entity: type[E], key: str) -> E | None:
        """The entity that a path names, by id where the key looks like one, by its endpoint key else.

        :raise InvalidUniqueKey: no such entity could ever have this key.
        """
        if is_id(key):
            return cast(E | None, self.snapshot.get(entity.collection, key.lower()))
        self._schema.check_key(entity, key)
        return cast(E | None, self.snapshot.find(entity.collection, key))

    def referred(self, entity: Entity, field: str) -> Entity | None:
        """Whom the entity refers to by ``field``."""
        reference: Reference | None = getattr(entity, field)
        return self.snapshot.get(entity.references[field].collection, reference.id) if reference else None

    def data(self, entity: type[Entity], document: Document, **given: Any) -> dict[str, Any]:
        """What a client sent, as data of such an entity: values in their types, references by id.

        What is ``given`` beside wins over what was sent.

        :raise ForeignKeysUnresolved: references name nothing.
        """
        data = {**self.typed(entity, document), **given}
        unresolved = {}
        for field, foreign in entity.references.items():
            name = COLLECTIONS[foreign.collection].endpoint_key
            value = data.get(field)
            if isinstance(value, Mapping) and value.keys() == {name} and isinstance(value[name], str):
                found = self.snapshot.find(foreign.collection, value[name])
                if found is None:
                    unresolved[field] = foreign.collection, value
                else:
                    data[field] = {"id": found.id}
        if unresolved:
            raise ForeignKeysUnresolved(unresolved)
        return data

    def typed(self, entity: type[Entity], document: Document) -> dict[str, Any]:
        """What a client sent, as data of such an entity: values in their types, references as they are."""
        return document.tree if document.typed else cast(dict[str, Any], self._schema.coerce(entity, document.tree))


class Edit(View):
    """A change in the making. What is decided here is not seen by `find` before the change is in force.

    Whatever is decided about a target is noted in the history of its upstream.
    """

    def __init__(self, schema: Schema, snapshot: Snapshot, now: float) -> None:
        super().__init__(schema, snapshot)
        self._now = now
        self.change = Change()

    def insert(self, entity: type[E], data: Mapping[str, Any]) -> E:
        """A new entity.

        :raise SchemaViolation: ``data`` is not valid.
        :raise PrimaryKeyViolation: the id it names is taken.
        """
        made = self._schema.build(entity, data, now=self._now)
        if self.snapshot.get(entity.collection, made.id):
            raise PrimaryKeyViolation({"id": made.id})
        return self._put(made)

    def replace(self, entity: E, data: Mapping[str, Any]) -> E:
        """Another entity in its place, of the same id. Raises what `insert` does, but for the id."""
        return self._put(self._schema.replace(entity, data, now=self._now))

    def merge(self, entity: E, data: Mapping[str, Any]) -> E:
        """The entity with what ``data`` changes of it. Raises what `replace` does."""
        made = self._schema.merge(entity, data, now=self._now)
        if isinstance(entity, Target) and isinstance(made, Target) and entity.target != made.target:
            self._leave(entity)
        return self._put(made)

    def delete(self, entity: Entity) -> None:
        self._add(Change(deletes=((entity.collection, entity.id),)))
        if isinstance(entity, Target):
            self._leave(entity)

    def _put(self, entity: E) -> E:
        self._add(Change((entity,)))
        if isinstance(entity, Target):
            self._add(history.record(self.snapshot, entity, now=self._now))
        return entity

    def _leave(self, target: Target) -> None:
        """Note in the history that nobody is at this address any more."""
        self._add(history.record(self.snapshot, target, now=self._now, deleted=True))

    def _add(self, more: Change) -> None:
        self.change = Change((*self.change.puts, *more.puts), (*self.change.deletes, *more.deletes))


class Configuration:
    """What all handlers share. ``now`` gives the seconds since the epoch."""

    def __init__(self, store: IConfigStore, schema: Schema, now: Callable[[], float]) -> None:
        self._store = store
        self._schema = schema
        self._now = now
        self._writing = DeferredLock()

    @property
    def names(self) -> Names:
        """The names of components that entities may have."""
        return self._schema.names

    def view(self) -> View:
        """The configuration as of the last change."""
        return View(self._schema, self._store.snapshot())

    def trial(self) -> Edit:
        """An edit of an empty configuration, which never comes into force."""
        return Edit(self._schema, EMPTY, self._now())

    @asynccontextmanager
    async def edit(self, author: Author) -> AsyncIterator[Edit]:
        """The configuration, to be changed by nobody else meanwhile; the change is in force when the block ends.

        From then on the edit shows what the change led to. A block that raises changes nothing. The log tells that
        ``author`` asked for it.

        :raise AdminError: the change breaks a uniqueness or a reference.
        """
        await self._writing.acquire()
        try:
            edit = Edit(self._schema, self._store.snapshot(), self._now())
            yield edit
            if edit.change != Change():
                edit.snapshot = await self._store.apply(replace(edit.change, author=author))
        finally:
            self._writing.release()
