"""Peers in the order of a score that changes: the best is found in O(1), a new score costs O(log peers)."""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush, heapreplace

from twisted_kong.interfaces import IPeer

_Entry = tuple[float, int, IPeer]
"""(score, serial, peer). No two have the same serial, so peers are never compared."""


class Ranking:
    """Peers by their scores, the lowest first. Of equals, whoever was placed first is first.

    A heap that is mended when somebody looks at it: an entry that is not its peer's latest is out of date. Those go
    when they come up, or all at once when there are as many of them as there are peers.
    """

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._latest: dict[IPeer, _Entry] = {}
        self._serial = 0

    def __contains__(self, peer: object) -> bool:
        return peer in self._latest

    def __len__(self) -> int:
        return len(self._latest)

    def place(self, peer: IPeer, score: float) -> None:
        """Give ``peer``, new or known, this score."""
        self._serial = serial = self._serial + 1
        heap, latest = self._heap, self._latest
        entry = (score, serial, peer)
        if heap and latest.get(peer) is heap[0]:
            heapreplace(heap, entry)
            latest[peer] = entry
            return
        latest[peer] = entry
        heappush(heap, entry)
        if len(heap) > 2 * len(latest) + 64:
            self._clean()

    def remove(self, peer: IPeer) -> None:
        """Forget ``peer``."""
        del self._latest[peer]
        if len(self._heap) > 2 * len(self._latest) + 64:
            self._clean()

    def keep(self, peers: Collection[IPeer]) -> None:
        """Forget everybody who is not among ``peers``."""
        self._latest = {peer: entry for peer, entry in self._latest.items() if peer in peers}
        self._clean()

    def best(self, tried: Collection[IPeer] = ()) -> tuple[IPeer, float] | None:
        """The first who is not in ``tried``, and its score; None if there is nobody."""
        heap, latest = self._heap, self._latest
        found = None
        skipped = []
        while heap:
            entry = heap[0]
            score, _, peer = entry
            if latest.get(peer) is entry:
                if peer not in tried:
                    found = peer, score
                    break
                skipped.append(entry)
            heappop(heap)
        for entry in skipped:
            heappush(heap, entry)
        return found

    def _clean(self) -> None:
        self._heap = list(self._latest.values())
        heapify(self._heap)
