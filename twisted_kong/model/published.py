"""The declarations as Kong publishes them: the schema documents that clients read defaults and ranges from.

Everything is read off the entities; nothing about a field is said here. Clients walk ``fields``, a list of objects with
one key each, and go deeper where ``type`` is record (decK). Names that only components of others have are not listed:
clients would hold theirs against them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from twisted_kong.model.access import PLUGINS, Plugin
from twisted_kong.model.checks import AtLeast, Auto, Between, Named, OneOf, Stamp, StartsWith, Told
from twisted_kong.model.entity import Entity
from twisted_kong.model.fields import Shape, shapes
from twisted_kong.model.records import CHECKS, Foreign
from twisted_kong.model.rules import ALGORITHMS, Declared

_REGISTERS = {"algorithms": ALGORITHMS, "checks": CHECKS}


def describe(entity: type[Entity]) -> dict[str, Any]:
    """Kong's schema document of such entities: ``{"fields": [{name: attributes}, …], "entity_checks": [{…}, …]}``.

    The attributes are Kong's: ``type``, ``required``, ``default``, ``unique``, ``elements``, ``keys`` and ``values``,
    ``fields`` of records, ``reference`` and ``on_delete`` of foreign ones, ``between``, ``one_of``, ``len_min``,
    ``starts_with``, ``uuid``, ``timestamp``, ``auto``. Rules that Kong has no terms for are left out.
    """
    unique = {key[0] for key in entity.unique if len(key) == 1}
    found = _fields(entity)
    for field in found:
        for name, attributes in field.items():
            if name in unique:
                attributes["unique"] = True
    return {"fields": found, "entity_checks": [rule.described() for rule in entity.rules if isinstance(rule, Declared)]}


def describe_plugin(name: str) -> dict[str, Any] | None:
    """The same of what the plugin ``name`` says beyond what all plugins have; None if there is no such plugin."""
    if name not in PLUGINS:
        return None
    own = ("consumer", "protocols", "config")
    return {"fields": [field for field in describe(Plugin)["fields"] if field.keys() & set(own)], "entity_checks": []}


def _fields(model: type[BaseModel]) -> list[dict[str, dict[str, Any]]]:
    return [{name: dict(_attributes(shape, model.model_fields[name]))} for name, shape in shapes(model).items()]


def _attributes(shape: Shape, field: FieldInfo) -> Iterator[tuple[str, Any]]:
    """What Kong says of a field."""
    yield from _value(shape)
    if not shape.nullable and not any(isinstance(brick, Auto | Stamp) for brick in shape.bricks):
        yield "required", True
    default = None if field.is_required() else field.get_default()
    if default is not None and shape.kind != "record":
        yield "default", [*default] if isinstance(default, tuple) else default


def _value(shape: Shape) -> Iterator[tuple[str, Any]]:
    """What Kong says of a value wherever it stands."""
    yield "type", shape.kind
    for brick in shape.bricks:
        yield from _terms(brick)
        if isinstance(brick, AtLeast) and shape.kind != "string":  # no text may be empty: Kong does not mention it
            yield "len_min", brick.length
    if shape.kind == "record" and shape.record:
        yield "fields", _fields(shape.record)
    if shape.elements:
        if shape.kind == "map":
            yield "keys", {"type": "string"}
        yield "values" if shape.kind == "map" else "elements", dict(_value(shape.elements))


def _terms(brick: object) -> Iterator[tuple[str, Any]]:
    if isinstance(brick, Between):
        yield "between", [brick.low, brick.high]
    elif isinstance(brick, OneOf):
        yield "one_of", [*brick.values]
    elif isinstance(brick, Named):
        yield "one_of", [*_REGISTERS[brick.register]]
    elif isinstance(brick, StartsWith):
        yield "starts_with", brick.prefix
    elif isinstance(brick, Foreign):
        yield "reference", brick.collection
        if brick.on_delete == "cascade":
            yield "on_delete", "cascade"
    elif isinstance(brick, Told):
        yield from dict.fromkeys(brick.attributes, True).items()
    elif isinstance(brick, Stamp):
        yield "timestamp", True
        yield "auto", True
    elif isinstance(brick, Auto):
        yield "auto", True
