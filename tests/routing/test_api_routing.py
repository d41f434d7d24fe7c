"""Apis in the router: what they match, in which order, and what their origin is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from router_making import FLAVORS, make_route, snapshot

from twisted_kong.errors import RequestRefused
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Api
from twisted_kong.model.schema import Schema
from twisted_kong.routing.router import Match, Router, compile_router

FLAVOR = "traditional_compatible"


def make_api(number: int = 0, **fields: Any) -> Api:
    """An api called by its number, and so many seconds younger than the first."""
    body = {
        "id": f"{number:08x}-0000-4000-8000-000000000000",
        "name": f"{number}",
        "upstream_url": "http://o.test",
        "created_at": 1000 + 1000 * number,
    }
    return Schema().build(Api, {**body, **fields}, now=1)


def ask(router: Router, target: str = "/", host: str = "any.test", method: str = "GET") -> Match | None:
    """What the router says to a request, whose target is not normalised."""
    return router.match(method.encode(), host.encode(), target.encode(), lambda name: [])


def called(match: Match | None) -> str | None:
    """The name of the api that was matched."""
    return match.route.api.name if match is not None and match.route.api is not None else None


def router_of(*apis: dict[str, Any]) -> Router:
    """A router of these apis, called by their numbers."""
    return compile_router(snapshot(*(make_api(number, **fields) for number, fields in enumerate(apis))), FLAVOR)


# -- which api -----------------------------------------------------------------------------------------------------

CATEGORIES = [
    {"hosts": ["any.test"], "uris": ["/a"], "methods": ["GET"]},
    {"hosts": ["any.test"], "uris": ["/a"]},
    {"hosts": ["any.test"], "methods": ["GET"]},
    {"uris": ["/a"], "methods": ["GET"]},
    {"hosts": ["any.test"]},
    {"uris": ["/a"]},
    {"methods": ["GET"]},
]


@pytest.mark.parametrize("first", range(len(CATEGORIES)))
def test_categories(first: int) -> None:
    """What an api asks for decides before all else: hosts before uris before methods, and more of them before fewer."""
    router = router_of(*reversed(CATEGORIES[first:]))
    assert called(ask(router, "/a/b")) == str(len(CATEGORIES) - first - 1)


@pytest.mark.parametrize(
    ("apis", "request_", "expected"),
    [
        ([{"uris": ["/a"]}, {"uris": ["/a/b"]}], ("/a/b/c", "any.test"), "1"),
        ([{"uris": ["/a"]}, {"uris": ["/a/b"]}], ("/ab", "any.test"), "0"),
        ([{"hosts": ["*.test"]}, {"hosts": ["a.test"]}], ("/", "a.test"), "1"),
        ([{"hosts": ["a.*"]}, {"hosts": ["a.test"]}], ("/", "a.test:8000"), "1"),
        ([{"hosts": ["a.test"], "uris": ["/"]}, {"hosts": ["*.test"], "uris": ["/a"]}], ("/a", "a.test"), "1"),
        ([{"hosts": ["a.test"]}, {"hosts": ["a.test", "b.test"]}], ("/", "A.test"), "0"),
    ],
    ids=["longer uri", "prefix", "plain host", "port", "uri before host", "older"],
)
def test_within_a_category(apis: list[dict[str, Any]], request_: tuple[str, str], expected: str) -> None:
    """The longer uri wins, then the host without a wildcard, then the older api."""
    assert called(ask(router_of(*apis), *request_)) == expected


HOSTS = ["a.x", "b.x", "*.x", "a.*"]
URIS = ["/", "/a", "/a/b", "/ab"]
RULES = st.fixed_dictionaries(
    {},
    optional={
        "hosts": st.lists(st.sampled_from(HOSTS), unique=True),
        "uris": st.lists(st.sampled_from(URIS), unique=True),
        "methods": st.lists(st.sampled_from(["GET", "POST"]), unique=True),
    },
).filter(lambda rule: any(rule.values()))


def obvious(apis: list[dict[str, Any]], target: str, host: str, method: str) -> Iterator[tuple[Any, ...]]:
    """Every way in which an api fits, as Kong orders them, the smaller the better."""
    for number, api in enumerate(apis):
        hosts, uris, methods = (api.get(name) or [] for name in ("hosts", "uris", "methods"))
        if methods and method not in methods:
            continue
        category = "".join(name for name, asked in zip("hum", (hosts, uris, methods), strict=True) if asked)
        order = ["hum", "hu", "hm", "um", "h", "u", "m"].index(category)
        for uri in uris or [""]:
            for pattern in hosts or [host]:
                beginning, star, end = pattern.partition("*")
                fits = host.startswith(beginning) and host.endswith(end) if star else host == pattern
                if fits and target.startswith(uri):
                    yield order, -len(uri), bool(star), number


@given(
    st.lists(RULES, max_size=6),
    st.sampled_from(["/", "/a", "/a/b", "/abc", "/c"]),
    st.sampled_from(["a.x", "b.x", "a.q", "q"]),
    st.sampled_from(["GET", "POST", "PUT"]),
)
def test_agrees_with_the_obvious(apis: list[dict[str, Any]], target: str, host: str, method: str) -> None:
    """The router finds what trying every api in turn would find."""
    expected = min(obvious(apis, target, host, method), default=None)
    found = called(ask(router_of(*apis), target, host, method))
    assert found == (None if expected is None else str(expected[-1]))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_routes_come_first(flavor: str) -> None:
    """A request that any route wants is no api's; what no route wants is."""
    entities = snapshot(make_api(hosts=["any.test"], uris=["/a"], methods=["GET"]), make_route(paths=["/a/b"]))
    router = compile_router(entities, flavor)
    assert (called(ask(router, "/a/b")), called(ask(router, "/a/c"))) == (None, "0")
    assert ask(router, "/b") is None


def test_nothing_in_particular() -> None:
    """An api that asks for nothing in particular, as it may after a change, gets nothing."""
    api = Schema().merge(make_api(hosts=["any.test"]), {"hosts": []}, now=1)
    assert ask(compile_router(snapshot(api), FLAVOR)) is None


# -- the path ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "uri", "strip", "target", "sent"),
    [
        ("/", "/", True, "/", "/"),
        ("/", "/", True, "/foo/bar", "/foo/bar"),
        ("/", "/foo/bar", True, "/foo/bar", "/"),
        ("/", "/foo/bar", True, "/foo/bar/", "/"),
        ("/foo/bar", "/foo/bar", True, "/foo/bar", "/foo/bar"),
        ("/foo/bar", "/foo/bar", True, "/foo/bar/", "/foo/bar/"),
        ("/foo/bar/", "/foo/bar", True, "/foo/bar", "/foo/bar"),
        ("/foo/bar/", "/foo/bar", True, "/foo/bar/", "/foo/bar/"),
        ("/foo/bar", "/", True, "/foo/bar", "/foo/bar/foo/bar"),
        ("/foo/bar", "/foo/bar", False, "/foo/bar", "/foo/bar/foo/bar"),
        ("", "/foo", True, "/foo/x", "/x"),
        ("/v1", "/foo", True, "/foobar", "/v1/bar"),
        ("/v1/", None, True, "/", "/v1/"),
        ("/v1", None, True, "/", "/v1"),
        ("/v1", "/foo", True, "/foo//x/%7E/./y", "/v1//x/%7E/./y"),
    ],
)
def test_paths(base: str, uri: str | None, strip: bool, target: str, sent: str) -> None:
    """The path of the upstream's URL and what is left of the request's meet as they did in Kong 0.10."""
    fields = {"uris": [uri]} if uri else {"hosts": ["any.test"]}
    match = ask(router_of({"upstream_url": f"http://o.test{base}", "strip_uri": strip, **fields}), target)
    assert match is not None
    assert match.path == sent.encode()
    assert match.prefix == (uri.encode() if uri and strip and uri != "/" else None)


@pytest.mark.parametrize(
    ("uri", "target", "fits"),
    [
        ("/~a", "/~a", True),
        ("/~a", "/%7Ea", False),
        ("/%7Ea", "/%7Ea", True),
        ("/a/b", "/a//b", False),
        ("/a/b", "/a/./b", False),
        ("/a", "/a//b", True),
    ],
)
def test_uris_are_compared_as_they_came(uri: str, target: str, fits: bool) -> None:
    """Spellings that a route would take for one are several to an api; also after one of them has been seen."""
    router = router_of({"uris": [uri]})
    ask(router, uri)
    assert (ask(router, target) is not None) is fits


def test_spellings_are_remembered_apart() -> None:
    """What an api's origin is sent is what this request asked for, whatever others have asked for before."""
    router = router_of({"uris": ["/a"], "strip_uri": False})
    for target in ["/a/b", "/a//b", "/a/./b", "/a/b"]:
        match = ask(router, target)
        assert match is not None
        assert match.path == target.encode()


@pytest.mark.parametrize("target", ["/../a", "/a/../../b", "/a/%zz", "/a/%00", "/a%2F..%2F..%2Fb"])
def test_malformed_paths(target: str) -> None:
    """A path that is malformed or climbs above the root is refused, whoever wants it."""
    with pytest.raises(RequestRefused):
        ask(router_of({"uris": ["/"], "strip_uri": False}), target)


@pytest.mark.parametrize("target", ["/pub/../admin", "/pub..", "/pub../x", "/pub/%2e%2e/admin", "/pub/a/../../admin"])
def test_nobody_climbs_out(target: str) -> None:
    """What is left of the path cannot lead out of the path of the upstream's URL."""
    with pytest.raises(RequestRefused):
        ask(router_of({"uris": ["/pub"], "upstream_url": "http://o.test/data"}), target)


# -- what else an api says -----------------------------------------------------------------------------------------


def test_service_and_route() -> None:
    """An api is a service and its route in one: everything the exchange asks of them is there."""
    api = make_api(
        upstream_url="https://u.test/p",
        uris=["/a"],
        preserve_host=True,
        https_only=True,
        retries=2,
        upstream_connect_timeout=1000,
        upstream_send_timeout=2000,
        upstream_read_timeout=3000,
    )
    match = ask(compile_router(snapshot(api), FLAVOR), "/a")
    assert match is not None
    route, service = match.route, match.service
    assert service is not None
    assert (service.protocol, service.host, service.port, service.path) == ("https", "u.test", 443, "/p")
    assert (service.retries, service.timeouts, service.enabled) == (2, (1.0, 2.0, 3.0), True)
    assert (route.preserve_host, route.https_only, route.strip_path) == (True, True, True)
    assert route.route.request_buffering
    assert (service.name, route.route.name, route.route.created_at) == ("0", "0", 1)


# -- compiling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hosts", "uris"])
def test_work_is_independent_of_the_number_of_apis(name: str) -> None:
    """A request meets as few candidates among two thousand apis as among ten."""
    values = {"hosts": "h{}.test", "uris": "/p{}-"}

    def examined(size: int) -> int:
        router = router_of(*({name: [values[name].format(number)]} for number in range(size)))
        return sum(len(group) for group in router.apis.index.groups(b"h7.test", b"/p7-/x", False))

    assert examined(10) == examined(2000) == 1


def test_change_of_one() -> None:
    """A change of one api gives it its new place and costs the others nothing; what was in force stays as it was."""
    before = snapshot(*(make_api(number, uris=[f"/{number}-"]) for number in range(10)))
    old = compile_router(before, FLAVOR)
    assert called(ask(old, "/7-/x")) == "7"
    after = before.with_change(Change(puts=(make_api(7, uris=["/new"], upstream_url="http://green.test"),)))
    new = compile_router(after, FLAVOR, old)
    assert {id for id in old.apis.by_id if new.apis.by_id[id] is not old.apis.by_id[id]} == {make_api(7, uris=["/"]).id}
    assert new.routes is old.routes
    assert (called(ask(new, "/7-/x")), called(ask(new, "/new"))) == (None, "7")
    assert called(ask(old, "/7-/x")) == "7"


def test_deletion() -> None:
    """An api that was deleted matches nothing, and leaves nothing behind."""
    before = snapshot(make_api(hosts=["any.test"]))
    old = compile_router(before, FLAVOR)
    new = compile_router(before.with_change(Change(deletes=(("apis", make_api(hosts=["x"]).id),))), FLAVOR, old)
    assert called(ask(old)) == "0"
    assert ask(new) is None
    assert not new.apis.by_id
