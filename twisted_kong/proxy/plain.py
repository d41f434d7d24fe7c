"""What the proxy does most often, in Python: reading and finding header lines, receiving and sending.

This is what is meant. ``_accelerator.c`` does the same in less time; `twisted_kong.proxy.accelerator` has whichever of
the two there is. No Twisted, and no decisions: the rules of header lines are in `twisted_kong.proxy.fields`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from itertools import filterfalse


class LineReader:
    """Reads the lines of heads.

    ``known`` is asked what is passed on of a line, and raises what it likes where that is no field: bytes with their
    line end, or empty ones that stand for a *special* field. Fields whose names (lower case) are not among ``watched``
    are passed on just so, ``Name: value``, and it may not be asked about them.
    """

    def __init__(self, known: Mapping[bytes, bytes], watched: Collection[bytes]) -> None:
        self._known = known.__getitem__

    def read(self, head: bytes) -> tuple[bytes, bytes, tuple[bytes, ...]]:
        """The first line of ``head``, what is passed on of the others, and its special fields."""
        first, *lines = head.split(b"\r\n")
        fields = list(map(self._known, lines))
        return first, b"".join(fields), tuple(filterfalse(None, fields))


def values_of(head: bytes, name: bytes) -> list[bytes]:
    """All values of the field ``name`` (lower case) in a head that has been read, in order."""
    found = []
    lines = head.lower()
    sought = b"\n%b:" % name
    at = lines.find(sought)
    while at >= 0:
        at += len(sought)
        end = head.find(b"\r\n", at)
        found.append(head[at : end if end >= 0 else len(head)].strip(b" \t"))
        at = lines.find(sought, at)
    return found


def receive(fd: int, size: int) -> bytes | None:
    """At most ``size`` bytes from a socket that does not block; empty at the end of the stream, None if there is
    nothing yet.

    :raise OSError: the connection is broken.
    """
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return None


def send(fd: int, data: bytes) -> int:
    """How many bytes of ``data`` the system takes at once; 0 where it would block, or the connection is broken."""
    try:
        return os.write(fd, data)
    except OSError:
        return 0
