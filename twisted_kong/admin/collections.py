"""The endpoints that every kind of entity has: its collection, one of it, and both below a parent.

What an entity is called, which keys it has and whom it refers to is read off its declaration in
`twisted_kong.model.entities`; `endpoints` makes of that the paths of Kong. How an entity is found and written is left
to its kind (`twisted_kong.admin.kinds`); entities whose paths differ have a module of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from twisted_kong.admin.answers import EMPTY, Answer, MethodNotAllowed, NotFound
from twisted_kong.admin.configuration import Configuration, View
from twisted_kong.admin.kinds import KINDS
from twisted_kong.admin.paging import page_by_id
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint
from twisted_kong.errors import EntityNotFound
from twisted_kong.model.entities import COLLECTIONS, Entity
from twisted_kong.model.values import is_id


def endpoints(configuration: Configuration, entity: type[Entity]) -> Iterator[tuple[str, Endpoint]]:
    """The paths of such entities: of their own, below each of their parents, and from them to their parents."""
    one = f"{{{entity.collection}}}"
    yield f"/{entity.segment}", Collection(configuration, entity)
    yield f"/{entity.segment}/{one}", Item(configuration, entity)
    for field, foreign in entity.references.items():
        parent = COLLECTIONS[foreign.collection]
        below = f"/{parent.segment}/{{{parent.collection}}}/{entity.segment_below}"
        yield below, Collection(configuration, entity, field)
        yield f"{below}/{one}", Item(configuration, entity, field)
        yield f"/{entity.segment}/{one}/{field}", Parent(configuration, entity, field)


class Scope(Endpoint):
    """Entities of one kind: all of them, or those whose field ``below`` refers to the parent that the path names."""

    def __init__(self, configuration: Configuration, entity: type[Entity], below: str = "") -> None:
        self.configuration = configuration
        self.entity = entity
        self.kind = KINDS[entity.collection]
        self.below = below

    def parent(self, view: View, call: Call) -> Entity | None:
        """The parent that the path names; None at the top.

        :raise NotFound: there is no such parent.
        """
        if not self.below:
            return None
        collection = self.entity.references[self.below].collection
        found = KINDS[collection].find(view, call.keys[collection])
        if found is None:
            raise NotFound
        return found

    def rows(self, view: View, call: Call) -> Mapping[str, Entity]:
        """All of them, by id. Raises what `parent` does."""
        parent = self.parent(view, call)
        if parent is None:
            return view.snapshot.all(self.entity.collection)
        return view.snapshot.below(self.entity.collection, self.below, parent.id)

    def data(self, view: View, call: Call) -> dict[str, Any]:
        """What the client sent; which parent it belongs to is decided by the path."""
        parent = self.parent(view, call)
        given = {self.below: {"id": parent.id}} if parent else {}
        return self.kind.data(view, call.document, **given)


class Listing(Scope):
    """A list to read."""

    async def get(self, call: Call) -> Answer:
        view = self.configuration.view()
        rows = self.rows(view, call)
        return page_by_id(rows, call, nested=bool(self.below), document=partial(self.kind.document, view))


class Collection(Listing):
    """A list, and the place to create."""

    async def post(self, call: Call) -> Answer:
        async with self.configuration.edit(call.author) as edit:
            made = self.kind.insert(edit, self.data(edit, call))
        return Answer(201, self.kind.document(edit, made))


class Item(Scope):
    """One entity."""

    async def get(self, call: Call) -> Answer:
        view = self.configuration.view()
        found = self.find(view, call)
        if found is None:
            raise NotFound
        return Answer(200, self.kind.document(view, found))

    async def put(self, call: Call) -> Answer:
        """Replace, or create under the key of the path, which wins over what the document says."""
        async with self.configuration.edit(call.author) as edit:
            found = self.find(edit, call)
            data = self.data(edit, call) | self.key(call)
            made = self.kind.insert(edit, data) if found is None else self.kind.replace(edit, found, data)
        return Answer(200, self.kind.document(edit, made))

    async def patch(self, call: Call) -> Answer:
        async with self.configuration.edit(call.author) as edit:
            found = self.find(edit, call)
            if found is None:
                raise NotFound if self.below else EntityNotFound(self.key(call))
            made = self.kind.merge(edit, found, self.data(edit, call))
        return Answer(200, self.kind.document(edit, made))

    async def delete(self, call: Call) -> Answer:
        """Below a parent only what is there can be deleted; elsewhere what is not there counts as deleted."""
        async with self.configuration.edit(call.author) as edit:
            found = self.find(edit, call)
            if found is not None:
                edit.delete(found)
            elif self.below:
                raise NotFound
        return EMPTY

    def key(self, call: Call) -> dict[str, str]:
        """By what the path names the entity: its id or its endpoint key."""
        key = call.keys[self.entity.collection]
        return {"id": key} if is_id(key) else {str(self.entity.endpoint_key): key}

    def find(self, view: View, call: Call) -> Entity | None:
        """The entity that the path names; None where there is none.

        :raise NotFound: it belongs to another parent, or there is no such parent.
        """
        parent = self.parent(view, call)
        found = self.kind.find(view, call.keys[self.entity.collection])
        if found is not None and parent is not None and view.referred(found, self.below) is not parent:
            raise NotFound
        return found


class Parent(Endpoint):
    """Whom an entity refers to by ``field``, reached through that entity."""

    def __init__(self, configuration: Configuration, entity: type[Entity], field: str) -> None:
        self.configuration = configuration
        self.entity = entity
        self.field = field
        self.kind = KINDS[entity.references[field].collection]

    async def get(self, call: Call) -> Answer:
        view = self.configuration.view()
        return Answer(200, self.kind.document(view, self.existing(view, call)))

    async def put(self, call: Call) -> Answer:
        """Replace; who refers to nobody gets somebody new to refer to."""
        async with self.configuration.edit(call.author) as edit:
            child, found = self.find(edit, call)
            data = self.kind.data(edit, call.document)
            if found is not None:
                made = self.kind.replace(edit, found, data)
            else:
                made = self.kind.insert(edit, data)
                edit.merge(child, {self.field: {"id": made.id}})
        return Answer(200, self.kind.document(edit, made))

    async def patch(self, call: Call) -> Answer:
        async with self.configuration.edit(call.author) as edit:
            found = self.existing(edit, call)
            made = self.kind.merge(edit, found, self.kind.data(edit, call.document))
        return Answer(200, self.kind.document(edit, made))

    async def delete(self, call: Call) -> Answer:
        """Nobody is deleted under the feet of who refers to them."""
        self.existing(self.configuration.view(), call)
        raise MethodNotAllowed

    def find(self, view: View, call: Call) -> tuple[Entity, Entity | None]:
        """The entity that the path names, and whom it refers to.

        :raise NotFound: there is no such entity.
        """
        child = KINDS[self.entity.collection].find(view, call.keys[self.entity.collection])
        if child is None:
            raise NotFound
        return child, view.referred(child, self.field)

    def existing(self, view: View, call: Call) -> Entity:
        """Whom the entity refers to.

        :raise NotFound: nobody, or there is no such entity.
        """
        _, found = self.find(view, call)
        if found is None:
            raise NotFound
        return found
