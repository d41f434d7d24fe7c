"""Peers in the order of a score that changes: the best is found in O(1), a new score costs O(log peers)."""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush, heapreplace

from twisted_kong.interfaces import IPeer

_Entry = tuple[float, int]
"""(score, serial). No two have the same serial."""


class Ranking:
    """Peers by their scores, the lowest first. Of equals, whoever was placed first is first.

    A heap that is mended when somebody looks at it: an entry whose serial is nobody's any more is out of date. Those go
    when they come up, or all at once when there are as many of them as there are peers. They do not hold on to a peer.
    """

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._serials: dict[IPeer, int] = {}
        self._peers: dict[int, IPeer] = {}  # by their serials
        self._serial = 0

    def __contains__(self, peer: object) -> bool:
        return peer in self._serials

    def __len__(self) -> int:
        return len(self._serials)

    def place(self, peer: IPeer, score: float) -> None:
        """Give ``peer``, new or known, this score."""
        self._serial = serial = self._serial + 1
        heap, peers = self._heap, self._peers
        before = self._serials.get(peer)
        self._serials[peer] = serial
        peers[serial] = peer
        if before is not None:
            del peers[before]
            if heap[0][1] == before:
                heapreplace(heap, (score, serial))
                return
        heappush(heap, (score, serial))
        if len(heap) > 2 * len(peers) + 64:
            self._clean()

    def remove(self, peer: IPeer) -> None:
        """Forget ``peer``."""
        del self._peers[self._serials.pop(peer)]
        if len(self._heap) > 2 * len(self._peers) + 64:
            self._clean()

    def keep(self, peers: Collection[IPeer]) -> None:
        """Forget everybody who is not among ``peers``."""
        self._serials = {peer: serial for peer, serial in self._serials.items() if peer in peers}
        self._peers = {serial: peer for peer, serial in self._serials.items()}
        self._clean()

    def best(self, tried: Collection[IPeer] = ()) -> tuple[IPeer, float] | None:
        """The first who is not in ``tried``, and its score; None if there is nobody."""
        heap, peers = self._heap, self._peers
        found = None
        skipped = []
        while heap:
            entry = heap[0]
            score, serial = entry
            peer = peers.get(serial)
            if peer is not None:
                if peer not in tried:
                    found = peer, score
                    break
                skipped.append(entry)
            heappop(heap)
        for entry in skipped:
            heappush(heap, entry)
        return found

    def _clean(self) -> None:
        self._heap = [entry for entry in self._heap if entry[1] in self._peers]
        heapify(self._heap)
