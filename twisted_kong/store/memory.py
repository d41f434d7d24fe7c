"""A store for ``database = off``: the configuration lives as long as the process."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.changes import Change
from twisted_kong.model.snapshot import EMPTY, Snapshot
from twisted_kong.store.published import Listener, Published, after


@implementer(IConfigStore)
class MemoryStore:
    """Applies changes at once and forgets them with the process."""

    def __init__(self) -> None:
        self._published = Published(EMPTY)
        self._waiting: deque[tuple[Change, Deferred[Snapshot]]] = deque()
        self._applying = False

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def reachable(self) -> bool:
        return True

    def snapshot(self) -> Snapshot:
        return self._published.snapshot

    def subscribe(self, listener: Listener) -> None:
        self._published.subscribe(listener)

    def apply(self, change: Change) -> Deferred[Snapshot]:
        """See `IConfigStore.apply`. The answer is there at once, except for a listener's own change.

        That one waits until everybody has heard of the change before it: no listener sees them in the wrong order.
        """
        answer: Deferred[Snapshot] = Deferred()
        self._waiting.append((change, answer))
        if not self._applying:
            self._apply_waiting()
        return answer

    def _apply_waiting(self) -> None:
        self._applying = True
        try:
            while self._waiting:
                change, answer = self._waiting.popleft()
                try:
                    new = after(self._published.snapshot, change)
                except Exception:
                    answer.errback(Failure())
                    continue
                self._published.publish(new)
                answer.callback(new)
        finally:
            self._applying = False
