"""The large configuration of the benchmark: that the gateway finds in its database what was put there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import large, scale
from benchmarks.campaign import Results
from benchmarks.scale import Cost, Question, Report
from twisted_kong.store import rows
from twisted_kong.store.sql import make_engine

SIZE = large.Size(targets=300, routes=30, services=3)


def test_database(tmp_path: Path) -> None:
    """The database holds the configuration as it was made, and of each target an entry in the history."""
    configuration = large.make(SIZE, 80)
    large.write(configuration, tmp_path / "kong.sqlite")
    engine = make_engine(tmp_path / "kong.sqlite")
    with engine.begin() as connection:
        snapshot = rows.read(connection)
    engine.dispose()
    made = configuration.entities()
    assert [snapshot.get(each.collection, each.id) for each in made] == list(made)
    assert (len(snapshot.targets), len(snapshot.routes), len(snapshot.services)) == (300, 30, 3)
    assert len(snapshot.all("target_history")) == 300


def test_addresses() -> None:
    """Every target is another address of the loopback."""
    addresses = {target.host for target in large.make(SIZE, 80).targets}
    assert len(addresses) == SIZE.targets
    assert all(address.startswith("127.") and not address.startswith("127.0.") for address in addresses)


@pytest.mark.parametrize(("bound", "missed"), [(2.0, False), (1.9, True), (None, False)])
def test_missed(bound: float | None, missed: bool) -> None:
    """A bound is missed by the median, not by one bad turn."""
    assert Cost(Question("x", bound, lambda turn: None), [1, 2, 99]).missed == missed


def test_table() -> None:
    """The table tells the median, the worst, the bound and whether it was missed."""
    cost = Cost(Question("GET it", 1.0, lambda turn: None), [1, 2, 99])
    assert "| GET it MISSED |            2.0 |  99.0 |     1 |" in scale.cost_table([cost])


def test_report() -> None:
    """A report tells how much there was, what everything cost, the start and the memory; a late start is a miss."""
    cost = Cost(Question("GET it", 10.0, lambda turn: None), [1, 2, 99])
    report = Report(SIZE, [cost], startup=2.04, processor=1.9, memory=(100 << 20, 110 << 20))
    assert report.title == "300 targets in one upstream, 30 routes, services: 3"
    assert "| GET it |" in report.text()
    assert "Start-up: 2.0 s to the first answer, 1.9 s of processor\n" in report.text()
    assert report.text().endswith("Resident memory: 100 MiB after the start, 110 MiB in the end")
    assert not report.missed
    assert json.loads(json.dumps(report.document()))["samples"] == {"GET it": [1, 2, 99]}
    late = replace(report, processor=scale.STARTUP + 1)
    assert late.missed
    assert "6.0 s of processor MISSED" in late.text()


@pytest.mark.parametrize(("samples", "failed"), [([9.0], False), ([11.0], True)])
def test_missing_a_bound_fails_the_run(samples: list[float], failed: bool) -> None:
    """A benchmark in which a change or a page cost more than it may has failed as a whole."""
    costs = [Cost(Question("GET it", 10.0, lambda turn: None), samples)]
    assert Results(scale=Report(SIZE, costs, 1.0, 1.0, (0, 0))).failed == failed
