"""Ids of entities that bring none: made of what identifies them, so that every node gives the same entity the same id.

Kong's formula, which clients know: UUIDs of version 5 (RFC 9562 §5.5), in a namespace for each collection, of the
entity's key. What has no key gets an id of all it says; Kong gives it a new one with every load, and with that its
identity is lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from uuid import UUID, uuid5

from twisted_kong.model.declarative.faults import Subject
from twisted_kong.model.values import is_id

ROOT = UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")

_SCOPED: Mapping[str, tuple[str, ...]] = {
    "targets": ("upstream", "target"),
    "plugins": ("name", "route", "service", "consumer"),
    "keyauth_credentials": ("key",),
}
"""The fields that identify an entity whose endpoint key does not, or not to Kong's formula."""


class Identities:
    """Gives ids. Parents must come before what is nested in them."""

    def __init__(self) -> None:
        self.ids: dict[Subject, str] = {}
        self._equals: Counter[str] = Counter()

    def add(self, subject: Subject) -> str:
        """The id that the entity brings, in lower case, or one that is made."""
        id = subject.sent.get("id")
        if not (isinstance(id, str) and is_id(id)):
            id = self._made(subject)
        self.ids[subject] = id.lower()
        return self.ids[subject]

    def _made(self, subject: Subject) -> str:
        key = self._key(subject) or self._content(subject)
        return str(uuid5(_namespace(subject.entity.collection), key))

    def _key(self, subject: Subject) -> str | None:
        """What identifies the entity; None where it does not say it."""
        collection = subject.entity.collection
        fields = _SCOPED.get(collection)
        if fields is None:
            key = subject.sent.get(subject.entity.endpoint_key or "")
            return key if isinstance(key, str) and key else None
        own = [name for name in fields if name not in subject.entity.references]
        if not all(isinstance(subject.sent.get(name), str) for name in own):
            return None
        return ":".join([collection, "*", *(self._part(subject, name) for name in fields)])

    def _part(self, subject: Subject, name: str) -> str:
        """The id of a parent above, a reference as it is written, any other text as it is."""
        if subject.parent is not None and subject.parent[0] == name:
            return self.ids[subject.parent[1]]
        value = subject.sent.get(name)
        if isinstance(value, Mapping):
            value = value.get("id")
        return value if isinstance(value, str) else ""

    def _content(self, subject: Subject) -> str:
        """All that the entity says, and how many before it say the same."""
        above = self.ids[subject.parent[1]] if subject.parent else None
        said = json.dumps([subject.entity.collection, above, subject.sent], sort_keys=True)
        self._equals[said] += 1
        return f"{said}:{self._equals[said]}"


@cache
def _namespace(collection: str) -> UUID:
    return uuid5(ROOT, collection)
