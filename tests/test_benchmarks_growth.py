"""What the benchmark of growth makes of its figures, and the declarative files that it reloads."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from benchmarks import reloaded
from benchmarks.growth import Growth, connection_table
from benchmarks.measure import Memory
from twisted_kong.model.declarative.expansion import expand
from twisted_kong.model.schema import Schema


@pytest.mark.parametrize(
    ("after", "failures", "missed"),
    [(101 << 20, [], False), (103 << 20, [], True), (99 << 20, [], False), (100 << 20, ["GET /1/: 502"], True)],
)
def test_missed(after: int, failures: list[str], missed: bool) -> None:
    """Two percent are allowed, and not one failure."""
    assert Growth(100, 100 << 20, after, 7, failures).missed == missed


def test_growth() -> None:
    """The memory, the requests and the bound are told."""
    assert Growth(100, 100 << 20, 103 << 20, 1234, ["GET /1/: 502"]).text().splitlines() == [
        "Resident memory: 100.0 MiB before, 103.0 MiB after",
        "Requests meanwhile: 1,234, 1 of them FAILED, the first: GET /1/: 502",
        "Bound: growth in 100 reloads at most 2.00 %: 3.00 % MISSED",
    ]


def test_connections() -> None:
    """A row for each number of connections; one that lost some is marked."""
    text = connection_table([Memory(0, 4096 << 10, 1000, 1000), Memory(0, 1 << 20, 9, 10)])
    cells = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines()[2:]]
    assert cells == [["1,000", "4.10"], ["10 (FAILED: kept 9 open)", "102.40"]]


def test_documents() -> None:
    """Every document is sound; from one to the next a tenth of the targets and one upstream in fifty are others."""
    turns: list[Any] = [json.loads(reloaded.document(turn, 80)) for turn in range(12)]
    assert len(expand(Schema(), turns[0], now=1.0)) == reloaded.UPSTREAMS * (reloaded.TARGETS + 3)
    for before, after in pairwise(turns):
        names = [{each["name"] for each in turn["upstreams"]} for turn in (before, after)]
        targets = [{one["target"] for each in turn["upstreams"] for one in each["targets"]} for turn in (before, after)]
        assert (len(names[1]), len(names[1] - names[0])) == (500, 10)
        assert (len(targets[1]), len(targets[1] - targets[0])) == (5000, 500)
