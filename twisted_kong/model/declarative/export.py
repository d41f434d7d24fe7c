"""From a configuration to a document: flat, every field of every entity, others referred to by id.

The document means the configuration exactly, and needs nothing beside it.
"""

from __future__ import annotations

from typing import Any

import yaml

from twisted_kong.model.declarative.layout import FORMAT, KINDS, VERSIONS
from twisted_kong.model.entities import Entity
from twisted_kong.model.snapshot import Snapshot

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
    text: str = yaml.dump(document(snapshot), Dumper=_DUMPER, sort_keys=False, allow_unicode=_AS_IT_IS)
    return text


def _flat(entity: type[Entity], row: dict[str, Any]) -> dict[str, Any]:
    """An entity as a document has it at the top."""
    return {
        name: value["id"] if name in entity.references and value is not None else value for name, value in row.items()
    }
