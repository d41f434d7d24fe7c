"""What is remembered of the health of peers that have left DNS, and of all of them over a restart.

A peer that DNS drops and has again within `EXPIRES` seconds is what it was when it left: a record that is gone is no
evidence of health. (A target that somebody deletes and creates is a new one.) A document that is younger than that,
which the last process wrote, is as good; after that nobody is held to what was known. Only those are remembered against
whom something is held: everybody else is healthy.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple

from twisted_kong.health.counters import Counter, State
from twisted_kong.runtime.health import PeerHealth, Source, Transition

EXPIRES = 300.0
"""Seconds after which what was known of who is not there any more is forgotten (Kong)."""

PeerKey = tuple[str, str, str, int]
"""The id of the upstream, the host of the target, the peer's own, its port."""


class Record(NamedTuple):
    """What is known of a peer; ``until`` is when that is forgotten."""

    until: float
    state: State
    counts: Mapping[Counter, int]
    transitions: tuple[Transition, ...]


class Remembered:
    """Times are seconds since the epoch."""

    def __init__(self) -> None:
        self._records: dict[PeerKey, Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: object) -> bool:
        return key in self._records

    def keep(self, key: PeerKey, health: PeerHealth, now: float) -> None:
        """The peer has left."""
        self._forget_old(now)
        self._records.pop(key, None)  # of an earlier time, if it never was gone altogether
        counters = health.counters
        if counters.state is not State.HEALTHY:
            record = Record(now + EXPIRES, counters.state, dict(counters.counts), tuple(health.transitions or ()))
            self._records[key] = record

    def recall(self, key: PeerKey, health: PeerHealth, now: float) -> None:
        """The peer is there, perhaps again."""
        record = self._records.pop(key, None)
        if record is not None and now < record.until:
            health.restore(record.state, record.counts, record.transitions)

    def _forget_old(self, now: float) -> None:
        for key in [key for key, record in self._records.items() if record.until <= now]:
            del self._records[key]

    # -- over a restart ----------------------------------------------------------------------------------------

    def document(self, present: Mapping[PeerKey, PeerHealth], now: float) -> dict[str, Any]:
        """All that is known, as JSON has it: of those who are there, and of those who have left."""
        self._forget_old(now)
        return {"saved": now, "peers": [*self._gone(present), *_here(present, now)]}

    def _gone(self, present: Container[PeerKey]) -> Iterator[dict[str, Any]]:
        for key, record in self._records.items():
            if key not in present:
                yield _written(key, record)

    def load(self, document: object, now: float) -> None:
        """Remember what an earlier process wrote, as far as it can be read and is not too old."""
        try:
            assert isinstance(document, dict)
            age = max(now - float(document["saved"]), 0.0)
            found = dict(map(_read, document["peers"]))
        except (AssertionError, KeyError, TypeError, ValueError):
            return
        for key, record in found.items():
            until = min(record.until, now - age + EXPIRES)
            if now < until:
                self._records[key] = record._replace(until=until)


def _here(present: Mapping[PeerKey, PeerHealth], now: float) -> Iterator[dict[str, Any]]:
    for key, health in present.items():
        counters = health.counters
        if counters.state is not State.HEALTHY:
            record = Record(now + EXPIRES, counters.state, counters.counts, tuple(health.transitions or ()))
            yield _written(key, record)


def _written(key: PeerKey, record: Record) -> dict[str, Any]:
    upstream, target, host, port = key
    last = record.transitions[-1] if record.transitions else None
    return {
        "upstream": upstream,
        "target": target,
        "host": host,
        "port": port,
        "state": record.state.value,
        "counts": {counter.value: count for counter, count in record.counts.items()},
        "since": None if last is None else last.at,
        "by": None if last is None else last.source.value,
        "until": record.until,
    }


def _read(row: Mapping[str, Any]) -> tuple[PeerKey, Record]:
    """:raise ValueError, KeyError, TypeError: that is no row of ours."""
    state = State(row["state"])
    counts = {Counter(name): int(count) for name, count in row["counts"].items()}
    healthy = state in (State.HEALTHY, State.MOSTLY_HEALTHY)
    transitions = (
        () if row["since"] is None else (Transition(float(row["since"]), healthy, Source(row["by"]), counts, ()),)
    )
    key = str(row["upstream"]), str(row["target"]), str(row["host"]), int(row["port"])
    return key, Record(float(row["until"]), state, counts, transitions)
