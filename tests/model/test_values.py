from __future__ import annotations

from typing import Any

import pytest
from entity_making import NOW, SCHEMA, fields_of, make_id

from twisted_kong.model.entities import Entity, Route, Service, Target, Upstream

SPELLING = "the only accepted ascii characters are alphanumerics or ., -, _, and ~"
TAG = "expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
HEADER = "allowed characters are A-Z, a-z, 0-9, '_', and '-'"
REQUIRED: dict[type[Entity], dict[str, Any]] = {
    Service: {"host": "a.test"},
    Route: {"methods": ["GET"]},
    Upstream: {"name": "u"},
    Target: {"target": "a:80", "upstream": {"id": make_id(1)}},
}


@pytest.mark.parametrize(
    ("entity", "field", "value"),
    [
        (Service, "host", "1.2.3.4"),
        (Service, "host", "::1"),
        (Service, "name", "日本"),
        (Service, "name", "a.b-c_d~E1"),
        (Service, "port", 0),
        (Service, "retries", None),
        (Service, "read_timeout", 2147483646),
        (Service, "path", "/%20/a;b=c@d:e"),
        (Service, "tags", []),
        (Route, "paths", ["/", "/", "/a/", "~/(?<id>\\d+)$", "/日本", "/a%2Fb"]),
        (Route, "hosts", ["*.a.test", "a.*", "a.*:80", "[::1]:80", "1.2.3.4"]),
        (Route, "snis", ["a.test", "*.a.test", "a.*", "a.test."]),
        (Route, "headers", {"x-a": ["1", "2"], "X_B": []}),
        (Route, "methods", ["GET", "FOO"]),
        (Route, "regex_priority", -7),
        (Route, "path_handling", None),
        (Route, "https_redirect_status_code", 308),
        (Upstream, "name", "A.b_c-d.123"),
        (Upstream, "host_header", "a.test:80"),
        (Upstream, "hash_on_cookie", "a!b"),
        (Upstream, "hash_on_cookie_path", None),
        (Upstream, "use_srv_name", None),
        (Target, "weight", 0),
        (Target, "tags", ["a b", "é", "~"]),
    ],
)
def test_accepted(entity: type[Entity], field: str, value: object) -> None:
    """A value within its rules is kept as given."""
    assert SCHEMA.build(entity, {**REQUIRED[entity], field: value}, now=NOW).document()[field] == value


@pytest.mark.parametrize(
    ("entity", "field", "value", "reason"),
    [
        (Service, "id", "abc", "expected a valid UUID"),
        (Service, "id", 1, "expected a string"),
        (Service, "created_at", 0, "expected a valid timestamp"),
        (Service, "created_at", 1.5, "expected an integer"),
        (Service, "created_at", True, "expected an integer"),
        (Service, "name", "a b", f"invalid value 'a b': {SPELLING}"),
        (Service, "name", "a{b}", f"invalid value 'a{{b}}': {SPELLING}"),
        (Service, "name", "a\n", f"invalid value 'a\n': {SPELLING}"),
        (Service, "name", "é\ud800", "invalid utf-8 character sequence detected at position 3"),
        (Service, "name", "", "length must be at least 1"),
        (Service, "host", None, "required field missing"),
        (Service, "host", 1, "expected a string"),
        (Service, "host", "a b", "invalid value: a b"),
        (Service, "host", "a:80", "must not have a port"),
        (Service, "port", None, "required field missing"),
        (Service, "port", True, "expected an integer"),
        (Service, "port", "80", "expected an integer"),
        (Service, "port", 65536, "value should be between 0 and 65535"),
        (Service, "port", 10**30, "value should be between 0 and 65535"),
        (Service, "port", float("nan"), "expected an integer"),
        (Service, "path", "x", "should start with: /"),
        (Service, "path", "/a//b", "must not have empty segments"),
        (
            Service,
            "path",
            "/a b",
            "invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found)",
        ),
        (Service, "path", "/%zz", "invalid url-encoded value: '%zz'"),
        (Service, "enabled", "yes", "expected a boolean"),
        (Service, "enabled", 1, "expected a boolean"),
        (Service, "foo", None, "unknown field"),
        (Service, "tags", "a", "expected a set"),
        (Service, "tags", {"1": "a"}, "expected a set"),
        (Service, "tags", [True, "x", 3], ["expected a string", None, "expected a string"]),
        (Service, "tags", ["", None], ["length must be at least 1", "required field missing"]),
        (Service, "tags", ["x", "a,b"], [None, f"invalid tag 'a,b': {TAG}"]),
        (Service, "tags", ["a/b", "a\tb"], [f"invalid tag 'a/b': {TAG}", f"invalid tag 'a\tb': {TAG}"]),
        (Upstream, "client_certificate", 1, {"id": "missing primary key"}),
        (Upstream, "client_certificate", {}, {"id": "missing primary key"}),
        (Upstream, "client_certificate", {"name": "a"}, {"id": "missing primary key"}),
        (Upstream, "client_certificate", {"id": None}, {"id": "required field missing"}),
        (Upstream, "client_certificate", {"id": "x"}, {"id": "expected a valid UUID"}),
        (Upstream, "client_certificate", ["x"], ["unknown field"]),
        (Route, "paths", "/a", "expected an array"),
        (Route, "paths", ["a"], ["should start with: / (fixed path) or ~/ (regex path)"]),
        (Route, "paths", ["~a"], ["should start with: / (fixed path) or ~/ (regex path)"]),
        (Route, "paths", ["/a//b"], ["must not have empty segments"]),
        (Route, "paths", ["/a/../b"], ["non-normalized path, consider use '/b' instead"]),
        (Route, "paths", ["/a%7Eb"], ["non-normalized path, consider use '/a~b' instead"]),
        (Route, "paths", ["/a%zz"], ["invalid url-encoded value: '%zz'"]),
        (Route, "hosts", ["a b"], ["invalid hostname: a b"]),
        (Route, "hosts", ["a:65536"], ["invalid port number"]),
        (Route, "hosts", ["*.a.*"], ["invalid wildcard: must have at most one wildcard"]),
        (Route, "hosts", ["a.*.b"], ["invalid wildcard: must be placed at leftmost or rightmost label"]),
        (Route, "hosts", ["*"], ["invalid wildcard: must be placed at leftmost or rightmost label"]),
        (Route, "snis", ["1.2.3.4"], ["must not be an IP"]),
        (Route, "snis", ["a.test:80"], ["must not have a port"]),
        (Route, "snis", ["a.*.b"], ["wildcard must be leftmost or rightmost character"]),
        (Route, "snis", ["*.*"], ["only one wildcard must be specified"]),
        (Route, "methods", ["get"], ["invalid value: get"]),
        (Route, "headers", ["a"], "expected a map"),
        (Route, "headers", {"x-a": "1"}, "expected an array"),
        (Route, "headers", {"x-a": ["1", 2]}, "expected a string"),
        (Route, "headers", {"x a": ["1"]}, f"bad header name 'x a', {HEADER}"),
        (Route, "headers", {"\ud800{text}": ["1"]}, f"bad header name '?{{text}}', {HEADER}"),
        (
            Route,
            "headers",
            {"Host": ["x"]},
            "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
        ),
        (Route, "regex_priority", "1", "expected an integer"),
        (Route, "path_handling", "v2", "expected one of: v0, v1"),
        (Route, "https_redirect_status_code", 300, "expected one of: 426, 301, 302, 307, 308"),
        (Upstream, "name", "a b", "Invalid name ('a b'); must be a valid hostname"),
        (Upstream, "name", "1234", "Invalid name ('1234'); must be a valid hostname"),
        (Upstream, "name", "1.2.3.4", "Invalid name ('1.2.3.4'); no ip addresses allowed"),
        (Upstream, "name", "[::1]", "Invalid name ('[::1]'); no ip addresses allowed"),
        (Upstream, "name", "a:80", "Invalid name ('a:80'); no port allowed"),
        (Upstream, "slots", 10.5, "expected an integer"),
        (Upstream, "slots", None, "required field missing"),
        (Upstream, "host_header", "a:x", "invalid hostname: a:x"),
        (Upstream, "host_header", ["a"], "expected a string"),
        (Upstream, "hash_on_header", "a b", f"bad header name 'a b', {HEADER}"),
        (Upstream, "hash_on_uri_capture", "", "length must be at least 1"),
        (Upstream, "healthchecks", None, "required field missing"),
        (Upstream, "healthchecks", 1, "expected a record"),
        (Upstream, "healthchecks", [1], ["unknown field"]),
        (Upstream, "healthchecks", {"foo": 1}, {"foo": "unknown field"}),
        (Upstream, "healthchecks", {"active": None}, {"active": "required field missing"}),
        (Upstream, "healthchecks", {"threshold": "1"}, {"threshold": "expected a number"}),
        (Upstream, "healthchecks", {"threshold": float("inf")}, {"threshold": "expected a number"}),
        (Upstream, "healthchecks", {"threshold": 10**400}, {"threshold": "value should be between 0 and 100"}),
        (Upstream, "healthchecks", {"passive": {"http_path": "/"}}, {"passive": {"http_path": "unknown field"}}),
        (
            Upstream,
            "healthchecks",
            {"active": {"healthy": {"http_statuses": [200, 99]}, "https_sni": "1.2.3.4"}},
            {
                "active": {
                    "healthy": {"http_statuses": [None, "value should be between 100 and 999"]},
                    "https_sni": "must not be an IP",
                }
            },
        ),
        (
            Upstream,
            "healthchecks",
            {"active": {"type": "foo"}},
            {"active": {"type": "expected one of: tcp, http, https, grpc, grpcs"}},
        ),
        (Target, "target", "a b", "Invalid target ('a b'); not a valid hostname or ip address"),
        (Target, "target", 12, "expected a string"),
        (Target, "upstream", None, "required field missing"),
        (Target, "weight", None, "required field missing"),
        (Target, "weight", 65536, "value should be between 0 and 65535"),
    ],
)
def test_refused(entity: type[Entity], field: str, value: object, reason: object) -> None:
    """A value outside its rules is refused in Kong's words, where it stands."""
    assert fields_of(entity, **{**REQUIRED[entity], field: value}) == {field: reason}


def test_broken_text_for_a_name() -> None:
    """A field whose name is no text is refused like any unknown one, at every depth."""
    reason = "expected names of fields in valid utf-8"
    assert fields_of(Upstream, **{"name": "u", "\ud800": 1}) == {"@entity": [reason]}
    assert fields_of(Upstream, name="u", healthchecks={"\ud800": 1}) == {"healthchecks": reason}


def test_broken_cookie_name() -> None:
    """A cookie's name is a token."""
    reason = fields_of(Upstream, name="u", hash_on_cookie="a b")["hash_on_cookie"]
    assert reason.startswith("contains one or more invalid characters. ASCII control characters (0-31;127), space")


def test_broken_regular_path() -> None:
    """A regular path must compile; the pattern is told without its mark."""
    (reason,) = fields_of(Route, paths=["~/(a"])["paths"]
    assert reason.startswith("invalid regex: '/(a' (PCRE returned: ")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.test", "a.test:8000"),
        ("A.test:80", "A.test:80"),
        ("1.2.3.004:9", "1.2.3.4:9"),
        ("1.2.3.4", "1.2.3.4:8000"),
        ("::1", "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"),
        ("[::1]:0", "[0000:0000:0000:0000:0000:0000:0000:0001]:0"),
    ],
)
def test_spelling_of_targets(given: str, kept: str) -> None:
    """A target is kept as host:port, port 8000 by default, addresses in full."""
    assert SCHEMA.build(Target, {**REQUIRED[Target], "target": given}, now=NOW).target == kept


@pytest.mark.parametrize(
    ("entity", "field", "value", "kept"),
    [
        (Upstream, "slots", 20.0, 20),
        (Upstream, "tags", {}, []),
        (Upstream, "tags", ["b", "a", "b"], ["b", "a"]),
        (Route, "methods", ["GET", "FOO", "GET"], ["GET", "FOO"]),
        (Route, "headers", [], {}),
        (Service, "id", make_id(0xAB).upper(), make_id(0xAB)),
        (Service, "created_at", 1234567890.0, 1234567890),
        (Target, "created_at", 1602.125, 1602.125),
    ],
)
def test_other_spellings(entity: type[Entity], field: str, value: object, kept: object) -> None:
    """What may be written in several ways is kept in one."""
    found = SCHEMA.build(entity, {**REQUIRED[entity], field: value}, now=NOW).document()[field]
    assert (found, type(found)) == (kept, type(kept))


def test_every_fault_is_told() -> None:
    """All faults are told at once, and nothing of what is sound."""
    assert fields_of(Upstream, name="u", slots=1, foo=1, tags=["a", 1]) == {
        "slots": "value should be between 10 and 65536",
        "foo": "unknown field",
        "tags": [None, "expected a string"],
    }
