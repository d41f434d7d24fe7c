"""The history of targets: what is kept of every write, and when the old is forgotten.

Kong 0.10 only ever added entries to its targets; the newest entry of a target was the target. Here the entries stand
beside the targets, so that clients of that time find what they left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import cast

from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Target, TargetEntry
from twisted_kong.model.entity import new_id
from twisted_kong.model.snapshot import Snapshot

OUTWEIGHED = 10
"""So many inactive entries for each target bring the cleaning."""
AT_ONCE = 1000
"""Inactive entries that one write takes away at most, the oldest first: nobody waits long for a big cleaning."""


def record(snapshot: Snapshot, target: Target, *, now: float, deleted: bool = False) -> Change:
    """What a write of ``target``, or its deletion, adds to the change that makes it: its entry, and the cleaning.

    ``snapshot`` is the configuration before the write; ``now`` is seconds since the epoch. The cleaning comes first
    and does not look at what is written now (Kong 0.10).
    """
    moment = round(now, 3)
    made = TargetEntry(
        id=new_id(),
        created_at=moment,
        updated_at=moment,
        upstream=target.upstream,
        target=target.target,
        weight=0 if deleted else target.weight,
    )
    return Change((made,), tuple((old.collection, old.id) for old in _forgotten(snapshot, target.upstream.id)))


def _forgotten(snapshot: Snapshot, upstream: str) -> list[TargetEntry]:
    """The entries that go: inactive ones, once there are ten times as many as targets.

    Active is the newest entry of a target that is there and has a weight; all others are inactive.
    """
    entries = cast(Mapping[str, TargetEntry], snapshot.below("target_history", "upstream", upstream))
    targets = cast(Mapping[str, Target], snapshot.below("targets", "upstream", upstream))
    enough = OUTWEIGHED * max(len(targets), 1)
    if len(entries) < enough:
        return []  # which is nearly always so, and asked at every write
    weighted = {target.target: target for target in targets.values() if target.weight}
    if len(entries) - len(weighted) < enough:
        return []
    return list(islice(_inactive(entries.values(), weighted), AT_ONCE))


def _inactive(entries: Iterable[TargetEntry], weighted: Mapping[str, Target]) -> Iterator[TargetEntry]:
    """The inactive entries, oldest first. That a later one follows is seen from when its target was last written."""
    same_moment: dict[str, TargetEntry] = {}
    for entry in entries:
        target = weighted.get(entry.target)
        if target is None or target.updated_at > entry.created_at:
            yield entry
            continue
        if entry.target in same_moment:
            yield same_moment[entry.target]
        same_moment[entry.target] = entry
