"""What clients ask about entities as such: schemas, documents that are only looked at, tags."""

from __future__ import annotations

from typing import Any

import pytest
from admin_api import NOBODY, AdminApi

from twisted_kong.model.entities import COLLECTIONS

PUBLISHED = sorted(COLLECTIONS.keys() - {"target_history"})


# Schemas


@pytest.mark.parametrize("name", PUBLISHED)
def test_schema(api: AdminApi, name: str) -> None:
    """Every kind of entity tells its fields, one by one, and the rules between them."""
    found = api.get(f"/schemas/{name}")
    assert {"id", "created_at", "tags"} <= {field for row in found["fields"] for field in row}
    assert isinstance(found["entity_checks"], list)


@pytest.mark.parametrize("name", ["nope", "target_history"])
@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("POST", "/validate")])
def test_schema_of_nothing(api: AdminApi, name: str, method: str, end: str) -> None:
    """What no client can write has no schema."""
    answer = api.json(method, f"/schemas/{name}{end}", {})
    assert (answer.status, answer.json) == (404, {"message": f"No entity named '{name}'"})


def test_schema_of_a_plugin(api: AdminApi) -> None:
    """A plugin tells what it has beyond others, by its own name."""
    names = {field for row in api.get("/schemas/plugins/key-auth")["fields"] for field in row}
    assert "config" in names
    assert "instance_name" not in names
    answer = api.request("GET", "/schemas/plugins/nope")
    assert (answer.status, answer.json) == (404, {"message": "No plugin named 'nope'"})


# Documents that are only looked at


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("services", {"host": "a.test", "client_certificate": None}),
        ("routes", {"paths": ["/a"], "service": {"id": NOBODY}}),
        ("targets", {"target": "a.test", "upstream": {"id": NOBODY}}),
        ("plugins", {"name": "key-auth"}),
        ("keyauth_credentials", {"consumer": {"id": NOBODY}}),
        ("apis", {"name": "a", "hosts": ["a.test"], "upstream_url": "http://a.test"}),
    ],
)
def test_sound(api: AdminApi, name: str, document: object) -> None:
    """A sound document is told so; nothing is looked up, and nothing is stored."""
    before = api.store.snapshot()
    answer = api.json("POST", f"/schemas/{name}/validate", document)
    assert (answer.status, answer.json) == (200, {"message": "schema validation successful"})
    assert api.store.snapshot() is before


def test_taken_is_sound(api: AdminApi) -> None:
    """That a name or an id is taken does not matter."""
    made = api.create("/services", name="s", host="a.test")
    assert api.json("POST", "/schemas/services/validate", made).status == 200


@pytest.mark.parametrize(
    ("name", "document", "fields"),
    [
        ("services", {}, {"host": "required field missing"}),
        ("routes", {"paths": ["/a"], "service": {"name": "s"}}, {"service": {"id": "missing primary key"}}),
        ("plugins", {}, {"name": "required field missing"}),
        (
            "targets",
            {"target": "a b", "upstream": {"id": NOBODY}},
            {"target": "Invalid target ('a b'); not a valid hostname or ip address"},
        ),
        ("certificates", {}, {"cert": "required field missing", "key": "required field missing"}),
    ],
)
def test_unsound(api: AdminApi, name: str, document: object, fields: object) -> None:
    """The faults of a document are those that storing it would tell."""
    answer = api.json("POST", f"/schemas/{name}/validate", document)
    assert (answer.status, answer.json["code"], answer.json["fields"]) == (400, 2, fields)


# Tags


@pytest.fixture
def tagged(api: AdminApi) -> list[dict[str, str]]:
    """The rows of what bears tags: two services, an upstream and its target."""
    api.create("/upstreams", name="u", tags=["x"])
    api.create("/services", name="plain", host="a.test")
    found = []
    for path, collection, tags, document in (
        ("/services", "services", ["y", "x"], {"host": "a.test"}),
        ("/services", "services", ["日本"], {"host": "a.test"}),
        ("/upstreams/u/targets", "targets", ["z"], {"target": "a.test"}),
    ):
        made = api.create(path, tags=tags, **document)
        found += [{"tag": tag, "entity_name": collection, "entity_id": made["id"]} for tag in tags]
    found.append({"tag": "x", "entity_name": "upstreams", "entity_id": api.get("/upstreams/u")["id"]})
    return sorted(found, key=lambda row: (row["entity_id"], row["tag"]))


def test_tags(api: AdminApi, tagged: Any) -> None:
    """Every tag of every entity is a row, in the order of the entities."""
    assert api.get("/tags") == {"data": tagged, "next": None}


@pytest.mark.parametrize(("path", "tag"), [("x", "x"), ("%E6%97%A5%E6%9C%AC", "日本"), ("nobody", "nobody")])
def test_tag(api: AdminApi, tagged: Any, path: str, tag: str) -> None:
    """A tag is a list of who bears it."""
    assert api.get(f"/tags/{path}") == {"data": [row for row in tagged if row["tag"] == tag], "next": None}


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("path", ["/tags", "/tags/x"])
def test_pages_of_tags(api: AdminApi, tagged: Any, path: str, size: int) -> None:
    """Pages have every row once, whether or not they end between the tags of one entity."""
    expected = api.get(path)["data"]
    found = []
    following = f"{path}?size={size}"
    while following:
        assert following.startswith(f"{path}?")
        page = api.get(following)
        assert len(page["data"]) <= size
        found += page["data"]
        following = page["next"]
    assert found == expected


def test_a_filter_by_tags_is_no_matter_here(api: AdminApi, tagged: Any) -> None:
    """Lists of tags know no filter by tags, not even a malformed one."""
    assert api.get("/tags?tags=nobody")["data"] == api.get("/tags?tags=")["data"] == tagged


def test_tags_are_written_with_their_entities(api: AdminApi) -> None:
    """Nobody writes a tag alone."""
    answer = api.json("POST", "/tags", {"tag": "x"})
    assert (answer.status, answer.json["code"], list(answer.json["fields"])) == (400, 2, ["tags"])
    assert api.request("DELETE", "/tags").status == api.request("PUT", "/tags/x").status == 405
    assert api.request("GET", "/tags/%ff").status == 400
