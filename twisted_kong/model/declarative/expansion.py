"""From a document to the entities it stands for: flat, complete, each referring to others by id.

Faults are told in Kong's order: first those of form and of single entities, all of them; only in a document without
any, what is declared twice; and only then what refers to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from twisted_kong.errors import SchemaViolation, braces
from twisted_kong.model.declarative.faults import Fault, InvalidDocument, Subject, faults_of
from twisted_kong.model.declarative.identity import Identities
from twisted_kong.model.declarative.layout import KINDS, Layout
from twisted_kong.model.declarative.reading import Way
from twisted_kong.model.entities import Entity, Reference
from twisted_kong.model.schema import Schema
from twisted_kong.model.values import is_id

_NOBODY = {"id": "00000000-0000-0000-0000-000000000000"}
"""Stands for what a reference does not find, so that the rest of its entity can be looked at."""


@dataclass(frozen=True, slots=True)
class Stated:
    """An entity that a document states: ``entity`` complete, ``sent`` what the document itself says of it."""

    entity: Entity
    sent: Mapping[str, Any]


def expand(schema: Schema, tree: object, *, now: float) -> tuple[Stated, ...]:
    """The entities of a document, parents before their children. ``now`` is seconds since the epoch.

    :raise InvalidDocument: with every fault.
    """
    expansion = _Expansion(schema, Layout(tree), now)
    expansion.build()
    expansion.check_uniqueness()
    expansion.check_references()
    order = {collection: place for place, collection in enumerate(KINDS)}
    stated = [Stated(entity, subject.sent) for subject, entity in expansion.made.items()]
    return tuple(sorted(stated, key=lambda each: order[each.entity.collection]))


class _Expansion:
    """A document on its way; each step raises `InvalidDocument` where it finds faults."""

    def __init__(self, schema: Schema, layout: Layout, now: float) -> None:
        self._schema = schema
        self._layout = layout
        self._now = now
        identities = Identities()
        for subject in layout.found:
            identities.add(subject)
        self._ids = identities.ids
        self._by_id = {(subject.entity.collection, id) for subject, id in self._ids.items()}
        self._by_key = {
            (subject.entity.collection, key): id
            for subject, id in self._ids.items()
            if (key := _endpoint_key(subject)) is not None
        }
        self._dangling: list[Fault] = []
        self.made: dict[Subject, Entity] = {}

    def build(self) -> None:
        """Make an entity of each that was sent."""
        faults = list(self._layout.faults)
        for subject, way in self._layout.found.items():
            data = {**subject.sent, **self._references(subject, way, faults)}
            if data.get("id") is None:
                data["id"] = self._ids[subject]
            try:
                self.made[subject] = self._schema.build(subject.entity, data, now=self._now)
            except SchemaViolation as violation:
                faults.extend(faults_of(subject, way, violation.fields or {}))
        if faults:
            raise InvalidDocument(faults)

    def _references(self, subject: Subject, way: Way, faults: list[Fault]) -> dict[str, Any]:
        """What the fields that refer to others come to. Where an entity is nested it refers to its parent alone."""
        found: dict[str, Any] = {}
        for field, foreign in subject.entity.references.items():
            value = subject.sent.get(field)
            if subject.parent is not None and subject.parent[0] == field:
                found[field] = {"id": self._ids[subject.parent[1]]}
            elif value is not None and subject.parent is not None:
                found[field] = None
                faults.append(Fault("value must be null", (*way, field), (*way, field), subject, (field,)))
            elif isinstance(value, str) or (isinstance(value, Mapping) and _is_reference(value)):
                found[field] = self._resolved(foreign.collection, value)
                if found[field] is _NOBODY:
                    self._dangling.append(_nobody(subject, way, field, foreign.collection, value))
        return found

    def _resolved(self, collection: str, value: str | Mapping[str, Any]) -> Mapping[str, Any]:
        """A reference by id; `_NOBODY` where the document has no such entity."""
        text = value if isinstance(value, str) else value["id"]
        if (collection, text.lower()) in self._by_id:
            return {"id": text.lower()}
        id = self._by_key.get((collection, text)) if isinstance(value, str) else None
        return _NOBODY if id is None else {"id": id}

    def check_uniqueness(self) -> None:
        """Nothing is declared twice. It is the second one that is at fault."""
        taken: set[tuple[object, ...]] = set()
        faults = []
        for subject, entity in self.made.items():
            for fields, values in _unique(entity):
                key = (entity.collection, fields, values)
                if _NOBODY["id"] in values:
                    continue
                if key in taken:
                    faults.append(self._twice(subject, fields, values))
                    break
                taken.add(key)
        if faults:
            raise InvalidDocument(faults, self._ids)

    def _twice(self, subject: Subject, fields: tuple[str, ...], values: tuple[Any, ...]) -> Fault:
        collection, name = subject.entity.collection, subject.entity.endpoint_key
        what = "primary key" if fields == ("id",) else ", ".join(fields)
        value = "', '".join(map(str, values))
        text = f"uniqueness violation: '{collection}' entity with {what} set to '{value}' already declared"
        way = self._layout.found[subject]
        told = way
        if fields not in (("id",), (name,)) and subject.parent is None and (key := _endpoint_key(subject)):
            told = (collection, key)
        return Fault(text, way, told, subject)

    def check_references(self) -> None:
        """Whoever is referred to is in the document."""
        if self._dangling:
            raise InvalidDocument(self._dangling, self._ids)


def _endpoint_key(subject: Subject) -> str | None:
    """What others may call the entity, as it is written."""
    key = subject.sent.get(subject.entity.endpoint_key or "")
    return key if isinstance(key, str) and key else None


def _is_reference(value: Mapping[str, Any]) -> bool:
    """Whether an object is a reference by id; of any other the schema tells what is wrong."""
    return value.keys() == {"id"} and isinstance(value["id"], str) and is_id(value["id"])


def _nobody(subject: Subject, way: Way, field: str, collection: str, value: str | Mapping[str, Any]) -> Fault:
    """Kong calls the entity by name, by id or by its position."""
    id = subject.sent.get("id")
    called = _endpoint_key(subject) or (id if isinstance(id, str) else str(int(way[-1]) + 1))
    shown = value if isinstance(value, str) else braces(value)
    text = f"invalid reference '{field}: {shown}' (no such entry in '{collection}')"
    return Fault(text, (*way, field), (subject.entity.collection, called, 0), subject, (field,))


def _unique(entity: Entity) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """The fields whose values nobody else may have, and these values: the endpoint key, the id, then all others."""
    own = (entity.endpoint_key,)
    keys = sorted(entity.unique, key=lambda fields: fields != own)
    place = 1 if own in entity.unique else 0
    for fields in (*keys[:place], ("id",), *keys[place:]):
        values = tuple(_plain(getattr(entity, name)) for name in fields)
        if any(value is not None for value in values):
            yield fields, values


def _plain(value: Any) -> Any:
    return value.id if isinstance(value, Reference) else value
