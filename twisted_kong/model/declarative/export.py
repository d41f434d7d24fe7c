"""From a configuration to a document: flat, every field of every entity, others referred to by id.

The document means the configuration exactly, and needs nothing beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from twisted_kong.model.declarative.layout import FORMAT, KINDS, VERSIONS
from twisted_kong.model.declarative.reading import resolve
from twisted_kong.model.entities import Entity
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.model.values import is_id

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_AS_IT_IS = _DUMPER is not yaml.SafeDumper  # which would write some kinds of blanks so that they are lost in reading


def entities(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Collection → id → the entity as the Admin API prints it; only collections that are not empty."""
    return {
        collection: {id: entity.document() for id, entity in rows.items()}
        for collection in KINDS
        if (rows := snapshot.all(collection))
    }


def document(snapshot: Snapshot) -> dict[str, Any]:
    """The document of a configuration."""
    head = {FORMAT: VERSIONS[-1], "_transform": False}
    return head | {
        collection: [_flat(KINDS[collection], row) for row in rows.values()]
        for collection, rows in entities(snapshot).items()
    }


def as_yaml(snapshot: Snapshot) -> str:
    """The document of a configuration, as a text."""
    text: str = yaml.emit(_stream(document(snapshot)), Dumper=_DUMPER, allow_unicode=_AS_IT_IS)
    return text


def _flat(entity: type[Entity], row: dict[str, Any]) -> dict[str, Any]:
    """An entity as a document has it at the top."""
    return {
        name: value["id"] if name in entity.references and value is not None else value for name, value in row.items()
    }


# -- YAML ------------------------------------------------------------------------------------------------------
# The events of a text, for PyYAML to emit: it would make them itself, but in many times the time.


def _stream(tree: Mapping[str, Any]) -> Iterator[yaml.Event]:
    yield yaml.StreamStartEvent()
    yield yaml.DocumentStartEvent(explicit=False)
    yield from _events(tree)
    yield yaml.DocumentEndEvent(explicit=False)
    yield yaml.StreamEndEvent()


def _events(part: object) -> Iterator[yaml.Event]:
    if isinstance(part, Mapping):
        yield yaml.MappingStartEvent(None, None, implicit=True, flow_style=not part)
        for name, value in part.items():
            yield _scalar(name)
            yield from _events(value)
        yield yaml.MappingEndEvent()
    elif isinstance(part, list):
        yield yaml.SequenceStartEvent(None, None, implicit=True, flow_style=not part)
        for value in part:
            yield from _events(value)
        yield yaml.SequenceEndEvent()
    else:
        yield _scalar(part)


def _scalar(value: object) -> yaml.Event:
    if isinstance(value, str):
        return yaml.ScalarEvent(None, None, (_is_plain(value), True), value, style="|" if "\n" in value else None)
    word = (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    )
    return yaml.ScalarEvent(None, None, (True, False), word)


def _is_plain(text: str) -> bool:
    """Whether a text needs no quotes, for any reader of YAML: others know more kinds of words than we do."""
    if text[:1].isalpha() or text[:1] in ("_", "/"):
        return resolve(text) is text and text not in ("y", "Y", "n", "N")
    return is_id(text)
