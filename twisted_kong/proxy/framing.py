"""Bodies: where they end, and how they are framed anew (RFC 9112 §6, §7).

Pure: a decoder is fed bytes and answers the content in them. It never reads past the end of its body; what
follows is left for the next message.
"""

from __future__ import annotations

import re
from typing import Protocol

from twisted_kong.errors import ProxyError

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*")
_LINE_LIMIT = 4096
_TRAILERS_LIMIT = 16384

LAST_CHUNK = b"0\r\n\r\n"


def last_chunk(trailers: bytes) -> bytes:
    """The end of a chunked body that these lines, each with its end, follow."""
    return b"0\r\n%b\r\n" % trailers


class MalformedBody(ProxyError):
    """The framing of a body is broken; its connection cannot be used any further."""


class Body(Protocol):
    """A body being read. ``ended`` says that its last byte has been seen."""

    ended: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in ``data``, and what follows the body.

        :raise MalformedBody: the framing is broken.
        """


class SizedBody:
    """A body of announced length."""

    __slots__ = ("ended", "missing")

    def __init__(self, length: int) -> None:
        self.missing = length
        self.ended = not length

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        size = len(data)
        missing = self.missing
        if size < missing:
            self.missing = missing - size
            return data, b""
        self.missing = 0
        self.ended = True
        return (data, b"") if size == missing else (data[:missing], data[missing:])


class UnsizedBody:
    """A response body that lasts until its connection closes."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""


class ChunkedBody:
    """A body in chunks. Chunk extensions are dropped; ``trailers`` are the lines behind it, checked, without ends.

    Between two calls at most the beginning of one line is kept, and the trailers.
    """

    __slots__ = ("_missing", "_rest", "_trailers", "ended", "trailers")

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""
        self._missing = -1  # bytes missing in this chunk, its line end included; -1: a size comes next
        self._trailers = 0  # bytes of trailers seen; 0 before the last chunk
        self.trailers: list[bytes] = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        pieces: list[bytes] = []
        position = 0
        while position < len(data):
            if self._missing < 0:
                end = self._line_end(data, position)
                if end < 0:
                    self._rest = data[position:]
                    break
                line = data[position:end]
                position = end + 2
                if self._trailers:
                    if self._read_trailer(line):
                        return b"".join(pieces), data[position:]
                else:
                    self._read_size(line)
            else:
                position = self._read_chunk(data, position, pieces)
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), b""

    def _line_end(self, data: bytes, position: int) -> int:
        end = data.find(b"\r\n", position)
        line = data[position : end if end >= 0 else len(data)]
        if len(line) > _LINE_LIMIT + (end < 0):  # half of a line end may be in it
            raise MalformedBody("a line of the chunked coding is too long")
        if b"\n" in line:
            raise MalformedBody("a line of the chunked coding ends in a line feed alone")
        return end

    def _read_size(self, line: bytes) -> None:
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise MalformedBody("the size of a chunk is malformed")
        size = int(match[1], 16)
        if size:
            self._missing = size + 2
        else:
            self._trailers = 1

    def _read_chunk(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        """Take what there is of the current chunk; the new position."""
        missing = self._missing
        available = len(data) - position
        content = min(available, missing - 2)
        if content > 0:
            pieces.append(data[position : position + content])
        taken = min(available, missing)
        if taken > content:
            first = max(content, 0)
            end = b"\r\n"[2 - (missing - first) :][: taken - first]
            if data[position + first : position + taken] != end:
                raise MalformedBody("a chunk is longer than its size")
        self._missing = missing - taken
        if not self._missing:
            self._missing = -1
        return position + taken

    def _read_trailer(self, line: bytes) -> bool:
        """Check one line after the last chunk; True at the empty one."""
        if not line:
            self.ended = True
            return True
        self._trailers += len(line)
        if self._trailers > _TRAILERS_LIMIT or not _TRAILER.fullmatch(line):
            raise MalformedBody("the trailers are malformed or too long")
        self.trailers.append(line)
        return False


def chunk(content: bytes) -> bytes:
    """``content``, which must not be empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content)
