"""Entities as JSON Schema: what clients may send of one, and what they are told.

Everything is derived from the schema documents of `twisted_kong.model.published`. What is sent is described by the
types and bounds of the fields; rules that JSON Schema has no terms for are left to the Admin API, which refuses what
breaks them. Operations and paths are in `twisted_kong.admin.openapi`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from twisted_kong.admin.kinds import KINDS, CertificateKind
from twisted_kong.model.entities import COLLECTIONS, Api, Entity, Upstream
from twisted_kong.model.published import describe
from twisted_kong.model.schema import KONGS_NAMES, Names

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
ANYTHING: Json = {"type": "object"}
SECURITY: Mapping[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "token": {"type": "apiKey", "in": "header", "name": "Kong-Admin-Token"},
}
"""How a token is sent, where one is wanted."""

ERROR: Json = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": TEXT,
        "code": {"type": "integer"},
        "name": TEXT,
        "fields": ANYTHING,
        "options": ANYTHING,
    },
}
"""A refusal; beyond the message, what Kong tells of some."""
OLD_ERROR: Json = {
    "type": "object",
    "minProperties": 1,
    "description": "What is wrong, by field; under `message` what is wrong with the whole.",
}
"""A refusal of Kong 0.10."""
COMPONENT: Json = {
    "type": "object",
    "required": ["kind", "name", "origin", "version"],
    "properties": {"kind": TEXT, "name": TEXT, "origin": TEXT, "version": {"type": ["string", "null"]}},
}
"""A row of ``/components``."""


def told(entity: type[Entity], names: Names = KONGS_NAMES) -> Json:
    """What clients are told of such an entity: every field, null where unset."""
    found = _fields(entity, names)
    schema = _record(found, _told)
    if entity is Api:  # what is not set is not told
        schema["properties"] = {name: _value(attributes, _told_part) for name, attributes in found.items()}
        schema["required"] = [name for name, attributes in found.items() if _always_there(attributes)]
    if entity is Upstream:
        schema["required"] = [name for name in schema["required"] if name not in Upstream.rarities]
    if isinstance(KINDS[entity.collection], CertificateKind):
        schema["properties"][CertificateKind.FIELD] = {"type": "array", "items": TEXT}
        schema["required"].append(CertificateKind.FIELD)
    return schema


def sent(entity: type[Entity], names: Names = KONGS_NAMES) -> Json:
    """What clients may send of such an entity. What they must send depends on where: `required`."""
    properties = {name: _sent(attributes) for name, attributes in _fields(entity, names).items()}
    if entity is Api:
        properties = {name: _or_text(schema) for name, schema in properties.items()}
    properties |= {name: _nullable(_some(TEXT)) for name in entity.shorthands if name not in properties}
    if isinstance(KINDS[entity.collection], CertificateKind):
        properties[CertificateKind.FIELD] = {"type": "array", "items": _some(TEXT), "uniqueItems": True}
    return _object(properties)


def required(entity: type[Entity]) -> list[str]:
    """The fields without which there is no such entity; a shorthand may stand for some."""
    found = [
        name
        for name, attributes in _fields(entity).items()
        if _always_there(attributes) and not _has_default(attributes) and "auto" not in attributes
    ]
    return [name for name in found if not (name == "host" and "url" in entity.shorthands)]


def nested(entity: type[Entity]) -> list[str]:
    """The fields that are objects, which forms write as ``field[part]``."""
    return [name for name, attributes in _fields(entity).items() if attributes["type"] in ("record", "map", "foreign")]


def page(rows: Json, **beside: Json) -> Json:
    """A page of a list."""
    return {
        "type": "object",
        "required": ["data", "next", *beside],
        "properties": {
            "data": {"type": "array", "items": rows},
            "next": {"type": ["string", "null"], "description": "The path of the next page."},
            "offset": {**TEXT, "description": "What the next page is asked for with, where there is one."},
            **beside,
        },
    }


def required_object(**properties: Json) -> Json:
    """An object with these, and perhaps others."""
    return {"type": "object", "required": [*properties], "properties": properties}


def _fields(entity: type[Entity], names: Names = KONGS_NAMES) -> Mapping[str, Json]:
    return _merged(describe(entity, names)["fields"])


def _merged(fields: list[dict[str, Json]]) -> Mapping[str, Json]:
    return {name: attributes for field in fields for name, attributes in field.items()}


def _always_there(attributes: Json) -> bool:
    """Whether the field of every entity has a value."""
    return "required" in attributes or "auto" in attributes


def _has_default(attributes: Json) -> bool:
    return "default" in attributes or attributes["type"] == "record"


def _record(fields: Mapping[str, Json], value: Any) -> Json:
    return {**_object({name: value(attributes) for name, attributes in fields.items()}), "required": _kongs(fields)}


def _kongs(fields: Mapping[str, Json]) -> list[str]:
    """The fields that are always told: all that are not ours."""
    return [name for name, attributes in fields.items() if "ours" not in attributes]


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _told(attributes: Json) -> Json:
    """A field as clients are told of it."""
    schema = _value(attributes, _told_part)
    return schema if _always_there(attributes) else _nullable(schema)


def _told_part(attributes: Json) -> Json:
    """What stands in a field, as clients are told of it."""
    if attributes["type"] == "record":
        return _record(_merged(attributes["fields"]), _told)
    return {**_object({"id": {**TEXT, "format": "uuid"}}), "required": ["id"]}


def _sent(attributes: Json) -> Json:
    """A field as clients send it. Null means the default where it does not mean a null; most have neither."""
    schema = _value(attributes, _sent_part)
    if "default" in attributes:
        schema["default"] = attributes["default"]
    return schema if "required" in attributes else _nullable(schema)


def _sent_part(attributes: Json) -> Json:
    """What stands in a field, as clients send it: others are named by their id or by their key."""
    if attributes["type"] == "record":
        return _object({name: _sent(inside) for name, inside in _merged(attributes["fields"]).items()})
    name = COLLECTIONS[attributes["reference"]].endpoint_key
    ways = {"id": {**TEXT, "format": "uuid"}} | ({name: _some(TEXT)} if name else {})
    return {"anyOf": [{**_object({way: schema}), "required": [way]} for way, schema in ways.items()]}


def _value(attributes: Json, part: Any) -> Json:
    """A value that is not null; ``part`` describes records and references."""
    match attributes["type"]:
        case "array" | "set" as kind:
            items = _value(attributes["elements"], part)
            return {"type": "array", "items": items} | dict(_terms(attributes, kind))
        case "map":
            return {"type": "object", "additionalProperties": _value(attributes["values"], part)}
        case "record" | "foreign":
            described: Json = part(attributes)
            return described
        case kind:
            return {"type": kind} | dict(_terms(attributes, kind))


def _terms(attributes: Json, kind: str) -> Iterator[tuple[str, Any]]:
    """JSON Schema's words for Kong's."""
    if "between" in attributes:
        yield from zip(("minimum", "maximum"), attributes["between"], strict=True)
    if "one_of" in attributes:
        yield "enum", attributes["one_of"]
    elif kind == "string":
        yield "minLength", 1  # what Kong does not mention, since it is so everywhere
    if "uuid" in attributes:
        yield "format", "uuid"
    if "starts_with" in attributes:
        yield "pattern", f"^{re.escape(attributes['starts_with'])}"
    if "len_min" in attributes:
        yield "minItems", attributes["len_min"]
    if "timestamp" in attributes:
        yield "exclusiveMinimum", 0


def _or_text(schema: Json) -> Json:
    """A value of old may come as a text, a list as one with commas."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema if "string" in types else {**schema, "type": [*types, "string"]}


def _some(schema: Json) -> Json:
    """A text that is not empty."""
    return {**schema, "minLength": 1}


def _nullable(schema: Json) -> Json:
    if "type" not in schema:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    nulls = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **nulls}
