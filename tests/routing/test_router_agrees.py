"""The router against the obvious one: every candidate in turn, the best first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from router_making import FLAVORS, ask, make_route, make_service, snapshot

from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Route
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.routing.router import Router, compile_router

HOSTS = ["a.x", "b.x", "a.b.x", "a.x:80", "a.x:8000", "*.x", "*.b.x", "*.x:8000", "a.*", "a.b.*", "a.*:443"]
PATHS = ["/", "/a", "/a/", "/a/b", "/ab", "/b", "~/a", "~/a/.", "~/(a|b)/b", "~/.*b$"]
HEADERS = [{"x-a": ["1"]}, {"x-a": ["1", "2"], "x-b": ["1"]}, {"X-B": ["~*^v[0-9]$"]}]
SNIS = ["s.x", "*.x", "s.*"]
SERVICES = [make_service(1, path="/srv"), make_service(2, enabled=False)]


@dataclass(frozen=True)
class Request:
    target: str
    host: str
    method: str
    headers: Mapping[str, list[str]] = field(hash=False)
    https: bool
    sni: str | None


def some(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(st.sampled_from(values), min_size=1, max_size=3, unique_by=str)


RULES = st.fixed_dictionaries(
    {
        "hosts": some(HOSTS),
        "paths": some(PATHS),
        "methods": some(["GET", "POST"]),
        "headers": st.none() | st.sampled_from(HEADERS),
        "snis": some(SNIS),
        "regex_priority": st.sampled_from([0, 0, 1, -1, None]),
        "created_at": st.integers(1, 3),
        "strip_path": st.booleans(),
        "path_handling": st.sampled_from(["v0", "v1"]),
        "service": st.sampled_from([None, *SERVICES]),
    }
)
REQUESTS = st.lists(
    st.builds(
        Request,
        target=st.sampled_from(["/", "/a", "/a/b", "/ab", "/a/bb", "/b/b", "/c"]),
        host=st.sampled_from(["a.x", "A.x:8000", "b.x", "a.b.x", "a.b.x:8000", "a.q", "a.b.q:443", "q", ""]),
        method=st.sampled_from(["GET", "POST", "PUT"]),
        headers=st.fixed_dictionaries(
            {}, optional={"x-a": st.sampled_from([["1"], ["2", "3"]]), "x-b": st.sampled_from([["1"], ["V7"]])}
        ),
        https=st.booleans(),
        sni=st.sampled_from([None, "s.x", "s.q", "q"]),
    ),
    max_size=20,
)


# -- the obvious router, from Kong's rules alone -----------------------------------------------------------------


def host_fits(pattern: str, request: Request) -> bool:
    name, _, port = request.host.lower().partition(":")
    wanted, _, wanted_port = pattern.partition(":")
    if wanted_port and wanted_port != (port or ("443" if request.https else "80")):
        return False
    return name_fits(wanted, name)


def name_fits(pattern: str, name: str) -> bool:
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".+"), name))


def rest_fits(route: Route, request: Request) -> bool:
    if route.methods and request.method not in route.methods:
        return False
    if request.https and route.snis and not any(name_fits(sni, request.sni or "") for sni in route.snis):
        return False
    for name, values in (route.headers or {}).items():
        came = [value.lower() for value in request.headers.get(name.lower(), ())]
        if values[0].startswith("~*"):
            if not any(re.search(values[0][2:], value) for value in came):
                return False
        elif not set(came) & set(values):
            return False
    return True


def path_length(path: str | None, target: str) -> int | None:
    """How much of the target a route's path matches; None if it does not."""
    if path is None:
        return 0
    if path.startswith("~"):
        found = re.match(path[1:], target)
        return found.end() if found else None
    return len(path) if target.startswith(path) else None


def order(flavor: str, route: Route, host: str | None, path: str | None) -> tuple[Any, ...]:
    """Kong's precedence, larger is better."""
    kinds = [bool(kind) for kind in (route.hosts, route.headers, route.paths, route.methods, route.snis)]
    hosts = route.hosts or ()
    plain = bool(hosts) and "*" not in "".join(hosts)
    wild_port = any("*" in pattern and ":" in pattern for pattern in hosts)
    regex = path is not None and path.startswith("~")
    port, literal = ":" in (host or ""), len((host or "").replace("*", ""))
    priority = (route.regex_priority or 0) if regex else 0
    length = 0 if regex or path is None else len(path)
    place = -(route.paths or (path,)).index(path)
    headers, id = len(route.headers or ()), -int(route.id.replace("-", ""), 16)
    if flavor == "traditional":
        flags = 4 * wild_port + 2 * plain
        return (sum(kinds), kinds, flags, port, regex, headers, priority, length, literal, -route.created_at, id, place)
    return (sum(kinds), plain, port, headers, regex, priority, length, literal, id, place)


def candidates(flavor: str, routes: list[Route], request: Request) -> Iterator[tuple[tuple[Any, ...], Route, int]]:
    for route in routes:
        if (route.service and route.service.id == SERVICES[1].id) or not rest_fits(route, request):
            continue
        for path in route.paths or (None,):
            matched = path_length(path, request.target)
            for host in route.hosts or (None,):
                if matched is not None and (host is None or host_fits(host, request)):
                    yield order(flavor, route, host, path), route, matched


def check(router: Router, routes: list[Route], request: Request) -> None:
    match = ask(router, request.target, request.host, request.method, request.headers, request.https, request.sni)
    expected = max(candidates(router.flavor, routes, request), key=lambda found: found[0], default=None)
    if expected is None:
        assert match is None
    else:
        _, route, matched = expected
        prefix = request.target[:matched].encode() if matched > 1 and route.strip_path else None
        assert match is not None
        assert (match.route.route, match.prefix) == (route, prefix)


# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavor", FLAVORS)
@given(rules=st.lists(RULES, max_size=12), requests=REQUESTS)
def test_agrees(flavor: str, rules: list[dict[str, Any]], requests: list[Request]) -> None:
    """It finds what the obvious router finds, the first time and when it remembers."""
    routes = [make_route(number, **rule) for number, rule in enumerate(rules)]
    router = compile_router(snapshot(*SERVICES, *routes), flavor)
    for request in [*requests, *requests]:
        check(router, routes, request)


CHANGES = st.lists(st.tuples(st.integers(0, 5), RULES | st.none(), st.booleans()), max_size=10)


@pytest.mark.parametrize("flavor", FLAVORS)
@given(changes=CHANGES, requests=REQUESTS)
def test_agrees_after_changes(
    flavor: str, changes: list[tuple[int, dict[str, Any] | None, bool]], requests: list[Request]
) -> None:
    """A router that came about change by change finds what a new one would."""
    now = EMPTY.with_change(Change(puts=tuple(SERVICES)))
    router = compile_router(now, flavor)
    for number, rule, service_too in changes:
        route = make_route(number, **(rule or {}))
        touched = (SERVICES[0].model_copy(),) if service_too else ()
        if rule is None:
            now = now.with_change(Change(puts=touched, deletes=(("routes", route.id),)))
        else:
            now = now.with_change(Change(puts=(*touched, route)))
        router = compile_router(now, flavor, router)
        for request in requests:
            check(router, list(now.routes.values()), request)
