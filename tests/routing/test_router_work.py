"""What the router does not do twice, and what it does not do at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from router_making import ask, make_route, make_service, snapshot

from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Route, Upstream
from twisted_kong.routing.router import CACHED_BYTES, CACHED_MATCHES, Router, compile_router

FLAVOR = "traditional_compatible"

SHAPES: dict[str, Callable[[int], Route]] = {
    "hosts": lambda n: make_route(n, hosts=[f"h{n}.example"]),
    "hosts with ports": lambda n: make_route(n, hosts=[f"h{n}.example:80"]),
    "wildcards at the left": lambda n: make_route(n, hosts=[f"*.h{n}.example"]),
    "wildcards at the right": lambda n: make_route(n, hosts=[f"h{n}.*"]),
    "prefixes": lambda n: make_route(n, paths=[f"/api/p{n}/"]),
    "prefixes of one host": lambda n: make_route(n, hosts=["h.example"], paths=[f"/p{n}/"]),
    "hosts, prefixes and methods": lambda n: make_route(
        n, hosts=[f"h{n % 100}.example"], paths=[f"/p{n // 100}/"], methods=["GET"]
    ),
    "regular paths of many hosts": lambda n: make_route(n, hosts=[f"h{n}.example"], paths=["~/a", "~/b"]),
}


def examined(router: Router, host: str, path: str) -> int:
    """How many candidates a request meets."""
    return sum(len(group) for group in router.routes.index.groups(host.encode(), path.encode(), False))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_work_is_independent_of_the_number_of_routes(shape: Callable[[int], Route]) -> None:
    """A request meets as few candidates among 10,000 routes as among ten."""
    requests = [("h7.example", "/p0/x"), ("a.h7.example", "/api/p7/"), ("h.example:80", "/p7/"), ("q.example", "/")]
    few, many = (compile_router(snapshot(*map(shape, range(size))), FLAVOR) for size in (10, 10_000))
    work = [examined(many, *request) for request in requests]
    assert work == [examined(few, *request) for request in requests]
    assert 0 < max(work) <= 2


def test_untouched_routes_are_compiled_once() -> None:
    """A change of one route costs the others nothing: what was compiled of them is used again."""
    services = [make_service(1), make_service(2)]
    routes = [make_route(number, services[number % 2], paths=[f"/p{number}"]) for number in range(100)]
    before = snapshot(*services, *routes)
    old = compile_router(before, FLAVOR)
    new = compile_router(before.with_change(Change(puts=(make_route(7, paths=["/new"]),))), FLAVOR, old)
    changed = {id for id in old.routes.by_id if new.routes.by_id[id] is not old.routes.by_id[id]}
    assert changed == {routes[7].id}
    assert ask(new, "/new") is not None
    assert ask(new, "/p7") is None
    assert ask(old, "/p7") is not None


def recompiled(old: Router, new: Router) -> set[str]:
    """The ids of the routes whose candidates are not those of ``old``."""
    ids = old.routes.by_id.keys() | new.routes.by_id.keys()
    return {id for id in ids if new.routes.by_id.get(id) is not old.routes.by_id.get(id)}


def test_changed_service_recompiles_nothing() -> None:
    """Requests go where the service says by now, and none of its routes is compiled again for that."""
    services = [make_service(1, path="/old"), make_service(2)]
    routes = [make_route(number, services[number % 2], paths=[f"/p{number}"]) for number in range(10)]
    before = snapshot(*services, *routes)
    old = compile_router(before, FLAVOR)
    assert ask(old, "/p2/x") is not None
    changed = make_service(1, path="/new", host="new.test")
    new = compile_router(before.with_change(Change(puts=(changed,))), FLAVOR, old)
    assert recompiled(old, new) == set()
    assert new.routes.index is old.routes.index
    match, was = ask(new, "/p2/x"), ask(old, "/p2/x")
    assert match is not None
    assert was is not None
    assert (match.service, match.path) == (changed, b"/new/x")
    assert (was.service, was.path) == (services[0], b"/old/x")


def test_enabling_a_service_recompiles_its_routes() -> None:
    """Whether a service is enabled decides who matches: its routes go and come, those of others stay as they are."""
    services = [make_service(1), make_service(2)]
    routes = [make_route(number, services[number % 2], paths=[f"/p{number}"]) for number in range(10)]
    of_the_first = {route.id for route in routes[::2]}
    before = snapshot(*services, *routes)
    on = compile_router(before, FLAVOR)
    without = before.with_change(Change(puts=(make_service(1, enabled=False),)))
    off = compile_router(without, FLAVOR, on)
    assert recompiled(on, off) == of_the_first
    assert ask(off, "/p2") is None
    again = compile_router(without.with_change(Change(puts=(services[0],))), FLAVOR, off)
    assert recompiled(off, again) == of_the_first
    assert ask(again, "/p2") is not None


def test_other_changes_keep_the_router() -> None:
    """A change that concerns neither routes nor services leaves the router what it is."""
    before = snapshot(make_route(paths=["/"]))
    router = compile_router(before, FLAVOR)
    upstream = Upstream.from_document({"id": "u", "name": "u", "created_at": 1, "updated_at": 1})
    after = before.with_change(Change(puts=(upstream,)))
    assert compile_router(after, FLAVOR, router) is router
    assert compile_router(after, "traditional", router).flavor == "traditional"


def test_unknown_flavor() -> None:
    """A flavor nobody knows is refused with those that are known."""
    with pytest.raises(ValueError, match=r"router_flavor: expected one of traditional, .*; got 'expressions'"):
        compile_router(snapshot(), "expressions")


# -- memory ------------------------------------------------------------------------------------------------------


def test_remembers() -> None:
    """The same request gets the same match, not one that is equal."""
    router = compile_router(snapshot(make_route(paths=["~/a"])), FLAVOR)
    assert ask(router, "/a/b") is ask(router, "/a/b")


def test_headers_are_not_remembered() -> None:
    """Where headers had a say the next request is judged by its own."""
    routes = [make_route(1, paths=["/a"], headers={"x-a": ["1"]}), make_route(2, paths=["/a"])]
    router = compile_router(snapshot(*routes), FLAVOR)
    for header, expected in [("1", routes[0]), ("2", routes[1]), ("1", routes[0])]:
        match = ask(router, "/a", headers={"x-a": [header]})
        assert match is not None
        assert match.route.route is expected


def test_headers_without_a_say_do_not_hinder() -> None:
    """A route that asks for headers keeps only those requests from being remembered that it could have had."""
    routes = [
        make_route(1, headers={"x-a": ["1"]}, methods=["POST"]),
        make_route(2, paths=["/a"], hosts=["h.example"], methods=["GET"]),
    ]
    router = compile_router(snapshot(*routes), FLAVOR)
    assert ask(router, "/a", "h.example") is ask(router, "/a", "h.example")


def test_memory_is_bounded() -> None:
    """A stream of new paths does not fill the memory, nor do long ones or those that match nothing."""
    router = compile_router(snapshot(make_route(paths=["/a"])), FLAVOR)
    for number in range(2 * CACHED_MATCHES + 10):
        ask(router, f"/a/{number}")
        assert len(router.remembered) <= CACHED_MATCHES
    ask(router, "/b")
    ask(router, "/a" + "a" * CACHED_BYTES)
    ask(router, "/a", host="a" * CACHED_BYTES)
    ask(router, "/a", method="A" * CACHED_BYTES)
    ask(router, "/a", https=True, sni="a" * CACHED_BYTES)
    assert [key[2] for key in router.remembered] == [b"/a/%d" % (2 * CACHED_MATCHES + n) for n in range(10)]
