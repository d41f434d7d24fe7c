"""The targets of an upstream: posted again, found, changed, deleted."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from admin_api import NOBODY, NOT_FOUND, AdminApi

TARGETS = "/upstreams/u/targets"


@pytest.fixture
def u(api: AdminApi) -> Any:
    """An upstream called u."""
    return api.create("/upstreams", name="u")


@pytest.fixture
def t(api: AdminApi, u: Any) -> Any:
    """A target of u."""
    return api.create(TARGETS, target="green-1:8000", weight=10, tags=["a"])


@pytest.mark.parametrize("again", ["green-1:8000", "green-1"])
def test_posted_again(api: AdminApi, t: Any, again: str) -> None:
    """A target posted again, in whatever spelling, is the same one with its newest weight and tags."""
    api.clock.advance(1.5)
    made = api.create(TARGETS, target=again, weight=20)
    assert made == {**t, "weight": 20, "tags": None, "updated_at": t["updated_at"] + 1.5}
    assert api.get(TARGETS)["data"] == [made]


def test_posted_again_with_another_id(api: AdminApi, t: Any) -> None:
    """A target keeps its id, whatever id it is posted with."""
    assert api.create(TARGETS, id=NOBODY, target="green-1")["id"] == t["id"]


def test_posted_with_a_taken_id(api: AdminApi, t: Any) -> None:
    """Another target cannot have an id that is given away."""
    answer = api.json("POST", TARGETS, {"id": t["id"], "target": "green-2"})
    assert (answer.status, answer.json["code"]) == (400, 3)


def test_refused_repetition(api: AdminApi, t: Any) -> None:
    """A refused repetition changes nothing."""
    assert api.json("POST", TARGETS, {"target": "green-1", "weight": -1}).status == 400
    assert api.get(TARGETS)["data"] == [t]


def test_letter_case(api: AdminApi, t: Any) -> None:
    """Targets are compared with letter case."""
    assert api.create(TARGETS, target="Green-1")["id"] != t["id"]


def test_malformed_target(api: AdminApi, u: Any) -> None:
    """A malformed target is told before anything else is looked at."""
    answer = api.json("POST", TARGETS, {"target": "a b", "weight": -1, "foo": 1})
    assert (answer.status, answer.json["fields"]) == (
        400,
        {"target": "Invalid target; not a valid hostname or ip address"},
    )


@pytest.mark.parametrize("target", [12, True, ["a:80"], {"a": 1}, None, ""])
def test_target_that_is_no_text(api: AdminApi, u: Any, target: object) -> None:
    """A target that is no text is refused by field."""
    answer = api.json("POST", TARGETS, {"target": target})
    assert (answer.status, answer.json["code"], list(answer.json["fields"])) == (400, 2, ["target"])


@pytest.mark.parametrize(
    ("stored", "keys"),
    [
        ("green-1", ["green-1:8000", "green-1", "green-1%3A8000"]),
        ("1.2.3.4:80", ["1.2.3.4:80", "1.2.3.4", "1.2.3.04:80"]),
        ("[::1]:80", ["[::1]:80", "::1", "[::1]", "[0:0:0:0:0:0:0:1]:80"]),
    ],
)
def test_found(api: AdminApi, u: Any, stored: str, keys: list[str]) -> None:
    """A target is found by its id, by host and port, and by its host alone, however these are spelled."""
    made = api.create(TARGETS, target=stored)
    for key in [*keys, made["id"], made["id"].upper(), quote(made["target"], safe="")]:
        assert api.get(f"{TARGETS}/{key}") == made


@pytest.mark.parametrize("key", [NOBODY, "green-1:80", "green-2", "green-1:x", "a%20b", "Green-1"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_not_found(api: AdminApi, t: Any, method: str, key: str) -> None:
    """What is not there is lost for every method; nothing is created."""
    answer = api.json(method, f"{TARGETS}/{key}", {"target": "green-2", "weight": 1})
    assert (answer.status, answer.json) == (404, NOT_FOUND)
    assert api.get(TARGETS)["data"] == [t]


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_target_of_another_upstream(api: AdminApi, t: Any, method: str) -> None:
    """A target is found below its own upstream only."""
    api.create("/upstreams", name="v")
    for key in (t["id"], t["target"]):
        assert api.json(method, f"/upstreams/v/targets/{key}", {"weight": 1}).status == 404
    assert api.get(TARGETS)["data"] == [t]


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_host_that_several_have(api: AdminApi, t: Any, method: str) -> None:
    """A host that several targets have names none of them; the answer tells which there are."""
    other = api.create(TARGETS, target="green-1:9000")
    answer = api.json(method, f"{TARGETS}/green-1", {"weight": 1})
    assert answer.status == 409
    assert "green-1:8000, green-1:9000" in answer.json["message"]
    assert {row["weight"] for row in api.get(TARGETS)["data"]} == {t["weight"], other["weight"]}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_change(api: AdminApi, t: Any, method: str) -> None:
    """PUT changes what it names and nothing else, as PATCH does; the upstream stays that of the path."""
    api.clock.advance(0.25)
    other = api.create("/upstreams", name="v")
    answer = api.json(method, f"{TARGETS}/green-1", {"weight": 0, "upstream": {"id": other["id"]}})
    assert (answer.status, answer.json) == (200, {**t, "weight": 0, "updated_at": t["updated_at"] + 0.25})


def test_change_to_a_taken_address(api: AdminApi, t: Any, u: Any) -> None:
    """A target cannot move onto another."""
    api.create(TARGETS, target="green-2")
    answer = api.json("PATCH", f"{TARGETS}/green-1", {"target": "green-2:8000"})
    assert (answer.status, answer.json["fields"]) == (409, {"target": "green-2:8000", "upstream": {"id": u["id"]}})


def test_delete(api: AdminApi, t: Any) -> None:
    """A target is deleted once."""
    assert [api.request("DELETE", f"{TARGETS}/green-1").status for _ in range(2)] == [204, 404]


def test_all(api: AdminApi, t: Any) -> None:
    """The raw list has them in the order of their ids, and stays below its path."""
    rows = [t, *(api.create(TARGETS, target=f"a:{port}") for port in range(3))]
    page = api.get(f"{TARGETS}/all?size=3")
    assert page["next"].startswith(f"{TARGETS}/all?offset=")
    found = [row["id"] for row in page["data"] + api.get(page["next"])["data"]]
    assert found == sorted(row["id"] for row in rows)


def test_gone_with_their_upstream(api: AdminApi, t: Any) -> None:
    """Targets go with their upstream."""
    assert api.request("DELETE", "/upstreams/u").status == 204
    assert api.request("GET", TARGETS).status == 404
    api.create("/upstreams", name="u")
    assert api.get(TARGETS)["data"] == []
