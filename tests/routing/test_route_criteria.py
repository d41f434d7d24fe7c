"""What each kind of criteria of a route lets through."""

from __future__ import annotations

from typing import Any

import pytest
from router_making import FLAVORS, Labelled, ask, make_route, make_service, snapshot

from twisted_kong.routing.router import compile_router

pytestmark = pytest.mark.parametrize("flavor", FLAVORS)


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("*.foo.example", "a.foo.example", True),
        ("*.foo.example", "a.b.foo.example", True),
        ("*.foo.example", "a.foo.example:8000", True),
        ("*.foo.example", "foo.example", False),
        ("*.foo.example", ".foo.example", False),
        ("*.foo.example", "xfoo.example", False),
        ("foo.*", "foo.com", True),
        ("foo.*", "foo.co.uk", True),
        ("foo.*", "foo.co.uk:8000", True),
        ("foo.*", "foo", False),
        ("foo.*", "foo.", False),
        ("foo.*", "xfoo.com", False),
        ("foo.example", "foo.example", True),
        ("foo.example", "foo.example:8000", True),
        ("foo.example", "foo.example:", True),
        ("foo.example", "FOO.Example:80", True),
        ("Foo.Example", "foo.example", True),
        ("foo.example", "bar.example", False),
        ("foo.example", "foo.example.org", False),
        ("foo.example", "", False),
        ("foo.example:9000", "foo.example:9000", True),
        ("foo.example:9000", "foo.example:9001", False),
        ("foo.example:9000", "foo.example", False),
        ("foo.example:80", "foo.example", True),
        ("foo.example:443", "foo.example", False),
        ("*.foo.example:9000", "a.foo.example:9000", True),
        ("*.foo.example:9000", "a.foo.example", False),
        ("foo.*:9000", "foo.com:9000", True),
        ("foo.*:9000", "foo.com:9001", False),
        ("foo.*:80", "foo.com", True),
        ("[::1]", "[::1]", True),
        ("[::1]", "[::1]:8000", True),
        ("[::1]:8000", "[::1]:8000", True),
        ("[::1]:8000", "[::1]:8001", False),
    ],
)
def test_hosts(flavor: str, pattern: str, host: str, matches: bool) -> None:
    """Plain hosts, hosts with a port, and one wildcard at either end; case does not matter."""
    assert Labelled(flavor, {"yes": {"hosts": [pattern]}})(host=host) == ("yes" if matches else None)


def test_default_port_over_tls(flavor: str) -> None:
    """A Host without a port means the port of its scheme."""
    matched = Labelled(flavor, {"yes": {"hosts": ["foo.example:443"]}})
    assert (matched(host="foo.example", https=True), matched(host="foo.example")) == ("yes", None)


def test_several_hosts(flavor: str) -> None:
    """The hosts of a route are alternatives."""
    matched = Labelled(flavor, {"yes": {"hosts": ["one.example", "two.*"]}})
    assert [matched(host=host) for host in ("one.example", "two.example", "three.example")] == ["yes", "yes", None]


def test_endless_host(flavor: str) -> None:
    """A host longer than any name fits no wildcard."""
    matched = Labelled(flavor, {"yes": {"hosts": ["*.example"]}})
    assert matched(host="a." * 123 + "a.example") == "yes"
    assert matched(host="a." * 4000 + "example") is None


@pytest.mark.parametrize(
    ("path", "target", "matches"),
    [
        ("/route", "/route", True),
        ("/route", "/route/x", True),
        ("/route", "/routereq", True),
        ("/route", "/rout", False),
        ("/route", "/x/route", False),
        ("/route/", "/route", False),
        ("/Route", "/route", False),
        ("/", "/anything", True),
        ("/foo/bar", "/foo%2Fbar", False),
        ("/foo/bar", "/x/..//foo/./b%61r", True),
        ("/foo%2Fbar", "/foo%2fbar", True),
        ("/ä", "/%C3%A4", True),
        ("/a.b", "/axb", False),
        (r"~/status/\d+", "/status/12/x", True),
        (r"~/status/\d+", "/status/x", False),
        (r"~/status/\d+", "/x/status/12", False),
        (r"~/status/\d+$", "/status/12/x", False),
        (r"~/status/(?<code>\d+)", "/status/12", True),
        (r"~/a%2Fb", "/a%2fb", True),
    ],
)
def test_paths(flavor: str, path: str, target: str, matches: bool) -> None:
    """A plain path is a prefix of bytes without regard to segments, a regular one is anchored at the start."""
    assert Labelled(flavor, {"yes": {"paths": [path]}})(target) == ("yes" if matches else None)


def test_methods(flavor: str) -> None:
    """Only the listed methods match, in their own case; any method can be listed."""
    matched = Labelled(flavor, {"yes": {"methods": ["POST", "PURGE"]}})
    assert [matched(method=method) for method in ("POST", "PURGE", "GET", "post")] == ["yes", "yes", None, None]


@pytest.mark.parametrize(
    ("rules", "headers", "matches"),
    [
        ({"X-A": ["1"], "X-B": ["2"]}, {"x-a": ["1"], "x-b": ["2"]}, True),
        ({"X-A": ["1"], "X-B": ["2"]}, {"x-a": ["1"]}, False),
        ({"X-A": ["1", "2"]}, {"x-a": ["2"]}, True),
        ({"X-A": ["1"]}, {"x-a": ["0", "1"]}, True),
        ({"X-A": ["1"]}, {"x-a": ["0,1"]}, False),
        ({"X-A": ["One"]}, {"x-a": ["oNE"]}, True),
        ({"X-Version": ["~*v[0-9]+$"]}, {"x-version": ["v12"]}, True),
        ({"X-Version": ["~*v[0-9]+$"]}, {"x-version": ["x", "the V12"]}, True),
        ({"X-Version": ["~*v[0-9]+$"]}, {"x-version": ["vx"]}, False),
        ({"X-Version": ["~*v[0-9]+$"]}, {}, False),
        ({"X-Version": ["~*a", "b"]}, {"x-version": ["a"]}, False),
        ({"X-Version": ["~*a", "b"]}, {"x-version": ["~*a"]}, True),
        ({"X-Version": ["~*(?s)v.$"]}, {"x-version": ["V\n"]}, True),
        ({"X-Version": ["~*("]}, {"x-version": ["("]}, False),
        ({"X-A": []}, {"x-a": ["1"]}, False),
    ],
)
def test_headers(flavor: str, rules: dict[str, list[str]], headers: dict[str, list[str]], matches: bool) -> None:
    """Every header must have one of its values; a single value that begins with ~* is a regular expression."""
    assert Labelled(flavor, {"yes": {"headers": rules}})(headers=headers) == ("yes" if matches else None)


@pytest.mark.parametrize(
    ("pattern", "sni", "matches"),
    [
        ("sni.example", "sni.example", True),
        ("sni.example", "SNI.example.", True),
        ("sni.example.", "sni.example", True),
        ("sni.example", "other.example", False),
        ("sni.example", None, False),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("sni.*", "sni.example", True),
        ("*", "sni.example", True),
        ("*", None, False),
    ],
)
def test_snis(flavor: str, pattern: str, sni: str | None, matches: bool) -> None:
    """Over TLS the name asked for decides; a plain request ignores the criterion."""
    matched = Labelled(flavor, {"yes": {"snis": [pattern]}})
    assert matched(https=True, sni=sni) == ("yes" if matches else None)
    assert matched() == "yes"


def test_every_kind_must_match(flavor: str) -> None:
    """Host, path and method must all fit."""
    matched = Labelled(flavor, {"yes": {"hosts": ["foo.example"], "paths": ["/a"], "methods": ["GET"]}})
    assert matched("/a", "foo.example") == "yes"
    assert matched("/b", "foo.example") is None
    assert matched("/a", "bar.example") is None
    assert matched("/a", "foo.example", method="POST") is None


def test_empty_lists_are_no_criteria(flavor: str) -> None:
    """An empty list is as good as none, and does not count as a kind."""
    empty: dict[str, Any] = {"hosts": [], "methods": [], "headers": {}, "snis": []}
    matched = Labelled(flavor, {"one": {"paths": ["/a"], **empty}, "two": {"paths": ["/"], "methods": ["GET"]}})
    assert (matched("/a"), matched("/a", method="POST")) == ("two", "one")


def test_disabled_service(flavor: str) -> None:
    """The routes of a disabled service do not exist."""
    off, on = make_service(1, enabled=False), make_service(2)
    routes = [make_route(1, off, paths=["/a/b"]), make_route(2, on, paths=["/a"])]
    router = compile_router(snapshot(off, on, *routes), flavor)
    match = ask(router, "/a/b")
    assert match is not None
    assert (match.route.route, match.service) == (routes[1], on)


def test_route_without_service(flavor: str) -> None:
    """A route that leads nowhere matches, and says so."""
    match = ask(compile_router(snapshot(make_route(1, paths=["/lonely"])), flavor), "/lonely")
    assert match is not None
    assert match.service is None


@pytest.mark.parametrize(
    ("protocols", "https_only"),
    [
        (["http"], False),
        (["https"], True),
        (["http", "https"], False),
        (["grpc", "grpcs"], False),
        (["grpcs"], True),
        (["tcp"], None),
    ],
)
def test_protocols(flavor: str, protocols: list[str], https_only: bool | None) -> None:
    """Protocols do not take part in matching, but it must be for HTTP; the match tells whether TLS is a must."""
    match = ask(compile_router(snapshot(make_route(hosts=["any.example"], protocols=protocols)), flavor))
    assert (match and match.route.https_only) == https_only


@pytest.mark.parametrize(
    ("route", "target", "sent", "prefix"),
    [
        ({"paths": ["/one", "/two/three"]}, "/one/x", "/srv/x", "/one"),
        ({"paths": ["/one", "/two/three"]}, "/two/three/x", "/srv/x", "/two/three"),
        ({"paths": ["/x"], "strip_path": False}, "/x/y", "/srv/x/y", None),
        ({"paths": ["/"]}, "/y", "/srv/y", None),
        ({"hosts": ["any.example"]}, "/a%2fb/%F0%9F%98%80", "/srv/a%2Fb/%F0%9F%98%80", None),
        ({"paths": [r"~/users/\d+/profile"]}, "/users/123/profile/hello", "/srv/hello", "/users/123/profile"),
        ({"paths": [r"~/users/\d+"], "strip_path": False}, "/users/1/x", "/srv/users/1/x", None),
    ],
)
def test_path_upstream(flavor: str, route: dict[str, object], target: str, sent: str, prefix: str | None) -> None:
    """The path that matched is the one that is stripped."""
    service = make_service(path="/srv")
    match = ask(compile_router(snapshot(service, make_route(1, service, **route)), flavor), target)
    assert match is not None
    assert (match.path, match.prefix) == (sent.encode(), prefix.encode() if prefix else None)


def test_path_handling(flavor: str) -> None:
    """Only the traditional flavor knows v1."""
    service = make_service(path="/srv")
    route = make_route(1, service, paths=["/rou"], path_handling="v1")
    match = ask(compile_router(snapshot(service, route), flavor), "/roureq")
    assert match is not None
    assert match.path == (b"/srvreq" if flavor == "traditional" else b"/srv/req")


def test_service_path_is_escaped(flavor: str) -> None:
    """A service's path goes to the origin as a URI may spell it."""
    service = make_service(path="/ä b%2f")
    match = ask(compile_router(snapshot(service, make_route(1, service, paths=["/"])), flavor), "/x")
    assert match is not None
    assert match.path == b"/%C3%A4%20b%2f/x"


def test_captures(flavor: str) -> None:
    """What groups of a regular path have caught is told."""
    match = ask(compile_router(snapshot(make_route(paths=[r"~/u/(?<user>[^/]+)/(\d)"])), flavor), "/u/me/7/x")
    assert match is not None
    assert match.captures is not None
    assert match.captures.groupdict() == {"user": b"me"}
    assert match.captures[2] == b"7"
