"""The prefix: the directory of everything a gateway keeps. That it is there, whose it is, and the id that lies in it.

Two gateways on one prefix would answer their clients from configurations of their own, each unaware of what the other
was told; so the one that comes second does not start. Nothing here knows what else is kept there.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from twisted_kong.errors import StartupError

LOCK = "kong.lock"
"""The file that a running gateway holds; its process id is in it."""


def make_prefix(prefix: Path) -> None:
    """Let the directory be there.

    :raise StartupError: it cannot be made.
    """
    try:
        prefix.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(prefix, error) from None


class PrefixLock:
    """Keeps a prefix from all other gateways, until `release` or until the process ends, however it ends."""

    def __init__(self, prefix: Path) -> None:
        """Take it.

        :raise StartupError: another gateway has it, or the directory cannot be written to.
        """
        path = prefix / LOCK
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = self._holder()
            os.close(self._file)
            raise StartupError(
                f"prefix: expected a directory that no other gateway uses, got {prefix}: {holder} has it"
            ) from None
        except OSError as error:
            os.close(self._file)
            raise _unusable(path, error) from None

    def _holder(self) -> str:
        """Who has it, as far as the file tells: whoever took it this moment has not signed yet."""
        signed = os.pread(self._file, 32, 0).strip()
        return f"process {int(signed)}" if signed.isdigit() else "another process"

    def release(self) -> None:
        """Let others have it. The file stays: who has opened it already would take one that nobody else finds."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def node_id(prefix: Path) -> str:
    """The id of this node, the same after every restart.

    :raise StartupError: it cannot be kept.
    """
    file = prefix / "kong.id"
    try:
        return str(uuid.UUID(file.read_text().strip()))
    except (OSError, ValueError):
        id = str(uuid.uuid4())
    try:
        file.write_text(id + "\n")
    except OSError as error:
        raise _unusable(file, error) from None
    return id


def _unusable(path: Path, error: OSError) -> StartupError:
    return StartupError(f"prefix: expected a directory we can write to, got {path}: {error.strerror}")
