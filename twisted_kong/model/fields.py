"""Reading declarations back: what kind of value each field of a record holds, by its annotation.

Whoever walks documents without validating them (forms, merges, the store) asks here, so that fields are declared
once. Nothing here knows an entity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter

from twisted_kong.model.checks import Kind
from twisted_kong.model.records import Reference

M = TypeVar("M", bound=BaseModel)

_KINDS: dict[object, str] = {str: "string", bool: "boolean"}


@dataclass(frozen=True)
class Shape:
    """What a field holds.

    ``kind`` is Kong's word: string, integer, number, boolean, array, set, map, record or foreign; ``bricks`` the
    metadata of the annotation, from left to right; ``elements`` the shape inside an array, a set or a map;
    ``record`` the class of a record.
    """

    kind: str
    nullable: bool
    bricks: tuple[object, ...]
    elements: Shape | None = None
    record: type[BaseModel] | None = None


@cache
def shapes(model: type[BaseModel]) -> Mapping[str, Shape]:
    """The shape of every field of ``model``, in the order of declaration."""
    hints = get_type_hints(model, include_extras=True)
    return {name: _shape(hints[name]) for name in model.model_fields}


@cache
def reader(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """What checks one field of ``model`` by itself."""
    return TypeAdapter(get_type_hints(model, include_extras=True)[name], config=ConfigDict(strict=True))


def _shape(hint: Any) -> Shape:
    bare, bricks, nullable = _unwrapped(hint)
    record = bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None
    if record:
        kind = "foreign" if issubclass(record, Reference) else "record"
    else:
        kind = next((brick.name for brick in bricks if isinstance(brick, Kind)), None) or _KINDS[bare]
    elements = {"array": 0, "set": 0, "map": 1}.get(kind)
    inside = None if elements is None else _shape(get_args(bare)[elements])
    return Shape(kind, nullable, bricks, inside, record)


def _unwrapped(hint: Any) -> tuple[Any, tuple[object, ...], bool]:
    """The type inside ``Annotated`` and ``… | None``, the metadata found on the way, and whether null was."""
    if get_origin(hint) is Annotated:
        inner, *outside = get_args(hint)
        bare, inside, nullable = _unwrapped(inner)
        return bare, (*inside, *outside), nullable
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (choice for choice in get_args(hint) if choice is not NoneType)
        bare, inside, _ = _unwrapped(inner)
        return bare, inside, True
    return hint, (), False


_NONE: set[str] = set()
"""Pydantic's note of which fields were given, of no use to us: one for all records, or each would carry its own."""


def revive(model: type[M], document: Mapping[str, Any]) -> M:
    """The record that was written as ``document``, taken at its word: values are not checked, unknown ones dropped.

    What is missing, because it was written before the field existed, has its default.
    """
    known = {name: read(document[name]) for name, read in _revivers(model).items() if name in document}
    return model.model_construct(_NONE, **known)


@cache
def _revivers(model: type[BaseModel]) -> Mapping[str, Callable[[Any], Any]]:
    """For every field, what turns the JSON value of a valid document back into the field's value."""
    return {name: _reviver(shape) for name, shape in shapes(model).items()}


def _reviver(shape: Shape) -> Callable[[Any], Any]:
    inside = _reviver(shape.elements) if shape.elements else _itself
    if shape.kind in ("array", "set"):
        return _unless_null(tuple if inside is _itself else lambda values: tuple(map(inside, values)))
    if shape.kind == "map":
        return _unless_null(lambda entries: {key: inside(value) for key, value in entries.items()})
    if record := shape.record:
        return _unless_null(lambda parts: revive(record, parts))
    return _itself


def _unless_null(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _itself(value: Any) -> Any:
    return value
