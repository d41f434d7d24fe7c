"""What holds for every kind of entity: its collection, one of it, children and parents."""

from __future__ import annotations

from typing import Any

import pytest
from admin_api import NOBODY, NOT_FOUND, AdminApi

MISSING = {"id": "B0A3B4C5-0000-4000-8000-00000000000F"}


@pytest.fixture
def s(api: AdminApi) -> Any:
    """A service called s."""
    return api.create("/services", name="s", host="a.test")


@pytest.fixture
def r(api: AdminApi, s: Any) -> Any:
    """A route of s, called r."""
    return api.create("/services/s/routes", name="r", paths=["/a"])


@pytest.mark.parametrize("key", ["id", "name"])
def test_found_by_id_and_by_name(api: AdminApi, s: Any, key: str) -> None:
    """An entity is found by its id in either case, and by its name."""
    assert api.get(f"/services/{s[key]}") == api.get(f"/services/{s['id'].upper()}") == s


def test_found_by_an_encoded_name(api: AdminApi) -> None:
    """A name in a path is percent-decoded once."""
    made = api.create("/services", name="日本", host="a.test")
    assert api.get("/services/%E6%97%A5%E6%9C%AC") == made
    assert api.request("GET", "/services/%25E6").status == 400


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_key_that_cannot_be(api: AdminApi, method: str) -> None:
    """A key that could never be a name is refused, not merely unknown."""
    answer = api.request(method, "/upstreams/1.2.3.4")
    assert (answer.status, answer.json["code"]) == (400, 10)
    assert answer.json["message"] == "Invalid name ('1.2.3.4'); no ip addresses allowed"


@pytest.mark.parametrize("key", [{"name": "nobody"}, {"id": NOBODY}])
def test_nobody(api: AdminApi, key: dict[str, str]) -> None:
    """GET of nobody is plainly lost, PATCH tells the key, DELETE finds its work done."""
    (text,) = key.values()
    path = f"/services/{text}"
    answers = api.request("GET", path), api.json("PATCH", path, {}), api.request("DELETE", path)
    assert [answer.status for answer in answers] == [404, 404, 204]
    assert answers[0].json == NOT_FOUND
    assert (answers[1].json["code"], answers[1].json["fields"]) == (6, key)


def test_taken_id(api: AdminApi, s: Any) -> None:
    """An id is given once."""
    answer = api.json("POST", "/services", {"id": s["id"].upper(), "host": "b.test"})
    assert (answer.status, answer.json["code"], answer.json["fields"]) == (400, 3, {"id": s["id"]})
    assert api.get("/services")["data"] == [s]


def test_put_creates_and_replaces(api: AdminApi) -> None:
    """PUT creates under the key of its path, and replaces what is there; its answer is the same."""
    for port in (1, 2):
        answer = api.json("PUT", f"/services/{NOBODY}", {"id": MISSING["id"], "host": "a.test", "port": port})
        assert (answer.status, answer.json["id"], answer.json["port"]) == (200, NOBODY, port)
    for port in (1, 2):
        answer = api.json("PUT", "/services/s", {"name": "other", "host": "a.test", "port": port})
        assert (answer.status, answer.json["name"], answer.json["port"]) == (200, "s", port)
    assert len(api.get("/services")["data"]) == 2


def test_put_resets_and_patch_keeps(api: AdminApi, s: Any) -> None:
    """PUT starts from the defaults, PATCH from what is there."""
    assert api.form("PATCH", "/services/s", "retries=9&tags=a").json["retries"] == 9
    assert api.form("PATCH", "/services/s", "tags=b").json["retries"] == 9
    assert api.form("PUT", "/services/s", "host=b.test").json == {**s, "host": "b.test"}


def test_refused_change(api: AdminApi, s: Any) -> None:
    """A refused change changes nothing."""
    assert api.json("PATCH", "/services/s", {"retries": -1}).status == 400
    assert api.json("PUT", "/services/s", {}).status == 400
    assert api.get("/services/s") == s


def test_delete_with_children(api: AdminApi, r: Any) -> None:
    """A service stays while routes refer to it."""
    answer = api.request("DELETE", "/services/s")
    assert (answer.status, answer.json["fields"]) == (400, {"@referenced_by": "routes"})
    assert api.request("DELETE", "/routes/r").status == api.request("DELETE", "/services/s").status == 204


# References by name


@pytest.mark.parametrize("text", ["paths=/a&service.name=s", "paths=/a&service[name]=s"])
def test_reference_by_name(api: AdminApi, s: Any, text: str) -> None:
    """A reference may name its entity."""
    assert api.form("POST", "/routes", text).json["service"] == {"id": s["id"]}


def test_reference_to_an_unknown_name(api: AdminApi) -> None:
    """What a reference names must be there."""
    answer = api.json("POST", "/routes", {"paths": ["/a"], "service": {"name": "nobody"}})
    reason = "the foreign key cannot be resolved with '{name=\"nobody\"}' for an existing 'services' entity"
    assert (answer.status, answer.json["code"]) == (400, 13)
    assert answer.json["fields"] == {"service": {"name": reason}}


@pytest.mark.parametrize("service", [1, "s", ["s"], {}, {"name": 1}, {"host": "a.test"}, {"name": "s", "x": 1}])
def test_reference_that_cannot_be(api: AdminApi, s: Any, service: object) -> None:
    """What is neither an id nor a name is refused by field."""
    answer = api.json("POST", "/routes", {"paths": ["/a"], "service": service})
    assert (answer.status, answer.json["code"], list(answer.json["fields"])) == (400, 2, ["service"])


def test_reference_to_an_unknown_id(api: AdminApi) -> None:
    """What a reference points at must be there."""
    answer = api.json("POST", "/routes", {"paths": ["/a"], "service": {"id": NOBODY}})
    assert (answer.status, answer.json["code"], answer.json["fields"]) == (400, 4, {"service": {"id": NOBODY}})


# Children


@pytest.mark.parametrize("key", ["id", "name"])
def test_child_of_the_path(api: AdminApi, s: Any, key: str) -> None:
    """The parent in the path wins over the one in the document, in every way to write a child."""
    other = api.create("/services", name="t", host="b.test")
    path, document = f"/services/{s[key]}/routes", {"paths": ["/a"], "service": {"id": other["id"]}}
    made = api.create(path, name="r", **document)
    for answer in (
        api.json("PATCH", f"{path}/r", document),
        api.json("PUT", f"{path}/r", document),
        api.json("PUT", f"{path}/new", document),
    ):
        assert (answer.status, answer.json["service"]) == (200, {"id": s["id"]})
    assert {row["name"] for row in api.get(path)["data"]} == {"r", "new"}
    assert api.get(f"{path}/{made['id']}") == api.get("/routes/r")


def test_parent_in_the_document_need_not_exist(api: AdminApi, s: Any) -> None:
    """Below a parent, nobody looks at the parent that the document names."""
    made = api.create("/services/s/routes", paths=["/a"], service={"name": "nobody"})
    assert made["service"] == {"id": s["id"]}


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/services/t/routes/r", "/services/nobody/routes/r"])
def test_child_of_another(api: AdminApi, r: Any, method: str, path: str) -> None:
    """A child is not found below another parent, nor below nobody."""
    api.create("/services", name="t", host="b.test")
    answer = api.json(method, path, {"paths": ["/b"]})
    assert (answer.status, answer.json) == (404, NOT_FOUND)
    assert api.get("/routes")["data"] == [r]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_no_such_child(api: AdminApi, s: Any, method: str) -> None:
    """Below a parent, a child that is not there is lost for DELETE and PATCH, too."""
    answer = api.json(method, "/services/s/routes/nobody", {})
    assert (answer.status, answer.json) == (404, NOT_FOUND)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_children_of_nobody(api: AdminApi, method: str) -> None:
    """A list of children needs the parent."""
    answer = api.json(method, "/services/nobody/routes", {"paths": ["/a"]})
    assert (answer.status, answer.json) == (404, NOT_FOUND)


# Parents


def test_parent(api: AdminApi, s: Any, r: Any) -> None:
    """A route leads to its service, which is read, patched and replaced there, but not deleted."""
    path = "/routes/r/service"
    assert api.get(path) == s
    assert api.json("PATCH", path, {"retries": 9}).json == {**s, "retries": 9}
    assert api.json("PUT", path, {"host": "b.test"}).json == {**s, "name": None, "host": "b.test"}
    assert api.request("DELETE", path).status == 405
    assert len(api.get("/services")["data"]) == 1


def test_parent_of_an_orphan(api: AdminApi) -> None:
    """A route without a service leads nowhere, until one is put there."""
    api.create("/routes", name="r", paths=["/a"])
    for method in ("GET", "PATCH", "DELETE"):
        assert api.json(method, "/routes/r/service", {}).json == NOT_FOUND
    made = api.json("PUT", "/routes/r/service", {"host": "a.test"})
    assert made.status == 200
    assert api.get("/routes/r")["service"] == {"id": made.json["id"]}


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_parent_of_nobody(api: AdminApi, method: str) -> None:
    """An unknown route leads nowhere."""
    answer = api.json(method, "/routes/nobody/service", {"host": "a.test"})
    assert (answer.status, answer.json) == (404, NOT_FOUND)
    assert api.get("/services")["data"] == []
