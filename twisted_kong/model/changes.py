"""What a store is asked to make true: entities to put, entities to delete."""

from __future__ import annotations

from dataclasses import dataclass

from twisted_kong.model.entities import Entity


@dataclass(frozen=True)
class Change:
    """Puts, applied in order, then deletes, applied in order; all of it or nothing.

    A put inserts, or replaces the entity with the same id. A delete is (collection, id); deleting what is not
    there changes nothing.
    """

    puts: tuple[Entity, ...] = ()
    deletes: tuple[tuple[str, str], ...] = ()
