"""The declarations as Kong publishes them: the schema documents that clients read defaults and ranges from.

Everything is read off the entities; nothing about a field is said here. Clients walk ``fields``, a list of objects with
one key each, and go deeper where ``type`` is record (decK). A field that names a component lists those that are
installed.
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
from twisted_kong.model.records import Foreign
from twisted_kong.model.rules import Declared
from twisted_kong.model.schema import KONGS_NAMES, Names


def describe(entity: type[Entity], names: Names = KONGS_NAMES) -> dict[str, Any]:
    """Kong's schema document of such entities: ``{"fields": [{name: attributes}, …], "entity_checks": [{…}, …]}``.

    The attributes are Kong's: ``type``, ``required``, ``default``, ``unique``, ``elements``, ``keys`` and ``values``,
    ``fields`` of records, ``reference`` and ``on_delete`` of foreign ones, ``between``, ``one_of``, ``len_min``,
    ``starts_with``, ``uuid``, ``timestamp``, ``auto``. Rules that Kong has no terms for are left out.

    ``names`` are those of the components that are installed.
    """
    unique = {key[0] for key in entity.unique if len(key) == 1}
    found = _fields(entity, names)
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


def without_optional_records(document: dict[str, Any]) -> dict[str, Any]:
    """What of a schema document clients of Kong are told.

    They fill in every record with the defaults they are told of. A record of our own that may be missing as a whole
    means something else then, so they are not told of it.
    """

    def known(fields: list[dict[str, dict[str, Any]]]) -> list[dict[str, dict[str, Any]]]:
        return [
            {name: {**attributes, "fields": known(attributes["fields"])} if "fields" in attributes else attributes}
            for field in fields
            for name, attributes in field.items()
            if not ("fields" in attributes and "ours" in attributes and "required" not in attributes)
        ]

    return {**document, "fields": known(document["fields"])}


def _fields(model: type[BaseModel], names: Names) -> list[dict[str, dict[str, Any]]]:
    return [{name: dict(_attributes(shape, model.model_fields[name], names))} for name, shape in shapes(model).items()]


def _attributes(shape: Shape, field: FieldInfo, names: Names) -> Iterator[tuple[str, Any]]:
    """What Kong says of a field."""
    yield from _value(shape, names)
    if not shape.nullable and not any(isinstance(brick, Auto | Stamp) for brick in shape.bricks):
        yield "required", True
    default = None if field.is_required() else field.get_default()
    if default is not None and shape.kind != "record":
        yield "default", [*default] if isinstance(default, tuple) else default


def _value(shape: Shape, names: Names) -> Iterator[tuple[str, Any]]:
    """What Kong says of a value wherever it stands."""
    yield "type", shape.kind
    for brick in shape.bricks:
        yield from _terms(brick, names)
        if isinstance(brick, AtLeast) and shape.kind != "string":  # no text may be empty: Kong does not mention it
            yield "len_min", brick.length
    if shape.kind == "record" and shape.record:
        yield "fields", _fields(shape.record, names)
    if shape.elements:
        if shape.kind == "map":
            yield "keys", {"type": "string"}
        yield "values" if shape.kind == "map" else "elements", dict(_value(shape.elements, names))


def _terms(brick: object, names: Names) -> Iterator[tuple[str, Any]]:
    if isinstance(brick, Between):
        yield "between", [brick.low, brick.high]
    elif isinstance(brick, OneOf):
        yield "one_of", [*brick.values]
    elif isinstance(brick, Named):
        yield "one_of", [*names[brick.register]]
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
