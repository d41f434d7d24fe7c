"""What clients of Kong 0.10 ask of targets: who is active, and every entry there was."""

from __future__ import annotations

from typing import Any

import pytest
from admin_api import NOT_FOUND, AdminApi

TARGETS = "/upstreams/u/targets"


@pytest.fixture(autouse=True)
def u(api: AdminApi) -> Any:
    """An upstream called u."""
    return api.create("/upstreams", name="u")


def history(api: AdminApi) -> list[tuple[str, int]]:
    return [(row["target"], row["weight"]) for row in api.get(f"{TARGETS}/history")["data"]]


def test_active(api: AdminApi) -> None:
    """The active targets are those with a weight, from the last in the alphabet to the first, and counted."""
    rows = [api.create(TARGETS, target=f"{name}:80", weight=weight) for name, weight in (("a", 1), ("b", 0), ("c", 2))]
    assert api.get(f"{TARGETS}/active") == {"data": [rows[2], rows[0]], "total": 2}


def test_nobody_active(api: AdminApi) -> None:
    """Without active targets the list is empty."""
    assert api.get(f"{TARGETS}/active") == {"data": [], "total": 0}


def test_every_way_to_write(api: AdminApi) -> None:
    """Every write of a target is an entry: each way to change it, its deletion with weight 0, the newest first."""
    api.create(TARGETS, target="a:80", weight=1)
    api.create(TARGETS, target="a:80", weight=2)
    for method, weight in (("PATCH", 3), ("PUT", 4)):
        assert api.json(method, f"{TARGETS}/a", {"weight": weight}).status == 200
    assert api.request("DELETE", f"{TARGETS}/a").status == 204
    assert history(api) == [("a:80", weight) for weight in (0, 4, 3, 2, 1)]


def test_moved(api: AdminApi) -> None:
    """A target that moves leaves its old address without a weight."""
    api.create(TARGETS, target="a:80", weight=1)
    assert api.json("PATCH", f"{TARGETS}/a", {"target": "b:80"}).json["weight"] == 1
    assert history(api) == [("b:80", 1), ("a:80", 0), ("a:80", 1)]


def test_refused(api: AdminApi) -> None:
    """What is refused leaves no entry."""
    api.create(TARGETS, target="a:80")
    api.create(TARGETS, target="b:80")
    assert api.json("POST", TARGETS, {"target": "a:80", "weight": -1}).status == 400
    assert api.json("PATCH", f"{TARGETS}/a", {"target": "b:80"}).status == 409
    assert api.request("DELETE", f"{TARGETS}/nobody").status == 404
    assert len(history(api)) == 2


def test_entry(api: AdminApi, u: Any) -> None:
    """An entry tells the target, its upstream, its weight, and the moment to the millisecond."""
    api.clock.advance(0.25)
    target = api.create(TARGETS, target="a", weight=7)
    (entry,) = api.get(f"{TARGETS}/history")["data"]
    assert (entry["target"], entry["weight"], entry["upstream"]) == ("a:8000", 7, {"id": u["id"]})
    assert entry["created_at"] == target["updated_at"] == 1_700_000_000.25
    assert entry["id"] != target["id"]


def test_pages(api: AdminApi) -> None:
    """The history comes in pages like the targets, in its own order even where the clock stood still."""
    for weight in range(5):
        api.create(TARGETS, target="a:80", weight=weight)
    page = api.get(f"{TARGETS}/history?size=3")
    assert page["next"] == f"{TARGETS}/history?offset=3"
    rows = page["data"] + api.get(page["next"])["data"]
    assert [row["weight"] for row in rows] == [4, 3, 2, 1, 0]


def test_cleaning(api: AdminApi) -> None:
    """The write that finds ten old entries of one target clears them away, in the change that it makes itself."""
    for weight in range(1, 12):
        api.create(TARGETS, target="a:80", weight=weight)
    generation = api.store.snapshot().generation
    api.create(TARGETS, target="a:80", weight=12)
    assert history(api) == [("a:80", 12), ("a:80", 11)]
    assert api.store.snapshot().generation == generation + 1


@pytest.mark.parametrize("path", ["active", "history"])
def test_read_only(api: AdminApi, path: str) -> None:
    """Both are only read, and only below an upstream."""
    allowed = api.request("OPTIONS", f"{TARGETS}/{path}").headers["Allow"]
    assert allowed == "GET, HEAD, OPTIONS"
    assert api.request("GET", f"/upstreams/nobody/targets/{path}").json == NOT_FOUND
