"""What the targets have in common: the same bytes, come in other pieces, and what differs between two runs anyway."""

from __future__ import annotations

import re
from random import Random

_ID = re.compile(rb"[0-9a-f]{32}")


MOST = 32
"""Pieces, or not many more."""


def cut(data: bytes, plan: int) -> list[bytes]:
    """``data`` in pieces; ``plan``, of 0 to 31, says how: byte by byte, in pieces of a few bytes, or anyhow."""
    least = len(data) // MOST
    if plan < 8:
        size = max(plan + 1, least)
        return [data[at : at + size] for at in range(0, len(data), size)]
    random = Random(plan)
    pieces = []
    while data:
        size = random.choice([1, 2, 3, 5, 8, 13, 21, 34, 55]) + least // 2
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def without_ids(data: bytes) -> bytes:
    """``data`` with the ids of requests, which are all different, replaced."""
    return _ID.sub(b"0" * 32, data)
