"""Which of several routes that match a request gets it."""

from __future__ import annotations

from typing import Any

import pytest
from router_making import FLAVORS, Labelled, ask, make_route, snapshot

from twisted_kong.routing.router import compile_router

Rule = dict[str, Any]
HOST = ["foo.example"]

# what it is about, the request's path, the winner, the loser
BOTH: list[tuple[str, str, Rule, Rule]] = [
    ("longer prefix", "/a/b/c", {"paths": ["/a/b"]}, {"paths": ["/a"]}),
    ("regex over longer prefix", "/status/123", {"paths": [r"~/status/\d+"]}, {"paths": ["/status/12"]}),
    ("priority", "/status/re", {"paths": ["~/status/(re)"], "regex_priority": 4}, {"paths": ["~/status/(?<foo>re)"]}),
    ("negative priority", "/a", {"paths": ["~/a"]}, {"paths": ["~/a"], "regex_priority": -1}),
    ("priority of a prefix means nothing", "/a/b", {"paths": ["/a/b"]}, {"paths": ["/a"], "regex_priority": 9}),
    ("regex, however low", "/a/b", {"paths": ["~/a"], "regex_priority": -9}, {"paths": ["/a/b"]}),
    ("more kinds over longer path", "/a/b", {"hosts": HOST, "paths": ["/a"]}, {"paths": ["/a/b"]}),
    ("three kinds", "/a", {"hosts": HOST, "paths": ["/a"], "methods": ["GET"]}, {"hosts": HOST, "paths": ["~/a"]}),
    ("plain host over wildcard", "/", {"hosts": HOST}, {"hosts": ["*.example"]}),
    ("plain hosts over a mixture", "/", {"hosts": HOST}, {"hosts": ["foo.example", "*.org"]}),
    ("port over none", "/", {"hosts": ["foo.example:80"]}, {"hosts": HOST}),
    ("port over regex", "/a", {"hosts": ["foo.example:80"], "paths": ["/a"]}, {"hosts": HOST, "paths": ["~/a"]}),
    (
        "plain host over regex",
        "/a",
        {"hosts": HOST, "paths": ["/a"]},
        {"hosts": ["*.example"], "paths": ["~/a"], "regex_priority": 9},
    ),
    (
        "longer path over longer wildcard",
        "/a/b",
        {"hosts": ["foo.*"], "paths": ["/a/b"]},
        {"hosts": ["*.example"], "paths": ["/a"]},
    ),
    ("longer wildcard", "/", {"hosts": ["*.example"]}, {"hosts": ["foo.*"]}),
    ("more headers", "/", {"headers": {"x-a": ["1"], "x-b": ["2"]}}, {"headers": {"x-a": ["1"]}}),
    (
        "more headers over longer path",
        "/a/b",
        {"headers": {"x-a": ["1"], "x-b": ["2"]}, "paths": ["/a"]},
        {"headers": {"x-a": ["1"]}, "paths": ["/a/b"]},
    ),
]
TRADITIONAL: list[tuple[str, str, Rule, Rule]] = [
    ("host over headers", "/", {"hosts": HOST}, {"headers": {"x-a": ["1"], "x-b": ["2"]}}),
    ("headers over path", "/a", {"headers": {"x-a": ["1"]}}, {"paths": ["/a"]}),
    ("path over method", "/a", {"paths": ["/a"]}, {"methods": ["GET"]}),
    ("method over sni", "/", {"methods": ["GET"]}, {"snis": ["sni.example"]}),
    (
        "host and method over headers and path",
        "/a",
        {"hosts": ["*.example"], "methods": ["GET"]},
        {"headers": {"x-a": ["1"]}, "paths": ["~/a"]},
    ),
    ("wildcard with a port over plain", "/", {"hosts": ["*.example:80"]}, {"hosts": HOST}),
    (
        "regex over more headers",
        "/a",
        {"headers": {"x-a": ["1"]}, "paths": ["~/a"]},
        {"headers": {"x-a": ["1"], "x-b": ["2"]}, "paths": ["/a"]},
    ),
]
COMPATIBLE: list[tuple[str, str, Rule, Rule]] = [
    ("more headers over a host with a wildcard", "/", {"headers": {"x-a": ["1"]}}, {"hosts": ["*.example"]}),
    ("plain hosts over other kinds", "/", {"hosts": HOST}, {"headers": {"x-a": ["1"], "x-b": ["2"]}}),
    ("longer path, whatever the other kind", "/a", {"paths": ["/a"]}, {"methods": ["GET"]}),
    ("regex, whatever the kinds", "/a", {"paths": ["~/a"]}, {"hosts": ["*.example"]}),
    ("plain over wildcard with a port", "/", {"hosts": HOST}, {"hosts": ["*.example:80"]}),
    (
        "more headers over regex",
        "/a",
        {"headers": {"x-a": ["1"], "x-b": ["2"]}, "paths": ["/a"]},
        {"headers": {"x-a": ["1"]}, "paths": ["~/a"]},
    ),
]
CASES = [
    *((flavor, *case) for flavor in FLAVORS for case in BOTH),
    *(("traditional", *case) for case in TRADITIONAL),
    *(("traditional_compatible", *case) for case in COMPATIBLE),
]


@pytest.mark.parametrize(
    ("flavor", "target", "winner", "loser"),
    [(flavor, *case) for flavor, _, *case in CASES],
    ids=[f"{flavor}: {what}" for flavor, what, *_ in CASES],
)
def test_precedence(flavor: str, target: str, winner: Rule, loser: Rule) -> None:
    """The better route gets the request, whichever is older."""
    for labels in [{"loser": loser, "winner": winner}, {"winner": winner, "loser": loser}]:
        matched = Labelled(flavor, labels)
        assert matched(target, "foo.example", headers={"x-a": ["1"], "x-b": ["2"]}) == "winner"


@pytest.mark.parametrize(("flavor", "winner"), [("traditional", 2), ("traditional_compatible", 1)])
def test_last_resort(flavor: str, winner: int) -> None:
    """Of routes alike the traditional flavor takes the older, the default one that with the smaller id."""
    routes = [make_route(1, paths=["/a"], created_at=8), make_route(2, paths=["/a"], created_at=7)]
    match = ask(compile_router(snapshot(*routes), flavor), "/a")
    assert match is not None
    assert match.route.route is routes[winner - 1]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_path_order_in_a_route(flavor: str) -> None:
    """Of regular paths of one route the first that matches counts."""
    match = ask(compile_router(snapshot(make_route(paths=["~/a/b", "~/a", "~/a/b/c"])), flavor), "/a/b/c/d")
    assert match is not None
    assert match.prefix == b"/a/b"


@pytest.mark.parametrize("flavor", FLAVORS)
def test_next_best(flavor: str) -> None:
    """A better route whose other criteria fail leaves the request to the next."""
    rules: dict[str, Rule] = {
        "method": {"hosts": HOST, "paths": ["/a"], "methods": ["POST"]},
        "header": {"hosts": HOST, "paths": ["/a"], "headers": {"x-a": ["2"]}},
        "regex": {"hosts": HOST, "paths": ["~/a/x"]},
        "plain": {"hosts": HOST, "paths": ["/a"]},
        "any": {"paths": ["/"]},
    }
    matched = Labelled(flavor, rules)
    assert matched("/a/b", "foo.example", headers={"x-a": ["1"]}) == "plain"
    assert matched("/a/b", "bar.example") == "any"
