"""Mappings that are copied for every change, however large they are.

A dictionary of ten thousand entries is copied in the tenth of a millisecond; one of a hundred thousand, such as a long
history, is not. From a certain size on a copy shares the dictionary and notes beside it what has changed since.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

LARGE = 20_000
"""Entries from which on a copy shares."""
LATE = 1000
"""Changes beside the shared dictionary after which a copy makes a new one."""


def copy_of(mapping: MutableMapping[K, V]) -> MutableMapping[K, V]:
    """A copy to be changed; ``mapping`` itself must never change again."""
    if isinstance(mapping, Layered):
        if len(mapping.late) < LATE:
            return Layered(mapping.base, mapping.late.copy(), len(mapping))
        mapping = mapping.merged()
    assert isinstance(mapping, dict)
    # unlike dict(…), the method is as quick where something was deleted
    return mapping.copy() if len(mapping) < LARGE else Layered(mapping, {}, len(mapping))


class Layered(MutableMapping[K, V]):
    """``base`` with the changes of ``late``, where None stands for a deletion. Its order is that of a dictionary."""

    __slots__ = ("_size", "base", "late")

    def __init__(self, base: dict[K, V], late: dict[K, V | None], size: int) -> None:
        self.base = base
        self.late = late
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: K) -> V:
        if key not in self.late:
            return self.base[key]
        found = self.late[key]
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: K, value: V) -> None:
        if key not in self:
            self._size += 1
            if key in self.base:  # and was deleted since: it comes last now, which only a new base can say
                self.base, self.late = self.merged(), {}
        self.late[key] = value

    def __delitem__(self, key: K) -> None:
        self[key]  # raises where there is none
        self._size -= 1
        if key in self.base:
            self.late[key] = None
        else:
            del self.late[key]

    def merged(self) -> dict[K, V]:
        """The same in one dictionary."""
        merged = self.base.copy()
        for key, value in self.late.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        return merged

    def __iter__(self) -> Iterator[K]:
        return (key for key, _ in self._pairs())

    def items(self) -> ItemsView[K, V]:
        return _Items(self)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    def _pairs(self) -> Iterator[tuple[K, V]]:
        late = self.late
        for key, old in self.base.items():
            value = late.get(key, old)
            if value is not None:
                yield key, value
        for key, new in late.items():
            if new is not None and key not in self.base:
                yield key, new


class _Items(ItemsView[K, V]):
    """As the inherited one, without a look-up for each."""

    _mapping: Layered[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._pairs()


class _Values(ValuesView[V], Generic[K, V]):
    _mapping: Layered[K, V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._pairs())
