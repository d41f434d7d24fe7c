"""From what clients send to entities: coercion of forms, defaults, merging, validation, Kong's tree of violations.

Everything here works for any entity; what is special about one is declared with it. What holds between entities is
enforced by `twisted_kong.model.snapshot`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from twisted_kong.errors import InvalidPrimaryKey, InvalidUniqueKey, SchemaViolation, braces
from twisted_kong.model.checks import Auto, Stamp, said
from twisted_kong.model.entities import Entity
from twisted_kong.model.fields import Shape, reader, shapes
from twisted_kong.model.records import CHECKS
from twisted_kong.model.rules import ALGORITHMS, ENTITY, Rule
from twisted_kong.model.values import is_id

E = TypeVar("E", bound=Entity)

Tree = dict[str, Any]
"""Kong's ``fields``: field → text, a list of texts (null where an element is sound), or such a tree."""


Names = Mapping[str, tuple[str, ...]]
"""By register, the names that fields may have which name a component: see `twisted_kong.model.checks.Named`."""

KONGS_NAMES: Names = {"algorithms": ALGORITHMS, "checks": CHECKS}


class Schema:
    """Makes entities of documents. ``algorithms`` and ``checks`` are the names that installed components add to Kong's.

    The documents are trees of JSON values. A reference is ``{"id": …}``; one by name must have been resolved.
    """

    def __init__(self, algorithms: Collection[str] = (), checks: Collection[str] = ()) -> None:
        self.algorithms = _extended(ALGORITHMS, algorithms)
        self.names: Names = {"algorithms": self.algorithms, "checks": _extended(CHECKS, checks)}

    def coerce(self, entity: type[Entity], tree: object) -> object:
        """A form's or a query's tree of texts with its texts in the types of the schema.

        Empty texts become null, numbers and booleans are read, single values become lists where lists are due. What
        cannot be read is left as it is, for validation to refuse.
        """
        return _coerced_record(entity, tree)

    def build(self, entity: type[E], data: Mapping[str, Any], *, now: float) -> E:
        """A new entity, with defaults for what is not sent. ``now`` is seconds since the epoch.

        :raise SchemaViolation: with every fault of every field and every broken rule.
        """
        made = self._make(entity, dict(data), data, now)
        violations: Tree = {}
        _overlay(violations, entity.first_rules, dict(made))
        if violations:
            raise SchemaViolation(violations)
        return made

    def merge(self, entity: E, data: Mapping[str, Any], *, now: float) -> E:
        """``data`` laid over ``entity``: records merge at every depth, lists and maps are replaced, null clears.

        Its id and the time of its creation are not cleared, and a valid ``id`` in the data is ignored.

        :raise SchemaViolation: what results is not valid as a whole.
        """
        whole = _merged(type(entity), entity.document(), data)
        id = whole["id"]
        if id is None or (isinstance(id, str) and is_id(id)):
            whole["id"] = entity.id
        if whole["created_at"] is None:
            whole["created_at"] = entity.created_at
        return self._make(type(entity), whole, data, now)

    def replace(self, entity: E, data: Mapping[str, Any], *, now: float) -> E:
        """A new entity in the place of ``entity``: its id stays, all else is as `build` makes it."""
        return self.build(type(entity), {**data, "id": entity.id}, now=now)

    def check_key(self, entity: type[Entity], key: str) -> None:
        """Refuse a key of a URL that is neither an id nor could be an endpoint key.

        :raise InvalidUniqueKey: the text breaks the rules of the key's field.
        :raise InvalidPrimaryKey: such entities have no other key than their id.
        """
        if is_id(key):
            return
        name = entity.endpoint_key
        if name is None:
            fields = {"id": "expected a valid UUID"}
            raise InvalidPrimaryKey(f"invalid primary key: '{braces(fields)}'", fields)
        try:
            reader(entity, name).validate_python(key)
        except ValidationError as error:
            raise InvalidUniqueKey(name, said(error.errors(include_url=False)[0])) from None

    def _make(self, entity: type[E], whole: dict[str, Any], given: Mapping[str, Any], now: float) -> E:
        _check_shorthands(entity, given)
        entity.settle(whole, given, self.algorithms)
        for name, make in _makers(entity).items():
            if whole.get(name) is None:
                whole[name] = make(now)
        whole["updated_at"] = _makers(entity)["updated_at"](now)
        made: E | None = None
        violations: Tree = {}
        try:
            made = entity.model_validate(whole, context=self.names)
        except ValidationError as error:
            violations = _tree(error)
        _overlay(violations, entity.rules, {**_defaults(entity), **whole})
        if made is None or violations:
            raise SchemaViolation(_as_told(entity, violations))
        return made


def _extended(own: tuple[str, ...], more: Collection[str]) -> tuple[str, ...]:
    return (*own, *sorted(set(more) - set(own)))


@cache
def _makers(entity: type[Entity]) -> Mapping[str, Callable[[float], Any]]:
    """The fields that are made where they are not given, and how, at so many seconds since the epoch."""
    found: dict[str, Callable[[float], Any]] = {}
    for name, shape in shapes(entity).items():
        for brick in shape.bricks:
            if isinstance(brick, Stamp):
                found[name] = brick.write
            elif isinstance(brick, Auto):
                found[name] = partial(_made, brick)
    return found


def _made(auto: Auto, _: float) -> Any:
    return auto.make()


# -- validation ------------------------------------------------------------------------------------------------


def _check_shorthands(entity: type[Entity], given: Mapping[str, Any]) -> None:
    """Shorthands of the wrong type are told before, and instead of, anything else."""
    faults = {
        name: "length must be at least 1" if value == "" else "expected a string"
        for name in entity.shorthands
        if (value := given.get(name)) == "" or not isinstance(value, str | None)
    }
    if faults:
        raise SchemaViolation(faults)


@cache
def _defaults(entity: type[Entity]) -> Mapping[str, Any]:
    return {name: None if field.is_required() else field.get_default() for name, field in entity.model_fields.items()}


def _overlay(violations: Tree, rules: Iterable[Rule], values: Mapping[str, Any]) -> None:
    """Lay the rules that ``values`` break over the faults of single fields."""
    for rule in rules:
        for field, text in rule(values):
            if field == ENTITY:
                violations.setdefault(ENTITY, []).append(text)
            else:
                violations[field] = text


def _tree(error: ValidationError) -> Tree:
    found: dict[str | int, Any] = {}
    for fault in error.errors(include_url=False):
        *way, last = fault["loc"] or (ENTITY,)
        here = found
        for step in way:
            here = here.setdefault(step, {})
        here[last] = [said(fault)] if last == ENTITY else said(fault)
    return {str(name): _listed(part) for name, part in found.items()}


def _as_told(entity: type[Entity], violations: Tree) -> Tree:
    """The faults of whole fields in the words of this kind."""
    return {
        field: entity.told(field, found) if isinstance(found, str) else found for field, found in violations.items()
    }


def _listed(part: Any) -> Any:
    """Parts under numbers are a list, with null for the numbers that are missing."""
    if not isinstance(part, dict):
        return part
    if all(isinstance(step, int) for step in part):
        return [_listed(part.get(index)) for index in range(max(part) + 1)]
    return {step: _listed(inside) for step, inside in part.items()}


# -- merging ---------------------------------------------------------------------------------------------------


def _merged(model: type[BaseModel], document: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    whole = dict(document)
    for name, value in data.items():
        shape = shapes(model).get(name)
        inside = shape.record if shape and shape.kind == "record" else None
        if inside and value == []:
            continue  # an empty record, which says nothing
        if inside and isinstance(value, Mapping) and isinstance(document.get(name), Mapping):
            value = _merged(inside, document[name], value)
        whole[name] = value
    return whole


# -- coercion --------------------------------------------------------------------------------------------------

_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX][0-9A-Fa-f]+")
_LONGEST = 100
"""Characters of a number; far beyond the range of any field."""


def _coerced_record(model: type[BaseModel], tree: object) -> object:
    if not isinstance(tree, Mapping):
        return tree
    known = shapes(model)
    return {name: _coerced(known.get(name), value) for name, value in tree.items()}


def _coerced(shape: Shape | None, value: object) -> object:
    if value == "":
        return None
    if shape is None:
        return value
    if shape.record:
        return _coerced_record(shape.record, value)
    if shape.kind in ("array", "set"):
        return value if isinstance(value, Mapping) else _coerced_list(shape, value)
    if shape.kind == "map" and isinstance(value, Mapping):
        return {name: _coerced(shape.elements, inside) for name, inside in value.items()}
    return _coerced_text(shape.kind, value) if isinstance(value, str) else value


def _coerced_list(shape: Shape, value: object) -> list[object]:
    values: Iterable[object] = value if isinstance(value, list) else [value]
    return [_coerced(shape.elements, element) for element in values]


def _coerced_text(kind: str, text: str) -> object:
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind not in ("integer", "number") or len(text) > _LONGEST:
        return text
    digits = text.strip()
    if _HEXADECIMAL.fullmatch(digits):
        return int(digits, 16)
    if _DECIMAL.fullmatch(digits):
        number = float(digits)
        return int(digits) if digits.lstrip("+-").isdigit() else number
    return text
