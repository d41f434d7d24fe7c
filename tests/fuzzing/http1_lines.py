"""The lines of a head, of a request or an answer, read in C and in Python.

What must hold: both read the same, or refuse in the same words; and what they pass on they would read once more as it
is. Where nothing has been compiled it is Python twice.
"""

from __future__ import annotations

from typing import Any

from twisted_kong.errors import ProxyError
from twisted_kong.proxy import accelerator, headers, plain


class Target:
    def __call__(self, data: bytes) -> None:
        for known in (
            headers.RequestParser(8192, 65536)._memory._known,
            headers.ResponseParser(b"utf-8")._memory._known,
        ):
            read = told(plain.LineReader(known, known.watched), data)
            assert told(accelerator.LineReader(known, known.watched), data) == read
            for name in (b"host", b"te", b""):
                assert accelerator.values_of(data, name) == plain.values_of(data, name)
            if isinstance(read[0], bytes) and read[1]:
                again = told(plain.LineReader(known, known.watched), b"\r\n" + read[1].removesuffix(b"\r\n"))
                assert again[1] == read[1]
                assert not again[2]


def told(reader: Any, head: bytes) -> tuple[Any, ...]:
    """All that a reader makes of a head."""
    try:
        first, passing, special = reader.read(head)
    except ProxyError as error:
        return type(error), str(error)
    return first, passing, [(each.name, each.value, each.size, each.remembered) for each in special]
