from __future__ import annotations

from typing import Any

import pytest
from entity_making import NOW, SCHEMA, conditional, fields_of, make_id

from twisted_kong.errors import SchemaViolation
from twisted_kong.model.entities import Route, Service, Upstream
from twisted_kong.model.schema import Schema

REQUIRED = "required field missing"
PROTOCOLS = "grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp"
PEER = [{"ip": "127.0.0.0/8", "port": None}]

# -- services --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.test:81/b", ("http", "a.test", 81, "/b")),
        ("http://a.test", ("http", "a.test", 80, None)),
        ("https://a.test/b", ("https", "a.test", 443, "/b")),
        ("https://a.test:8443", ("https", "a.test", 8443, None)),
        ("http://127.0.0.1:8001/", ("http", "127.0.0.1", 8001, "/")),
        ("grpc://a.test", ("grpc", "a.test", 80, None)),
        ("//a.test", ("http", "a.test", 80, None)),
        ("//a.test:443/b", ("https", "a.test", 443, "/b")),
        ("http://user:p%40ss@a.test/b?c=d#e", ("http", "a.test", 80, "/b")),
        ("https://[::1]/b", ("https", "::1", 443, "/b")),
        ("https://[::1]:8443", ("https", "::1", 8443, None)),
    ],
)
def test_url(url: str, expected: tuple[object, ...]) -> None:
    """A url stands for protocol, host, port and path, and overrides them."""
    service = SCHEMA.build(Service, {"url": url, "host": "b", "port": 1, "path": "/c"}, now=NOW)
    assert (service.protocol, service.host, service.port, service.path) == expected
    assert "url" not in service.document()


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("a.test", {"host": REQUIRED, "path": "should start with: /"}),
        ("ftp://a.test", {"protocol": f"expected one of: {PROTOCOLS}"}),
        ("http://a.test:x", {"port": "expected an integer"}),
        ("http://a.test:70000", {"port": "value should be between 0 and 65535"}),
        ("http://a.test:" + "9" * 5000, {"port": "expected an integer"}),
        ("http:///b", {"host": REQUIRED}),
        ("http://[::1", {"host": "invalid value: [::1"}),
        (None, {"host": REQUIRED, "port": REQUIRED, "protocol": REQUIRED}),
        ("", {"url": "length must be at least 1"}),
        (12, {"url": "expected a string"}),
    ],
)
def test_refused_url(url: object, fields: dict[str, str]) -> None:
    """A url is checked as what it stands for; one that is no text is told alone."""
    more = {"retries": -1} if "url" in fields else {}
    assert fields_of(Service, url=url, **more) == fields


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"protocol": "tcp", "path": "/a"}, {"path": "value must be null"}),
        ({"protocol": "grpcs", "path": "/a"}, {"path": "value must be null"}),
        ({"tls_verify_depth": 1}, {"tls_verify_depth": "value must be null"}),
        ({"protocol": "grpc", "ca_certificates": []}, {"ca_certificates": "value must be null"}),
        ({"protocol": "tls", "path": "x"}, {"path": "value must be null"}),
    ],
)
def test_rules_of_the_protocol(body: dict[str, Any], found: dict[str, str]) -> None:
    """The protocol decides which fields make sense, whatever else is wrong with them."""
    assert fields_of(Service, host="a.test", **body) == conditional("protocol", **found)


def test_every_rule_is_told() -> None:
    """Each broken rule has its own entry, beside the faults of other fields."""
    text = "failed conditional validation given value of field 'protocol'"
    assert fields_of(Service, host="a b", tls_verify=True, tls_verify_depth=1) == {
        "@entity": [text, text],
        "host": "invalid value: a b",
        "tls_verify": "value must be null",
        "tls_verify_depth": "value must be null",
    }


def test_timeouts() -> None:
    """Timeouts are also known in seconds; null is the default, a minute."""
    body = {"host": "a", "connect_timeout": 1, "write_timeout": None, "read_timeout": 2500}
    assert SCHEMA.build(Service, body, now=NOW).timeouts == (0.001, 60, 2.5)


# -- routes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"),
        ({"paths": []}, "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"),
        ({"protocols": ["http"]}, "must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'"),
        ({"protocols": ["grpc"]}, "must set one of 'hosts', 'headers', 'paths' when 'protocols' is 'grpc'"),
        ({"protocols": ["grpcs"]}, "must set one of 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'grpcs'"),
        (
            {"protocols": ["udp"]},
            "must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp'",
        ),
        (
            {"protocols": ["tls_passthrough"], "sources": PEER},
            "must set snis when 'protocols' is 'tls_passthrough'",
        ),
    ],
)
def test_a_matcher_is_required(body: dict[str, Any], reason: str) -> None:
    """A route must match something that its protocols have; an empty list matches nothing."""
    assert fields_of(Route, **body) == {"@entity": [reason]}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (
            {"protocols": ["grpc"], "paths": ["/a"], "strip_path": True},
            {"strip_path": "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"},
        ),
        (
            {"protocols": ["grpc"], "paths": ["/a"], "methods": ["GET"]},
            {"methods": "cannot set 'methods' when 'protocols' is 'grpc' or 'grpcs'"},
        ),
        (
            {"paths": ["/a"], "sources": PEER},
            {"sources": "cannot set 'sources' when 'protocols' is 'http' or 'https'"},
        ),
        (
            {"protocols": ["tcp"], "sources": PEER, "paths": ["/a"]},
            {"paths": "cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'"},
        ),
        (
            {"protocols": ["http"], "paths": ["/a"], "snis": ["a.test"]},
            {
                "@entity": ["'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"],
                "snis": "length must be 0",
            },
        ),
        (
            {"protocols": ["tcp"], "sources": [{"port": 1}, {}]},
            {"sources": [None, {"@entity": ["at least one of these fields must be non-empty: 'ip', 'port'"]}]},
        ),
        (
            {"protocols": ["tcp"], "sources": [{"ip": "x"}]},
            {"sources": [{"ip": "invalid ip or cidr range: 'x'"}]},
        ),
        (
            {"protocols": ["http", "tcp"], "paths": ["/a"]},
            {
                "protocols": "these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp')",
                "paths": "cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'",
            },
        ),
        ({"protocols": [], "paths": ["/a"]}, {"protocols": "unknown type: nil"}),
        ({"protocols": {}, "paths": ["/a"]}, {"protocols": "unknown type: nil"}),
        ({"protocols": None, "paths": ["/a"]}, {"protocols": REQUIRED}),
        ({"protocols": "http", "paths": ["/a"]}, {"protocols": "expected a set"}),
        ({"protocols": ["foo"], "paths": ["/a"]}, {"protocols": "unknown type: foo"}),
        ({"protocols": ["foo", "http"], "paths": ["/a"]}, {"protocols": [f"expected one of: {PROTOCOLS}"]}),
    ],
)
def test_protocols_and_fields(body: dict[str, Any], fields: dict[str, Any]) -> None:
    """The protocols of a route are of one family, and decide which fields make sense."""
    assert fields_of(Route, **body) == fields


def test_grpc_does_not_strip() -> None:
    """A gRPC route keeps the path unless told otherwise, other routes strip it."""
    for protocols, strips in ((["grpc"], False), (["grpcs"], False), (["http"], True)):
        assert SCHEMA.build(Route, {"protocols": protocols, "paths": ["/a"]}, now=NOW).strip_path is strips


def test_streams() -> None:
    """A route of streams matches ends of connections."""
    route = SCHEMA.build(Route, {"protocols": ["tcp"], "sources": PEER * 2}, now=NOW)
    assert route.document()["sources"] == PEER


# -- upstreams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "algorithm", "hash_on"),
    [
        ({}, "round-robin", "none"),
        ({"algorithm": "latency"}, "latency", "none"),
        ({"algorithm": "consistent-hashing"}, "round-robin", "none"),
        ({"algorithm": None, "hash_on": None}, "round-robin", "none"),
        ({"hash_on": "consumer"}, "consistent-hashing", "consumer"),
        ({"hash_on": "ip", "algorithm": "bogus"}, "consistent-hashing", "ip"),
        ({"hash_on": "none", "algorithm": "bogus"}, "round-robin", "none"),
        ({"hash_on": "ip", "algorithm": "least-connections"}, "least-connections", "none"),
    ],
)
def test_algorithm_follows_hash_input(given: dict[str, Any], algorithm: str, hash_on: str) -> None:
    """The algorithm and the hash input are derived from one another."""
    upstream = SCHEMA.build(Upstream, {"name": "u", **given}, now=NOW)
    assert (upstream.algorithm, upstream.hash_on) == (algorithm, hash_on)


@pytest.mark.parametrize(
    ("before", "patch", "algorithm", "hash_on"),
    [
        ({"hash_on": "ip"}, {"algorithm": "round-robin"}, "consistent-hashing", "ip"),
        ({"hash_on": "ip"}, {"algorithm": None}, "consistent-hashing", "ip"),
        ({"hash_on": "ip"}, {"algorithm": "latency"}, "latency", "none"),
        ({"hash_on": "ip"}, {"hash_on": None}, "round-robin", "none"),
        ({"hash_on": "ip"}, {"hash_on": "path"}, "consistent-hashing", "path"),
        ({"algorithm": "least-connections"}, {"hash_on": "ip"}, "consistent-hashing", "ip"),
        ({"algorithm": "least-connections"}, {"hash_on": "none"}, "round-robin", "none"),
        ({"algorithm": "least-connections"}, {"slots": 10}, "least-connections", "none"),
    ],
)
def test_they_follow_one_another_in_changes(
    before: dict[str, Any], patch: dict[str, Any], algorithm: str, hash_on: str
) -> None:
    """A change of one changes the other; a change of neither changes neither."""
    upstream = SCHEMA.merge(SCHEMA.build(Upstream, {"name": "u", **before}, now=NOW), patch, now=NOW)
    assert (upstream.algorithm, upstream.hash_on) == (algorithm, hash_on)


def test_algorithm_of_a_third_party() -> None:
    """An algorithm that was installed is usable by its name, and hashes on whatever it likes."""
    schema = Schema(algorithms=["sticky", "latency"])
    for hash_on in ("none", "ip"):
        upstream = schema.build(Upstream, {"name": "u", "algorithm": "sticky", "hash_on": hash_on}, now=NOW)
        assert (upstream.algorithm, upstream.hash_on) == ("sticky", hash_on)
    found = schema.merge(upstream, {"hash_on": "path"}, now=NOW)
    assert (found.algorithm, found.hash_on) == ("sticky", "path")
    assert schema.merge(found, {"algorithm": "latency"}, now=NOW).hash_on == "none"


def test_unknown_algorithm() -> None:
    """An algorithm that nobody installed is refused, Kong's names first."""
    kong = "expected one of: consistent-hashing, least-connections, round-robin, latency"
    assert fields_of(Upstream, name="u", algorithm="sticky") == {"algorithm": kong}
    upstream = Schema(algorithms=["sticky"]).build(Upstream, {"name": "u"}, now=NOW)
    assert upstream.algorithm == "round-robin"


def test_check_of_a_third_party() -> None:
    """A check that was installed is usable by its name."""
    body = {"name": "u", "healthchecks": {"active": {"type": "ping"}}}
    assert Schema(checks=["ping"]).build(Upstream, body, now=NOW).healthchecks.active.type == "ping"


@pytest.mark.parametrize("shorthand", ["algorithm", "hash_on"])
@pytest.mark.parametrize(("value", "reason"), [(1, "expected a string"), ("", "length must be at least 1")])
def test_shorthand_that_is_no_text(shorthand: str, value: object, reason: str) -> None:
    """An algorithm or a hash input that is no text is told alone."""
    assert fields_of(Upstream, **{"name": "a b", shorthand: value}) == {shorthand: reason}


@pytest.mark.parametrize(
    "body",
    [
        {"hash_on": "cookie", "hash_on_cookie": "c"},
        {"hash_on": "header", "hash_on_header": "x-a", "hash_fallback": "header", "hash_fallback_header": "x-b"},
        {"hash_on": "header", "hash_on_header": "x-a", "hash_fallback": "cookie", "hash_on_cookie": "c"},
        {"hash_on": "path", "hash_fallback": "ip"},
        {"hash_on": "query_arg", "hash_on_query_arg": "q"},
        {"hash_on": "uri_capture", "hash_on_uri_capture": "user", "hash_fallback": "path"},
    ],
    ids=str,
)
def test_complete_hash_inputs(body: dict[str, Any]) -> None:
    """A complete hash input is accepted as given."""
    found = SCHEMA.build(Upstream, {"name": "u", **body}, now=NOW).document()
    assert found == {**found, **body, "algorithm": "consistent-hashing"}


OTHERS = "expected one of: none, consumer, header, cookie, path, query_arg, uri_capture"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"hash_on": "header"}, conditional("hash_on", hash_on_header=REQUIRED)),
        ({"hash_on": "cookie"}, conditional("hash_on", hash_on_cookie=REQUIRED)),
        ({"hash_on": "query_arg"}, conditional("hash_on", hash_on_query_arg=REQUIRED)),
        (
            {"hash_on": "ip", "hash_fallback": "header"},
            conditional("hash_fallback", hash_fallback_header=REQUIRED),
        ),
        ({"hash_on": "ip", "hash_fallback": "cookie"}, conditional("hash_fallback", hash_on_cookie=REQUIRED)),
        (
            {"hash_on": "ip", "hash_fallback": "uri_capture"},
            conditional("hash_fallback", hash_fallback_uri_capture=REQUIRED),
        ),
        ({"hash_fallback": "ip"}, conditional("hash_on", hash_fallback="expected one of: none")),
        ({"hash_fallback": "foo"}, conditional("hash_on", hash_fallback="expected one of: none")),
        (
            {"hash_on": "cookie", "hash_on_cookie": "c", "hash_fallback": "ip"},
            conditional("hash_on", hash_fallback="expected one of: none"),
        ),
        ({"hash_on": "ip", "hash_fallback": "ip"}, conditional("hash_on", hash_fallback=OTHERS)),
        (
            {"hash_on": "consumer", "hash_fallback": "consumer"},
            conditional(
                "hash_on", hash_fallback="expected one of: none, ip, header, cookie, path, query_arg, uri_capture"
            ),
        ),
        (
            {"hash_on": "path", "hash_fallback": "path"},
            conditional(
                "hash_on", hash_fallback="expected one of: none, consumer, header, cookie, query_arg, ip, uri_capture"
            ),
        ),
        (
            {"hash_on_header": "a", "hash_fallback_header": "a"},
            {"@entity": ["values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header'"]},
        ),
        (
            {"hash_on_uri_capture": "c", "hash_fallback_uri_capture": "c"},
            {
                "@entity": [
                    "values of these fields must be distinct: 'hash_on_uri_capture', 'hash_fallback_uri_capture'"
                ]
            },
        ),
    ],
    ids=str,
)
def test_incomplete_hash_inputs(body: dict[str, Any], fields: dict[str, Any]) -> None:
    """An incomplete or contradictory hash input is refused."""
    assert fields_of(Upstream, name="u", **body) == fields


def test_stranded_fallback() -> None:
    """An algorithm that drops the hash input is refused while a fallback stands."""
    body = {"name": "u", "id": make_id(1), "hash_on": "ip", "hash_fallback": "consumer"}
    assert SCHEMA.build(Upstream, body, now=NOW).hash_fallback == "consumer"
    assert fields_of(Upstream, **body, algorithm="least-connections") == conditional(
        "hash_on", hash_fallback="expected one of: none"
    )


# -- the order of slots ----------------------------------------------------------------------------------------

REVERSED = [*range(10, 0, -1)]
MISMATCH = "size mismatch between 'slots' and 'orderlist'"


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        ([1, 2, 3], MISMATCH),
        ([1, *range(1, 10)], "invalid orderlist"),
        ([*range(10)], "invalid orderlist"),
        ([1.5, *range(2, 11)], "invalid orderlist"),
        (["1", *range(2, 11)], "invalid orderlist"),
        ([True, *range(2, 11)], "invalid orderlist"),
        ([[], *range(2, 11)], "invalid orderlist"),
        ({"a": 1}, "expected an array"),
    ],
)
def test_refused_order(order: object, fault: str) -> None:
    """An order has each slot once."""
    assert fields_of(Upstream, name="u", slots=10, orderlist=order) == {"orderlist": fault}


def test_order() -> None:
    """An order is kept with its slots, and told only where there is one; an empty one is none."""
    made = SCHEMA.build(Upstream, {"name": "u", "slots": 10, "orderlist": REVERSED}, now=NOW)
    assert made.document()["orderlist"] == REVERSED
    assert SCHEMA.merge(made, {"name": "v"}, now=NOW).orderlist == tuple(REVERSED)
    assert SCHEMA.merge(made, {"slots": 12, "orderlist": [*range(1, 13)]}, now=NOW).slots == 12
    nothings: list[object] = [None, [], {}]
    for nothing in nothings:
        assert "orderlist" not in SCHEMA.merge(made, {"orderlist": nothing}, now=NOW).document()
    with pytest.raises(SchemaViolation) as refusal:
        SCHEMA.merge(made, {"slots": 12}, now=NOW)
    assert refusal.value.fields == {"orderlist": MISMATCH}
