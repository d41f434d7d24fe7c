"""What all entities share: identity, times, tags, and the form of their declaration.

The kinds themselves are in `twisted_kong.model.entities` and in the modules it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self
from uuid import uuid4

from twisted_kong.model import fields
from twisted_kong.model.checks import SECRET, Auto
from twisted_kong.model.records import Foreign, Record
from twisted_kong.model.rules import Rule
from twisted_kong.model.values import Id, Seconds, Set, Tag


def new_id() -> str:
    """An id that nobody has."""
    return str(uuid4())


class Entity(Record):
    """What all entities share. Times are seconds since the epoch, whole ones where a kind does not say otherwise."""

    collection: ClassVar[str]
    """Kong's plural: the name of the table, the key in declarative documents."""
    segment: ClassVar[str]
    """The segment of the URL that means all of them; the collection's name if not declared."""
    segment_below: ClassVar[str]
    """The same below a parent; as `segment` if not declared."""
    endpoint_key: ClassVar[str | None] = "name"
    """The field by which a URL may name one, beside ``id``."""
    unique: ClassVar[tuple[tuple[str, ...], ...]] = (("name",),)
    """Fields whose values no two entities share. Among several a null is a value like any other; a field alone may be
    null as often as it likes."""
    references: ClassVar[Mapping[str, Foreign]] = MappingProxyType({})
    """The fields that hold a `Reference`, read off their annotations."""
    secrets: ClassVar[frozenset[str]] = frozenset()
    """The fields that are secret, read off their annotations."""
    shorthands: ClassVar[tuple[str, ...]] = ()
    """Texts in the input that decide other fields, by `settle`."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    """What must hold between fields, in the order in which it is told."""
    first_rules: ClassVar[tuple[Rule, ...]] = ()
    """What must hold of a new entity only, and is told only where there is nothing else to tell."""

    id: Annotated[Id, Auto(new_id)]
    created_at: Seconds
    updated_at: Seconds
    tags: Set[Tag] | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.references = MappingProxyType(
            {
                name: brick
                for name, shape in fields.shapes(cls).items()
                for brick in shape.bricks
                if isinstance(brick, Foreign)
            }
        )
        cls.secrets = frozenset(name for name, shape in fields.shapes(cls).items() if SECRET in shape.bricks)
        cls.segment = cls.__dict__.get("segment", getattr(cls, "collection", ""))
        cls.segment_below = cls.__dict__.get("segment_below", cls.segment)

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        """Let fields of ``given``, what the client sent, decide others in ``whole``, what it would come to.

        :raise SchemaViolation: with what is told alone, before anything else is looked at.
        """

    @classmethod
    def told(cls, field: str, text: str) -> str:
        """How clients of this kind are used to being told ``text``, a fault of ``field``."""
        return text

    def document(self) -> dict[str, Any]:
        """Every field as JSON has it, null where unset: what the Admin API prints and the store keeps."""
        return self.model_dump(mode="json")

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The entity that `document` wrote, taken at its word; nothing is checked again."""
        return fields.revive(cls, document)
