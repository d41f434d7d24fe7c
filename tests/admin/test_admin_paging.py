"""Pages of lists and their filter."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest
from admin_api import AdminApi
from hypothesis import given
from hypothesis import strategies as st


def services(api: AdminApi, count: int, **common: object) -> list[str]:
    return [api.create("/services", host="a.test", **common)["id"] for _ in range(count)]


def pages(api: AdminApi, path: str) -> list[Any]:
    """Every page, by following ``next``."""
    found = [api.get(path)]
    while found[-1]["next"] is not None:
        found.append(api.get(found[-1]["next"]))
    return found


def ids(found: list[Any]) -> list[str]:
    return [row["id"] for page in found for row in page["data"]]


@given(count=st.integers(0, 12), size=st.integers(1, 13))
def test_pages_cover_a_list(count: int, size: int) -> None:
    """Pages of any size show every row once, ordered by id, and only the last is not full."""
    api = AdminApi()
    rows = services(api, count)
    found = pages(api, f"/services?size={size}")
    assert ids(found) == sorted(rows)
    assert all(len(page["data"]) == size for page in found[:-1])
    assert all(("offset" in page) == (page["next"] is not None) for page in found)


@given(count=st.integers(0, 12), size=st.integers(1, 13))
def test_pages_cover_targets(count: int, size: int) -> None:
    """Pages of targets show every one once, newest first."""
    api = AdminApi()
    api.create("/upstreams", name="u")
    for port in range(count):
        api.clock.advance(0.001)
        api.create("/upstreams/u/targets", target=f"a:{port}")
    found = [api.get(f"/upstreams/u/targets?size={size}")]
    while "offset" in found[-1]:
        found.append(api.get(f"/upstreams/u/targets?size={size}&offset={found[-1]['offset']}"))
    assert [row["target"] for page in found for row in page["data"]] == [f"a:{n}" for n in reversed(range(count))]


def test_a_page_survives_what_is_deleted(api: AdminApi) -> None:
    """The row a page ended with may be gone; the next page goes on behind it."""
    rows = sorted(services(api, 4))
    page = api.get("/services?size=2")
    assert api.request("DELETE", f"/services/{rows[1]}").status == 204
    assert ids([api.get(page["next"])]) == rows[2:]


def test_next_of_a_nested_list(api: AdminApi) -> None:
    """A nested ``next`` names the parent as the request did and carries only the offset."""
    api.create("/services", name="日", host="a.test")
    for n in range(2):
        api.create("/services/%E6%97%A5/routes", paths=[f"/{n}"])
    following = api.get("/services/%E6%97%A5/routes/?size=1&tags=x")["next"]
    assert following.startswith("/services/%E6%97%A5/routes?offset=")
    assert "&" not in following
    assert len(api.get(following)["data"]) == 1


@pytest.mark.parametrize("size", ["0", "1001", "1.5", "-1", "1e9", "1e999"])
def test_sizes_out_of_range(api: AdminApi, size: str) -> None:
    """A page has between 1 and 1000 rows; the targets' are cut to that."""
    answer = api.request("GET", f"/services?size={size}")
    message = "size must be an integer between 1 and 1000"
    assert (answer.status, answer.json) == (400, {"code": 9, "name": "invalid size", "message": message})
    api.create("/upstreams", name="u")
    assert api.get(f"/upstreams/u/targets?size={size}") == {"data": [], "next": None}


@pytest.mark.parametrize("query", ["size=x", "size=", "size", "size=1&size=2", "size[]=1", "size=nan", "size=1_0"])
@pytest.mark.parametrize("path", ["/services", "/upstreams/u/targets", "/upstreams/u/targets/all"])
def test_sizes_that_are_no_number(api: AdminApi, path: str, query: str) -> None:
    """A size is one number."""
    api.create("/upstreams", name="u")
    answer = api.request("GET", f"{path}?{query}")
    assert (answer.status, answer.json["message"]) == (400, "size must be a number")


def token(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("offset", "why"),
    [
        ("x!", "bad base64 encoding"),
        ("日", "bad base64 encoding"),
        ("a", "bad base64 encoding"),
        ("", "bad json encoding"),
        (token("nothing"), "bad json encoding"),
        (token("\xff"), "bad json encoding"),
        (token("[" * 10000), "bad json encoding"),
        (token("[]"), "expected the id of a row"),
        (token('["x"]'), "expected the id of a row"),
        (token("[1]"), "expected the id of a row"),
        (token("{}"), "expected the id of a row"),
    ],
)
def test_forged_offsets(api: AdminApi, offset: str, why: str) -> None:
    """An offset that was never handed out is refused."""
    answer = api.request("GET", f"/services?offset={quote(offset, safe='')}")
    message = f"'{offset}' is not a valid offset: {why}"
    assert (answer.status, answer.json) == (400, {"code": 7, "name": "invalid offset", "message": message})


@pytest.mark.parametrize("query", ["offset", "offset=x", "offset=-1", "offset=", "offset=1&offset=2"])
def test_forged_positions(api: AdminApi, query: str) -> None:
    """The offset of targets is a number."""
    api.create("/upstreams", name="u")
    assert api.request("GET", f"/upstreams/u/targets?{query}").json["code"] == 7


tags = st.sampled_from("abc")


@given(st.lists(st.sets(tags), max_size=6), st.lists(tags, min_size=1, max_size=3), st.sampled_from([",", "/"]))
def test_tag_filter(bearers: list[set[str]], asked: list[str], sign: str) -> None:
    """A comma asks for all of the tags, a slash for any of them."""
    api = AdminApi()
    wanted = set()
    for borne in bearers:
        (made,) = services(api, 1, tags=sorted(borne))
        if (set(asked) <= borne) if sign == "," or len(asked) == 1 else (set(asked) & borne):
            wanted.add(made)
    found = pages(api, f"/services?size=2&tags={quote(sign.join(asked), safe='')}")
    assert ids(found) == sorted(wanted)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("tags=a,b/c", "invalid filter syntax"),
        ("tags=,a", "invalid filter syntax"),
        ("tags=a,,b", "invalid filter syntax"),
        ("tags=/", "invalid filter syntax"),
        ("tags=a%00", "invalid filter syntax"),
        ("tags=a&tags=b", "invalid filter syntax"),
        ("tags=", "cannot be null"),
        ("tags", "cannot be null"),
        ("tags=a,b,c,d,e,f", "cannot query more than 5 tags"),
    ],
)
@pytest.mark.parametrize("path", ["/services", "/services/s/routes"])
def test_bad_tag_filter(api: AdminApi, path: str, query: str, reason: str) -> None:
    """A filter that cannot be understood is refused, also where it would do nothing."""
    api.create("/services", name="s", host="a.test")
    answer = api.request("GET", f"{path}?{query}")
    assert (answer.status, answer.json) == (
        400,
        {
            "code": 11,
            "name": "invalid options",
            "message": f"invalid option (tags: {reason})",
            "options": {"tags": reason},
        },
    )
