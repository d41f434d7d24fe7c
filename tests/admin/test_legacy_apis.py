"""``/apis``: the shapes of Kong 0.10, and nothing of them anywhere else."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from admin_api import NOBODY, NOT_FOUND, AdminApi

BODY = {"name": "my-api", "hosts": ["my.api.test"], "upstream_url": "http://api.test"}


@pytest.fixture
def my(api: AdminApi) -> Any:
    """An api called my-api."""
    return api.create("/apis", **BODY)


def test_document(api: AdminApi, my: Any) -> None:
    """What is unset is not told; moments are milliseconds, as everything else of that time is."""
    assert my.keys() == {
        *BODY,
        "id",
        "created_at",
        "updated_at",
        "strip_uri",
        "preserve_host",
        "retries",
        "upstream_connect_timeout",
        "upstream_send_timeout",
        "upstream_read_timeout",
        "https_only",
        "http_if_terminated",
    }
    assert my["created_at"] == 1_700_000_000_000
    assert api.get("/apis/my-api") == my


@pytest.mark.parametrize("path", ["/apis", "/apis/"])
def test_created_by_form(api: AdminApi, path: str) -> None:
    """A form creates an api, lists by commas."""
    answer = api.form(
        "POST", path, "name=a&hosts=a.test, b.test&upstream_url=http://a.test/x&strip_uri=FALSE&retries=1"
    )
    assert answer.status == 201
    assert (answer.json["hosts"], answer.json["strip_uri"], answer.json["retries"]) == (["a.test", "b.test"], False, 1)


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, {"name": "name is required", "upstream_url": "upstream_url is required"}),
        ({**BODY, "retries": -1}, {"retries": "must be an integer between 0 and 32767"}),
        ({**BODY, "request_host": "x"}, {"request_host": "request_host is an unknown field"}),
        ({**BODY, "hosts": ["a:1"]}, {"hosts": "host with value 'a:1' is invalid: Invalid hostname"}),
        ({**BODY, "hosts": None}, {"message": "at least one of 'hosts', 'uris' or 'methods' must be specified"}),
        ({"hosts": [], "name": "a"}, {"upstream_url": "upstream_url is required"}),
    ],
)
def test_refused(api: AdminApi, body: dict[str, Any], told: dict[str, str]) -> None:
    """All faults are told by field and flat; what is wrong with the whole only where nothing else is."""
    answer = api.json("POST", "/apis", body)
    assert (answer.status, answer.json) == (400, told)
    assert api.get("/apis") == {"data": [], "total": 0}


def test_taken(api: AdminApi, my: Any) -> None:
    """A name or an id that is taken is told with its value."""
    answer = api.json("POST", "/apis", BODY)
    assert (answer.status, answer.json) == (409, {"name": "already exists with value 'my-api'"})
    answer = api.json("POST", "/apis", {**BODY, "name": "other", "id": my["id"]})
    assert (answer.status, answer.json) == (409, {"id": f"already exists with value '{my['id']}'"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/apis/my-api", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("DELETE", "/apis", "GET, HEAD, OPTIONS, POST, PUT"),
    ],
)
def test_methods(api: AdminApi, my: Any, method: str, path: str, allowed: str) -> None:
    """An api is not put under its own path, and not all of them are deleted at once."""
    assert api.json(method, path, BODY).status == 405
    assert api.request("OPTIONS", path).headers["Allow"] == allowed


# -- one of them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["nobody", NOBODY, "a b", "日本", "1.2.3.4"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_lost(api: AdminApi, my: Any, method: str, key: str) -> None:
    """Whoever is not there is lost, whatever the method and whatever is asked for."""
    answer = api.json(method, f"/apis/{quote(key)}", {"retries": 1})
    assert (answer.status, answer.json) == (404, NOT_FOUND)


def test_found(api: AdminApi, my: Any) -> None:
    """An api is found by its id, in either case, by its name, and by a name that looks like an id."""
    other = api.create("/apis", **{**BODY, "name": NOBODY})
    assert api.get(f"/apis/{my['id'].upper()}") == my
    assert api.get(f"/apis/{NOBODY}") == other


def test_patch(api: AdminApi, my: Any) -> None:
    """PATCH changes what it names, and reads forms as POST does."""
    api.clock.advance(2)
    answer = api.form("PATCH", "/apis/my-api", "upstream_url=http://green.test/x&uris=/a, /b/")
    changed = {"upstream_url": "http://green.test/x", "uris": ["/a", "/b"], "updated_at": my["updated_at"] + 2000}
    assert (answer.status, answer.json) == (200, {**my, **changed})


def test_patch_with_nothing(api: AdminApi, my: Any) -> None:
    """PATCH with nothing is a mistake."""
    answer = api.json("PATCH", "/apis/my-api", {})
    assert (answer.status, answer.json) == (400, {"message": "empty body"})


def test_patch_may_leave_nothing_to_match(api: AdminApi, my: Any) -> None:
    """Only a new api has to ask for something."""
    assert api.json("PATCH", "/apis/my-api", {"hosts": []}).json["hosts"] == []


@pytest.mark.parametrize(("body", "status"), [({"upstream_url": "x"}, 400), ({"name": "other"}, 409)])
def test_refused_patch(api: AdminApi, my: Any, body: dict[str, str], status: int) -> None:
    """A refused PATCH is told by field and changes nothing."""
    api.create("/apis", **{**BODY, "name": "other"})
    answer = api.json("PATCH", "/apis/my-api", body)
    assert (answer.status, answer.json.keys()) == (status, body.keys())
    assert api.get("/apis/my-api") == my


def test_delete(api: AdminApi, my: Any) -> None:
    """An api is deleted once."""
    assert [api.request("DELETE", "/apis/my-api").status for _ in range(2)] == [204, 404]


# -- PUT on the collection -----------------------------------------------------------------------------------------


def test_put_creates(api: AdminApi) -> None:
    """Without an id PUT creates."""
    answer = api.json("PUT", "/apis", BODY)
    assert answer.status == 201
    assert api.get("/apis/my-api") == answer.json


def test_put_replaces(api: AdminApi, my: Any) -> None:
    """With an id PUT replaces: what is not sent goes back to its default."""
    api.json("PATCH", "/apis/my-api", {"retries": 1})
    body = {**BODY, "id": my["id"], "created_at": my["created_at"], "hosts": ["new.test"]}
    answer = api.json("PUT", "/apis", body)
    assert (answer.status, answer.json) == (200, {**my, "hosts": ["new.test"]})
    assert api.get("/apis")["total"] == 1


def test_put_takes_back_what_was_told(api: AdminApi, my: Any) -> None:
    """What a client was told can be put back as it is."""
    answer = api.json("PUT", "/apis", my)
    assert (answer.status, answer.json) == (200, my)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"id": NOBODY, "created_at": 1000}, 404, NOT_FOUND),
        ({"id": 7, "created_at": 1000}, 404, NOT_FOUND),
        ({}, 400, {"created_at": "created_at is required"}),
        ({"created_at": 1000, "name": "other"}, 409, {"name": "already exists with value 'other'"}),
        ({"created_at": 1000, "name": ""}, 400, {"name": "name is required"}),
    ],
)
def test_refused_put(api: AdminApi, my: Any, body: dict[str, Any], status: int, told: dict[str, str]) -> None:
    """A replacement needs somebody to replace and the time of creation, and obeys the rules of all writing."""
    api.create("/apis", **{**BODY, "name": "other"})
    answer = api.json("PUT", "/apis", {**BODY, "id": my["id"], **body})
    assert (answer.status, answer.json) == (status, told)
    assert api.get("/apis/my-api") == my


# -- lists ---------------------------------------------------------------------------------------------------------


def test_pages(api: AdminApi) -> None:
    """Each page tells the number of all, and the complete URL of the next one."""
    made = [api.create("/apis", **{**BODY, "name": f"api-{number}"}) for number in range(5)]
    path = "/apis/?size=2"
    found = []
    for size in (2, 2, 1):
        page = api.get(path)
        assert (page["total"], len(page["data"])) == (5, size)
        found += page["data"]
        if size == 2:
            assert page["next"].startswith("http://a.test/apis?")
            assert f"offset={quote(page['offset'])}" in page["next"]
            path = page["next"].removeprefix("http://a.test")
    assert page.keys() == {"data", "total"}
    assert found == sorted(made, key=lambda row: row["id"])


@pytest.mark.parametrize("size", ["x", "", "-1", "2.5"])
def test_size_that_is_no_number(api: AdminApi, my: Any, size: str) -> None:
    """A size that is no number is as good as none."""
    assert api.get(f"/apis?size={size}")["total"] == 1


@pytest.mark.parametrize("query", ["offset=x", "size=0", "size=100000"])
def test_pages_that_are_none(api: AdminApi, query: str) -> None:
    """A page that cannot be given is refused in one message."""
    answer = api.request("GET", f"/apis?{query}")
    assert (answer.status, answer.json.keys()) == (400, {"message"})


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=a", ["a"]),
        ("retries=5", ["a", "b"]),
        ("retries=1", ["c"]),
        ("hosts=x.test, y.test", ["b"]),
        ("strip_uri=TRUE&retries=5", ["a", "b"]),
        ("name=a&retries=1", []),
    ],
)
def test_filters(api: AdminApi, query: str, names: list[str]) -> None:
    """Other arguments are values that fields must have; the total counts what has them."""
    for name, more in (("a", {}), ("b", {"hosts": ["x.test", "y.test"]}), ("c", {"retries": 1})):
        api.create("/apis", **{**BODY, "name": name, **more})
    page = api.get(f"/apis?{quote(query, safe='=&')}")
    assert (sorted(row["name"] for row in page["data"]), page["total"]) == (names, len(names))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("foo=1", {"foo": "unknown field"}),
        ("retries=x", {"retries": "retries is not a number"}),
        ("name", {"name": "name is not a string"}),
    ],
)
def test_refused_filters(api: AdminApi, query: str, told: dict[str, str]) -> None:
    """A field that there is not, or a value that it cannot have, is refused."""
    answer = api.request("GET", f"/apis?{query}")
    assert (answer.status, answer.json) == (400, told)
