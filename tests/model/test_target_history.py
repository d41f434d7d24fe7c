from __future__ import annotations

from itertools import count
from typing import cast

from entity_making import SCHEMA
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.model import history
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Target, TargetEntry, Upstream
from twisted_kong.model.snapshot import EMPTY, Snapshot

UPSTREAM = SCHEMA.build(Upstream, {"name": "u"}, now=1)
OTHER = SCHEMA.build(Upstream, {"name": "v"}, now=1)


class Writer:
    """Writes targets as the Admin API does: each at a moment of its own, or all at the same."""

    def __init__(self, step: float = 1) -> None:
        self.snapshot: Snapshot = EMPTY.with_change(Change((UPSTREAM, OTHER)))
        self._now = count(1000, step)

    def post(self, text: str, weight: int, upstream: Upstream = UPSTREAM) -> None:
        now = next(self._now)
        there = self.snapshot.find_unique("targets", target=text, upstream=upstream.id)
        data = {"target": text, "weight": weight, "upstream": {"id": upstream.id}, "id": there and there.id}
        target = SCHEMA.build(Target, data, now=now)
        entry = history.record(self.snapshot, target, now=now)
        self.snapshot = self.snapshot.with_change(Change((target, *entry.puts), entry.deletes))

    def delete(self, text: str) -> None:
        target = self.snapshot.find_unique("targets", target=text, upstream=UPSTREAM.id)
        entry = history.record(self.snapshot, cast(Target, target), now=next(self._now), deleted=True)
        gone = ("targets", cast(Target, target).id)
        self.snapshot = self.snapshot.with_change(Change(entry.puts, (gone, *entry.deletes)))

    def entries(self, upstream: Upstream = UPSTREAM) -> list[tuple[str, int]]:
        found = cast(tuple[TargetEntry, ...], self.snapshot.children("target_history", "upstream", upstream.id))
        return [(entry.target, entry.weight) for entry in found]


def test_every_write_is_an_entry() -> None:
    """Each write leaves the target, its weight and the moment, in their order; a deletion leaves weight 0."""
    writer = Writer()
    for text, weight in (("a:80", 1), ("b:80", 2), ("a:80", 3), ("a:80", 3)):
        writer.post(text, weight)
    writer.delete("a:80")
    assert writer.entries() == [("a:80", 1), ("b:80", 2), ("a:80", 3), ("a:80", 3), ("a:80", 0)]
    entries = writer.snapshot.all("target_history").values()
    assert [entry.created_at for entry in entries] == [1000, 1001, 1002, 1003, 1004]


def test_cleaning() -> None:
    """The write that finds ten times as many inactive entries as targets takes them away, whatever the clock shows."""
    for step in (1, 0, -1):
        writer = Writer(step)
        for weight in range(1, 12):
            writer.post("a:80", weight)
        assert len(writer.entries()) == 11
        writer.post("a:80", 12)
        if step >= 0:
            assert writer.entries() == [("a:80", 11), ("a:80", 12)]


def test_live_targets_stay() -> None:
    """Many writes of one target do not clean the others away, which count against them."""
    writer = Writer()
    for number in range(3):
        writer.post(f"a:{number}", 100)
    for weight in range(31):
        writer.post("a:0", weight + 1)
    assert writer.entries() == [("a:1", 100), ("a:2", 100), ("a:0", 30), ("a:0", 31)]


def test_disabled_targets_are_inactive() -> None:
    """The last entry of a target without weight goes with the others; the target itself stays."""
    writer = Writer()
    for _ in range(11):
        writer.post("a:80", 0)
    assert writer.entries() == [("a:80", 0)]
    assert len(writer.snapshot.targets) == 1


def test_deleted_targets_are_inactive() -> None:
    """What was deleted is forgotten in time, and its upstream takes all entries along."""
    writer = Writer()
    writer.post("b:80", 1)
    for _ in range(5):
        writer.post("a:80", 1)
        writer.delete("a:80")
    writer.post("b:80", 2)
    assert writer.entries() == [("b:80", 1), ("b:80", 2)]
    writer.snapshot = writer.snapshot.with_change(Change(deletes=(("upstreams", UPSTREAM.id),)))
    assert not writer.snapshot.all("target_history")


def test_upstreams_are_cleaned_alone() -> None:
    """Each upstream has a history of its own."""
    writer = Writer()
    writer.post("a:80", 1, OTHER)
    for weight in range(1, 13):
        writer.post("a:80", weight)
    assert writer.entries(OTHER) == [("a:80", 1)]


def test_no_write_cleans_too_much() -> None:
    """One write takes the oldest thousand at most; the next ones take more."""
    writer = Writer()
    for number in range(200):
        writer.post(f"a:{number}", 1)
    writer.snapshot = writer.snapshot.with_change(Change(tuple(entry(number) for number in range(2500))))
    writer.post("a:0", 2)
    assert len(writer.entries()) == 200 + 2500 - 1000 + 1
    assert ("b:80", 1000) in writer.entries()
    assert ("b:80", 900) not in writer.entries()


def entry(number: int) -> TargetEntry:
    data = {"target": "b:80", "weight": number, "upstream": {"id": UPSTREAM.id}}
    return SCHEMA.build(TargetEntry, data, now=1000)


writes = st.tuples(st.sampled_from(["a:1", "a:2", "a:3"]), st.sampled_from([None, 0, 1, 2]))


@given(st.lists(writes, max_size=60))
def test_newest_entries_are_the_targets(steps: list[tuple[str, int | None]]) -> None:
    """The newest entry of a target with a weight is always there; inactive ones never pile up beyond the limit."""
    writer = Writer()
    for text, weight in steps:
        there = writer.snapshot.find_unique("targets", target=text, upstream=UPSTREAM.id)
        if weight is not None:
            writer.post(text, weight)
        elif there:
            writer.delete(text)
        newest = dict(writer.entries())
        weights = {target.target: target.weight for target in writer.snapshot.targets.values()}
        active = {target: weight for target, weight in weights.items() if weight}
        assert active.items() <= newest.items()
        assert all(weight == 0 for target, weight in newest.items() if target not in active)
        assert len(writer.entries()) - len(active) <= 10 * max(len(weights) + 1, 1) + 1
