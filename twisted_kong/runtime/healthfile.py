"""The health of peers over a restart: a file of JSON below the prefix, written aside of the traffic.

It is written a moment after something has changed, and again from time to time while there is anything in it: how old
it is tells the next process how long nobody has looked. See `twisted_kong.runtime.remembered` for how long it counts.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_kong.runtime.peers import Peers

log = Logger()

MOMENT = 1.0
"""Seconds from a change to its being written."""
HEARTBEAT = 60.0
"""Seconds after which the file is written again without a change."""

Aside = Callable[[Callable[[], None]], Deferred[None]]
"""Does work where it keeps nobody waiting."""


class HealthFile:
    """Keeps what is known of the health of ``peers`` in the file ``path``."""

    def __init__(self, clock: IReactorTime, path: Path, peers: Peers, aside: Aside) -> None:
        self._clock = clock
        self._path = path
        self._peers = peers
        self._aside = aside
        self._timer: IDelayedCall | None = None
        self._soon = False
        self._writing = False

    def open(self) -> None:
        """Remember what the file holds, and hear of changes from now on. What cannot be read is no hindrance."""
        try:
            self._peers.load(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            log.warn("the health of peers is not known from {path}: {error}", path=self._path, error=error)
        self._peers.listens = self._changed
        if self._peers.remembered:
            self._sleep(HEARTBEAT)

    def close(self) -> None:
        """Write it for the last time, at once."""
        self._peers.listens = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        document = self._peers.document()
        if document["peers"] or self._path.exists():
            self._write(document)

    def _changed(self) -> None:
        if not self._soon:
            self._soon = True
            self._sleep(MOMENT)

    def _sleep(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._save)

    def _save(self) -> None:
        self._timer = None
        self._soon = False
        if self._writing:
            self._changed()
            return
        document = self._peers.document()
        if document["peers"]:
            self._sleep(HEARTBEAT)
        self._writing = True
        _ = self._aside(lambda: self._write(document)).addBoth(self._written)

    def _written(self, _: object) -> None:
        self._writing = False

    def _write(self, document: dict[str, Any]) -> None:
        """The file is the old one or the new one, whatever happens."""
        aside = self._path.with_name(f"{self._path.name}.{threading.get_ident()}")
        try:
            aside.write_text(json.dumps(document))
            os.replace(aside, self._path)
        except OSError as error:
            log.warn("the health of peers is not written to {path}: {error}", path=self._path, error=error)
