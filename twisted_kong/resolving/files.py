"""Files that somebody may change while we run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

T = TypeVar("T")

log = Logger()

PAUSE = 1.0
"""Seconds between two looks at a file."""


class Watched(Generic[T]):
    """What ``parse`` makes of the text of a file: as it was at most `PAUSE` ago.

    A file that is not there has no text. One that is there and cannot be read stays what it was.
    """

    def __init__(self, path: Path, parse: Callable[[str], T], clock: IReactorTime) -> None:
        self._path = path
        self._parse = parse
        self._clock = clock
        self._looked = float("-inf")
        self._stamp: object = None
        self._value = parse("")

    def value(self) -> T:
        now = self._clock.seconds()
        if now - self._looked >= PAUSE:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            status = self._path.stat()
            stamp: object = (status.st_mtime_ns, status.st_size, status.st_ino)
        except FileNotFoundError:
            stamp = "missing"
        except OSError as error:
            stamp = error.errno
        if stamp == self._stamp:
            return
        first, self._stamp = self._stamp is None, stamp
        try:
            text = "" if stamp == "missing" else self._path.read_text(errors="replace")
        except OSError as error:
            log.error("{path} cannot be read: {reason}", path=self._path, reason=error.strerror)
            return
        self._value = self._parse(text)
        if not first:
            log.info("{path} has changed, and was read again", path=self._path)
