"""What stands where in a document: the top level, and entities with others nested in them.

Documents of the formats 1.1 and 2.1 are read as well. They know no mark of regular paths, so here the paths of their
routes are put into the form of 3.0. What an entity itself may say is the schema's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from twisted_kong.model import paths
from twisted_kong.model.checks import REQUIRED, UNKNOWN, one_of
from twisted_kong.model.declarative.faults import Fault, Subject
from twisted_kong.model.declarative.reading import Way
from twisted_kong.model.entities import COLLECTIONS, Entity, Route, TargetEntry

FORMAT = "_format_version"
VERSIONS = ("1.1", "2.1", "3.0")
_BEFORE_REGEX_MARKS = VERSIONS[:2]

KINDS: Mapping[str, type[Entity]] = MappingProxyType(
    {collection: entity for collection, entity in COLLECTIONS.items() if entity is not TargetEntry}
)
"""The collections that a document may have, parents before their children."""

CHILDREN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        parent: {
            child: field
            for child, entity in KINDS.items()
            for field, foreign in entity.references.items()
            if foreign.collection == parent == f"{field}s"
        }
        for parent in KINDS
    }
)
"""Collection → the collections that may be nested in its entities → their field that refers to them.

The field is called as the parent is: a service has a ``client_certificate``, and yet is no part of it.
"""


class Layout:
    """The entities of a document, and the faults of its form.

    ``found`` leads from entities to their places, parents before what is nested in them, otherwise by collection in the
    order of `KINDS`.
    """

    def __init__(self, tree: object) -> None:
        self.found: dict[Subject, Way] = {}
        self.faults: list[Fault] = []
        if not isinstance(tree, Mapping):
            self._fault("failed parsing declarative configuration: expected an object", "error")
            return
        version = tree.get(FORMAT)
        self._old_paths = version in _BEFORE_REGEX_MARKS
        self._check_top(version, tree)
        for collection in KINDS:
            self._section(tree.get(collection), (collection,), None)

    def _fault(self, text: str, *way: str | int, of: Subject | None = None) -> None:
        inside = way[len(self.found[of]) :] if of else ()
        self.faults.append(Fault(text, way, way, of, inside))

    def _check_top(self, version: object, tree: Mapping[str, Any]) -> None:
        if version is None:
            self._fault(REQUIRED, FORMAT)
        elif not isinstance(version, str):
            self._fault("expected a string", FORMAT)
        elif version not in VERSIONS:
            self._fault(one_of(VERSIONS), FORMAT)
        if not isinstance(tree.get("_transform"), bool | None):
            self._fault("expected a boolean", "_transform")
        for name, text in _faulty_remarks(tree):
            self._fault(text, name)
        for name in tree:
            if name not in KINDS and name not in (FORMAT, "_transform", *_REMARKS):
                self._fault(UNKNOWN, name)

    def _section(self, elements: object, way: Way, parent: tuple[str, Subject] | None) -> None:
        """A list of entities, at the top or nested."""
        if elements is None or elements == {}:
            return
        if not isinstance(elements, list):
            self._fault("expected an array", *way, of=parent[1] if parent else None)
            return
        for index, element in enumerate(elements):
            if isinstance(element, Mapping):
                self._entity(element, (*way, index), parent)
            else:
                self._fault(REQUIRED if element is None else "expected a record", *way, index)

    def _entity(self, element: Mapping[str, Any], way: Way, parent: tuple[str, Subject] | None) -> None:
        entity = KINDS[str(way[-2])]
        children = CHILDREN[entity.collection]
        sent = {name: value for name, value in element.items() if name not in children and name not in _REMARKS}
        if self._old_paths and entity is Route and isinstance(sent.get("paths"), list):
            sent["paths"] = [_marked(path) if isinstance(path, str) else path for path in sent["paths"]]
        subject = Subject(entity, sent, parent)
        self.found[subject] = way
        for name, text in _faulty_remarks(element):
            self._fault(text, *way, name, of=subject)
        for child, field in children.items():
            self._section(element.get(child), (*way, child), (field, subject))


_REMARKS: Mapping[str, tuple[type, str]] = {
    "_comment": (str, "expected a string"),
    "_ignore": (list, "expected an array"),
}
"""What may stand everywhere and means nothing."""


def _faulty_remarks(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, (kind, text) in _REMARKS.items():
        value = tree.get(name)
        if value is not None and not isinstance(value, kind):
            yield name, text


def _marked(path: str) -> str:
    """A path of a format without marks: with one where it is regular, in its normal form where it is plain."""
    if not re.fullmatch(r"[A-Za-z0-9._~/%-]*", path):
        return f"~{path}"
    return paths.normal_form(path) if path.startswith("/") else path
