"""What changes and pages cost where the configuration is large: counted in calls of functions, which no other program
on the machine can disturb. What that comes to in time is for `benchmarks.scale` to measure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from admin_api import AdminApi

from benchmarks import large
from twisted_kong.model.changes import Change

FEW, MANY = 200, 2000
SPREAD = 400
"""Calls that may differ: what grows with the logarithm of how much there is, such as the search for a page."""


class Large:
    """An Admin API over so many targets in one upstream and so many routes of one service."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.made = large.make(large.Size(size, size), 80)
        self.api = AdminApi()
        _ = self.api.store.apply(Change(self.made.entities()))
        self.upstream = f"/upstreams/{self.made.upstream.id}"
        self.service = f"/services/{self.made.services[0].id}"

    def patch(self, path: str, **fields: object) -> int:
        """What a PATCH costs; the one before it has made whatever is made once."""
        assert self.api.json("PATCH", path, {"tags": ["warm"]}).status == 200
        return calls(lambda: self.api.json("PATCH", path, fields).status, 200)

    def get(self, path: str) -> int:
        """What a GET costs."""
        self.api.get(path)
        return calls(lambda: self.api.request("GET", path).status, 200)


def calls(work: Callable[[], int], expected: int) -> int:
    """How many functions are called, and generators resumed, while ``work`` returns what is ``expected``."""
    found = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = work()
    finally:
        sys.setprofile(before)
    assert result == expected
    return found


@pytest.fixture(name="few", scope="module")
def make_few() -> Large:
    return Large(FEW)


@pytest.fixture(name="many", scope="module")
def make_many() -> Large:
    return Large(MANY)


CONSTANT: dict[str, Callable[[Large], int]] = {
    "PATCH a service": lambda one: one.patch(one.service, read_timeout=7),
    "PATCH a route's host, by name": lambda one: one.patch(f"/routes/{one.made.routes[1].name}", hosts=["moved.test"]),
    "GET routes": lambda one: one.get("/routes"),
    "GET routes of a service": lambda one: one.get(f"{one.service}/routes"),
    "GET all targets": lambda one: one.get(f"{one.upstream}/targets/all"),
    "GET a route": lambda one: one.get(f"/routes/{one.made.routes[2].id}"),
}


@pytest.mark.parametrize("cost", CONSTANT.values(), ids=CONSTANT)
def test_independent_of_how_much_there_is(few: Large, many: Large, cost: Callable[[Large], int]) -> None:
    """Nothing is done for every route or target there is."""
    assert abs(cost(many) - cost(few)) < SPREAD


PROPORTIONAL: dict[str, tuple[float, Callable[[Large], int]]] = {
    "PATCH a route": (1, lambda one: one.patch(f"/routes/{one.made.routes[0].id}", paths=["/moved"])),
    "PATCH a target": (8, lambda one: one.patch(f"{one.upstream}/targets/{one.made.targets[0].id}", weight=7)),
    "PATCH the upstream": (8, lambda one: one.patch(one.upstream, slots=1000)),
    "GET targets": (1, lambda one: one.get(f"{one.upstream}/targets")),
    "GET routes with a tag": (2, lambda one: one.get("/routes?tags=rare")),
    "GET tags": (1, lambda one: one.get("/tags")),
    "GET the entities with a tag": (1, lambda one: one.get("/tags/common")),
}
"""How many calls each target or route may cost, where all of them have to be looked at."""


@pytest.mark.parametrize(("each", "cost"), PROPORTIONAL.values(), ids=PROPORTIONAL)
def test_little_for_each(few: Large, many: Large, each: float, cost: Callable[[Large], int]) -> None:
    """What has to look at every target or route does next to nothing with it."""
    assert cost(many) - cost(few) <= each * (MANY - FEW) + SPREAD
