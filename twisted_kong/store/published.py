"""The snapshot in force, and who hears of the next one: what all stores have in common.

Nothing here waits or writes; a store calls `Published.publish` on the reactor's thread once a change is safe.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from twisted_kong.model.changes import Change
from twisted_kong.model.snapshot import Snapshot

Listener = Callable[[Snapshot, Snapshot], None]


def after(base: Snapshot, change: Change) -> Snapshot:
    """The snapshot that ``change`` makes of ``base``; ``base`` itself where the change does nothing.

    :raise twisted_kong.errors.AdminError: the change breaks a uniqueness or a reference.
    """
    new = base.with_change(change)
    if change.puts or any(base.get(*key) is not new.get(*key) for key in change.deletes):
        return new
    return base


class Published:
    """Holds the snapshot in force and tells listeners of its successors."""

    _log = Logger()

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """From now on call ``listener(old, new)``; what it raises is logged and concerns nobody else."""
        self._listeners.append(listener)

    def publish(self, new: Snapshot) -> None:
        """Put ``new`` in force, then tell everybody. The snapshot that is in force already is no news."""
        old, self.snapshot = self.snapshot, new
        if new is old:
            return
        for listener in self._listeners:
            with self._log.failuresHandled("telling {listener} of a new configuration", listener=listener):
                listener(old, new)
