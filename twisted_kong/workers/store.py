"""A store whose changes are in force with all workers when they have been answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from zope.interface import implementer

from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.changes import Change
from twisted_kong.model.snapshot import Snapshot


@implementer(IConfigStore)
class StoreInForce:
    """What ``store`` is; but `apply` answers when ``settled`` does."""

    def __init__(self, store: IConfigStore, settled: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._settled = settled

    def snapshot(self) -> Snapshot:
        return self._store.snapshot()

    async def apply(self, change: Change) -> Snapshot:
        snapshot = await self._store.apply(change)
        await self._settled()
        return snapshot

    async def reachable(self) -> bool:
        return await self._store.reachable()

    def subscribe(self, listener: Callable[[Snapshot, Snapshot], None]) -> None:
        self._store.subscribe(listener)

    async def close(self) -> None:
        await self._store.close()
