"""What is wrong with a document, in the three shapes in which it is told.

A client gets Kong's tree of texts by collection, or on request a list of faulty entities; a person gets the tree line
by line, with the lines of the document. What is a fault is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted_kong.errors import AdminError, braces
from twisted_kong.model.declarative.reading import Locate, Way
from twisted_kong.model.entities import Entity
from twisted_kong.model.rules import ENTITY
from twisted_kong.model.values import is_id


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """An entity as it was sent, without what is nested in it. ``parent`` is the field that its place decides."""

    entity: type[Entity]
    sent: Mapping[str, Any]
    parent: tuple[str, Subject] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    ``way`` leads to it in the document, ``told`` to the text in Kong's tree, ``inside`` to it in its ``subject``: the
    entity it is a fault of, if any.
    """

    text: str
    way: Way
    told: Way
    subject: Subject | None = None
    inside: Way = ()


class InvalidDocument(AdminError):
    """A declarative document that cannot become a configuration; ``fields`` is the tree of all its faults.

    ``ids`` are those that entities were given because they brought none.
    """

    code, name = 14, "invalid declarative configuration"

    def __init__(self, faults: Sequence[Fault], ids: Mapping[Subject, str] | None = None) -> None:
        self.faults = faults
        self._ids = ids or {}
        super().__init__(*_told(faults))

    def flattened(self) -> dict[str, Any]:
        """The JSON document of the answer where faults are told by entity; ``fields`` has what is nobody's fault."""
        message, fields = _told([fault for fault in self.faults if fault.subject is None])
        of: dict[Subject, list[Fault]] = {}
        for fault in self.faults:
            if fault.subject is not None:
                of.setdefault(fault.subject, []).append(fault)
        entries = [self._entry(subject, faults) for subject, faults in of.items()]
        return {**self.body(), "message": message, "fields": fields, "flattened_errors": entries}

    def report(self, locate: Locate) -> str:
        """The tree as Kong prints it, a line for each step; texts tell in which line of the document they belong."""

        def told(fault: Fault) -> str:
            line = locate(fault.way)
            return fault.text if line is None else f"{fault.text} (line {line})"

        return "\n".join(_lines(_tree(self.faults), told))

    def _entry(self, subject: Subject, faults: Iterable[Fault]) -> dict[str, Any]:
        entity = dict(subject.sent)
        if (id := self._id(subject)) is not None:
            entity["id"] = id
        if subject.parent is not None and (id := self._id(subject.parent[1])) is not None:
            entity[subject.parent[0]] = {"id": id}
        entry: dict[str, Any] = {"entity_type": subject.entity.collection.removesuffix("s"), "entity": entity}
        for field, sound in _SOUND.items():
            if sound(value := entity.get(field)):
                entry[f"entity_{field}"] = value
        return {**entry, "errors": [_error(fault) for fault in faults]}

    def _id(self, subject: Subject) -> str | None:
        """The entity's id, if it has a valid one."""
        id = subject.sent.get("id")
        return self._ids.get(subject) if id is None else id if _is_id(id) else None


def unreadable(why: str) -> InvalidDocument:
    """The refusal of a text that is no document at all."""
    return InvalidDocument([Fault(f"failed parsing declarative configuration: {why}", (), ("error",))])


def faults_of(subject: Subject, way: Way, tree: Mapping[str, Any]) -> Iterator[Fault]:
    """The faults of an entity that stands at ``way``, from the ``fields`` of its schema violation."""
    for inside, text in _leaves(tree):
        yield Fault(text, way + inside, way + inside, subject, inside)


def _leaves(tree: Any) -> Iterator[tuple[Way, str]]:
    parts = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for step, part in parts:
        if isinstance(part, str):
            yield (step,), part
        elif part is not None:
            for way, text in _leaves(part):
                yield (step, *way), text


# -- flattened -------------------------------------------------------------------------------------------------


def _is_id(value: object) -> bool:
    return isinstance(value, str) and is_id(value)


_SOUND: Mapping[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str) and value != "",
    "id": _is_id,
    "tags": lambda value: isinstance(value, list) and all(isinstance(tag, str) for tag in value),
}
"""The fields that identify an entity to its sender, and when they do."""


def _error(fault: Fault) -> dict[str, str]:
    """A fault in its entity; positions in lists are told from 1."""
    inside = fault.inside[:-2] if fault.inside[-2:-1] == (ENTITY,) else fault.inside
    if not inside:
        return {"type": "entity", "message": fault.text}
    field = ".".join(str(step + 1) if isinstance(step, int) else step for step in inside)
    return {"type": "field", "field": field, "message": fault.text}


# -- the tree --------------------------------------------------------------------------------------------------

_Tree = dict[str | int, Any]
"""Steps of `Fault.told` → the fault, or such a tree."""


def _told(faults: Iterable[Fault]) -> tuple[str, dict[str, Any]]:
    """The message and the fields of an answer."""
    fields = {str(step): _listed(part) for step, part in _tree(faults).items()}
    return f"declarative config is invalid: {_in_braces(fields)}", fields


def _tree(faults: Iterable[Fault]) -> _Tree:
    """All faults; what is inside of something that is faulty as a whole has no place there."""
    tree: _Tree = {}
    for fault in faults:
        here: Any = tree
        for step in fault.told[:-1]:
            here = here.setdefault(step, {}) if isinstance(here, dict) else None
        if isinstance(here, dict):
            here.setdefault(fault.told[-1], fault)
    return tree


def _listed(part: Any) -> Any:
    """Parts under positions are a list, with null for what is sound; beside names, positions are told from 1."""
    if isinstance(part, Fault):
        return part.text
    if all(isinstance(step, int) for step in part):
        return [_listed(part[index]) if index in part else None for index in range(max(part) + 1)]
    return {str(step + 1) if isinstance(step, int) else step: _listed(inside) for step, inside in part.items()}


def _in_braces(value: Any) -> str:
    """Kong's compact listing of a tree; see `twisted_kong.errors.braces`, which knows no lists."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_key(name)}={_in_braces(value[name])}" for name in sorted(value)) + "}"
    if not isinstance(value, list):
        return braces(value)
    hole = value.index(None) if None in value else len(value)
    parts = [
        _in_braces(part) if position < hole else f"[{position + 1}]={_in_braces(part)}"
        for position, part in enumerate(value)
        if part is not None
    ]
    return "{" + ",".join(parts) + "}"


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) else f'["{name}"]'


def _lines(tree: _Tree, told: Callable[[Fault], str], of: str = "", indent: str = "") -> Iterator[str]:
    for step in sorted(tree, key=lambda step: (isinstance(step, str), step)):
        part = tree[step]
        where = f"- in entry {step + 1} of '{of}'" if isinstance(step, int) else f"in '{step}'"
        if isinstance(part, Fault):
            yield f"{indent}{where}: {told(part)}"
        else:
            yield f"{indent}{where}:"
            yield from _lines(part, told, str(step), indent + "  ")
