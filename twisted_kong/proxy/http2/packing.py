"""Heads on their way out, packed (HPACK, RFC 7541). Pure.

What lives here: how fields are spelled. What must not: which fields there are, and which of them may be remembered.

``hpack``'s encoder walks through its table for every field and spells what is not in it in Huffman's code, bit by bit:
half of what an answer costs. Ours knows where each field is, and spells values as they are. The table itself, how it
shrinks and what is said of its size are ``hpack``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpack import Encoder, NeverIndexedHeaderTuple
from hpack.hpack import encode_integer
from hpack.table import HeaderTable

Field = tuple[bytes, bytes]

_REMEMBERED = 0x40
"""A field that is spelled, and goes into the table (§6.2.1)."""
_NEVER = 0x10
"""A field that is spelled, and must not go into anybody's table (§6.2.3)."""
_SMALL = tuple(bytes([size]) for size in range(127))
_FIRST = HeaderTable.STATIC_TABLE_LENGTH + 1
"""The index of the youngest field in the table."""
_INDEXED = tuple(bytes([0x80 | index]) for index in range(127))
_STATIC = {field: _INDEXED[index] for index, field in enumerate(HeaderTable.STATIC_TABLE, 1)}
_NAMES = {name: first for name, (first, _) in HeaderTable.STATIC_TABLE_MAPPING.items()}
SLACK = 64
"""How many fields that have left the table are remembered before they are looked for."""


class Packer(Encoder):
    """Packs the heads of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self._added = 0
        self._numbers: dict[Field, int] = {}  # of what was put into the table: the how-manieth it was

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        """The block of these fields, tuples of bytes; nothing is spelled in Huffman's code."""
        table = self.header_table
        packed: list[bytes] = []
        if self.table_size_changes:
            table.resized = True  # hpack forgets it where the same size is set twice
            packed.append(super().encode(()))
        numbers, entries = self._numbers, table.dynamic_entries
        for field in headers:
            if isinstance(field, NeverIndexedHeaderTuple):
                packed.append(spelled(field, _NEVER, 4))
                continue
            number = numbers.get(field)
            if number is not None and (age := self._added - number) < len(entries):
                index = _FIRST + age
                packed.append(_INDEXED[index] if index < 127 else _indexed(index))
            else:
                packed.append(_STATIC.get(field) or self._remember(field))
        return b"".join(packed)

    def _remember(self, field: Field) -> bytes:
        name, value = field
        table, numbers = self.header_table, self._numbers
        table.add(name, value)
        self._added += 1
        if len(numbers) > len(table.dynamic_entries) + SLACK:
            oldest = self._added - len(table.dynamic_entries)
            self._numbers = numbers = {each: number for each, number in numbers.items() if number > oldest}
        numbers[name, value] = self._added
        return spelled(field, _REMEMBERED, 6)


def spelled(field: Field, kind: int, bits: int) -> bytes:
    """A field as it is, its name by number where that is everybody's; ``bits`` are there for the number (§6.2)."""
    name, value = field
    length = _length(value)
    index = _NAMES.get(name)
    if index is None:
        return b"%c%b%b%b%b" % (kind, _length(name), name, length, value)
    number = encode_integer(index, bits)
    number[0] |= kind
    return bytes(number) + length + value


def _length(text: bytes) -> bytes:
    size = len(text)
    return _SMALL[size] if size < 127 else bytes(encode_integer(size, 7))


def _indexed(index: int) -> bytes:
    number = encode_integer(index, 7)
    number[0] |= 0x80
    return bytes(number)
