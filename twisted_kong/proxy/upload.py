"""Request bodies kept until a peer has answered: in memory while small, in a file beyond that."""

from __future__ import annotations

import os
from tempfile import TemporaryFile
from typing import IO


class Upload:
    """The body of one request, complete or still coming, that can be read again for every attempt.

    At most ``memory`` bytes are held in memory; what goes beyond is written to an unnamed file of the temporary
    directory, through the page cache and without waiting for the disk.
    """

    def __init__(self, memory: int) -> None:
        self.size = 0
        self._memory = memory
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None

    def write(self, content: bytes) -> None:
        """Append ``content``.

        :raise OSError: the disk does not take it; the body cannot be used any more.
        """
        self.size += len(content)
        if self._file is None:
            self._pieces.append(content)
            if self.size <= self._memory:
                return
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115  # closed by close
            content = b"".join(self._pieces)
            self._pieces = []
        while content:  # a disk that runs full takes a part first
            content = content[self._file.write(content) :]

    def read(self, position: int, size: int) -> bytes:
        """At most ``size`` bytes from ``position`` on; all of a body in memory at once."""
        if self._file is not None:
            return os.pread(self._file.fileno(), size, position)
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0][position:] if self._pieces else b""

    def close(self) -> None:
        """Give back what the body occupies."""
        self._pieces = []
        if self._file is not None:
            self._file.close()
            self._file = None
