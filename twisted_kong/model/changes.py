"""What a store is asked to make true: entities to put, entities to delete; and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from twisted_kong.model.entities import Entity


class Author(NamedTuple):
    """Who asks for a change, and from where, in words for people.

    ``name`` is that of a token or of a certificate, or says that nobody was asked; ``address`` is an IP address, or
    says which way else it came.
    """

    name: str
    address: str


@dataclass(frozen=True)
class Change:
    """Puts, applied in order, then deletes, applied in order; all of it or nothing.

    A put inserts, or replaces the entity with the same id. A delete is (collection, id); deleting what is not
    there changes nothing. The ``author`` is for the log, and makes no change another one.
    """

    puts: tuple[Entity, ...] = ()
    deletes: tuple[tuple[str, str], ...] = ()
    author: Author | None = field(default=None, compare=False)
