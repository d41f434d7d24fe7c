from __future__ import annotations

from typing import Any

import pytest
from entity_making import NOW, SCHEMA, fields_of

from twisted_kong.model.entities import Api
from twisted_kong.model.legacy import Url

BODY = {"name": "a", "upstream_url": "http://a.test", "hosts": ["a.test"]}


def made(**data: Any) -> Api:
    return SCHEMA.build(Api, {**BODY, **data}, now=NOW)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": " a "}, {"name": "a"}),
        ({"hosts": "a.test, *.b.test"}, {"hosts": ["a.test", "*.b.test"]}),
        ({"hosts": ["a.*"]}, {"hosts": ["a.*"]}),
        ({"uris": ["/a/", "/", " /b/c "]}, {"uris": ["/a", "/", "/b/c"]}),
        ({"uris": "/%20"}, {"uris": ["/%20"]}),
        ({"methods": "GET,POST"}, {"methods": ["GET", "POST"]}),
        ({"methods": {}, "uris": ""}, {"methods": [], "uris": []}),
        ({"strip_uri": "False", "https_only": " TRUE "}, {"strip_uri": False, "https_only": True}),
        ({"retries": "0", "upstream_read_timeout": "1e3"}, {"retries": 0, "upstream_read_timeout": 1000}),
        ({"retries": 20.0}, {"retries": 20}),
    ],
)
def test_lenient(data: dict[str, Any], expected: dict[str, Any]) -> None:
    """Texts are trimmed, split at commas, and read as numbers and booleans; trailing slashes go."""
    found = made(**data).document()
    assert {name: found[name] for name in expected} == expected


def test_by_form() -> None:
    """A form's texts come to the same."""
    data = SCHEMA.coerce(Api, {"hosts": "a.test, b.test", "strip_uri": "False", "retries": "7", "uris": ""})
    assert isinstance(data, dict)
    found = made(**data)
    assert (found.hosts, found.strip_uri, found.retries, found.uris) == (("a.test", "b.test"), False, 7, None)


def test_defaults() -> None:
    """What was not set has the defaults of 0.10, or is not told."""
    found = made().document()
    assert {name: found[name] for name in found.keys() - {*BODY, "id", "created_at", "updated_at"}} == {
        "strip_uri": True,
        "preserve_host": False,
        "retries": 5,
        "upstream_connect_timeout": 60000,
        "upstream_send_timeout": 60000,
        "upstream_read_timeout": 60000,
        "https_only": False,
        "http_if_terminated": True,
    }


def host(value: object, text: str) -> dict[str, str]:
    return {"hosts": f"host with value '{value}' is invalid: {text}"}


def uri(value: object, text: str) -> dict[str, str]:
    return {"uris": f"uri with value '{value}' is invalid: {text}"}


CHARACTERS = "must only contain alphanumeric and '., -, _, ~, /, %' characters"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"name": None, "upstream_url": ""}, {"name": "name is required", "upstream_url": "upstream_url is required"}),
        ({"name": "a b"}, {"name": "name must only contain alphanumeric and '., -, _, ~' characters"}),
        ({"name": 1}, {"name": "name is not a string"}),
        ({"request_host": "a"}, {"request_host": "request_host is an unknown field"}),
        ({"hosts": ["a.test:80"]}, host("a.test:80", "Invalid hostname")),
        ({"hosts": ["*.a.*"]}, host("*.a.*", "Only one wildcard is allowed")),
        ({"hosts": ["a.*.b"]}, host("a.*.b", "Invalid wildcard placement")),
        ({"hosts": ["*a"]}, host("*a", "Invalid wildcard placement")),
        ({"hosts": ["a", " "]}, host(" ", "host is empty")),
        ({"hosts": [1]}, host(1, "must be a string")),
        ({"hosts": 1}, {"hosts": "hosts is not an array"}),
        ({"uris": ["a"]}, uri("a", "must be prefixed with slash")),
        ({"uris": ["/a//b"]}, uri("/a//b", "invalid")),
        ({"uris": ["/a?b"]}, uri("/a?b", CHARACTERS)),
        ({"uris": ["/%zz"]}, uri("/%zz", "must use proper encoding; '%zz' is invalid")),
        ({"methods": ["get"]}, {"methods": "method with value 'get' is invalid: invalid value"}),
        ({"strip_uri": "yes"}, {"strip_uri": "strip_uri is not a boolean"}),
        ({"retries": "x"}, {"retries": "retries is not a number"}),
        ({"retries": True}, {"retries": "retries is not a number"}),
        ({"retries": 10**400}, {"retries": "must be an integer between 0 and 32767"}),
        ({"retries": 2.5}, {"retries": "must be an integer between 0 and 32767"}),
        ({"retries": -1}, {"retries": "must be an integer between 0 and 32767"}),
        (
            {"upstream_connect_timeout": 0},
            {"upstream_connect_timeout": "must be an integer between 1 and 2147483647"},
        ),
        ({"hosts": [], "uris": None}, {"@entity": ["at least one of 'hosts', 'uris' or 'methods' must be specified"]}),
        ({"hosts": [], "name": ""}, {"name": "name is required"}),
    ],
)
def test_refused(data: dict[str, Any], found: dict[str, Any]) -> None:
    """Faults are told in the words of 0.10; that nothing is matched is told only where all else is right."""
    assert fields_of(Api, **{**BODY, **data}) == found


def test_matchers_may_go() -> None:
    """A new api matches something; a change may leave it with nothing."""
    assert SCHEMA.merge(made(), {"hosts": []}, now=NOW).hosts == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.test", Url("http", "a.test", 80, "/")),
        ("HTTPS://a.test/p", Url("https", "a.test", 443, "/p")),
        ("http://me@a_b:8080/p/?x#y", Url("http", "a_b", 8080, "/p/")),
        ("http://[::1]:1/", Url("http", "0000:0000:0000:0000:0000:0000:0000:0001", 1, "/")),
    ],
)
def test_upstream(text: str, expected: Url) -> None:
    """The parts of the upstream's URL; a missing port is that of the scheme."""
    assert made(upstream_url=text).upstream == expected


@pytest.mark.parametrize(
    "text", ["x", "a.test/p", "http:///p", "http://a b/", "http://a:x", "http://a:65536", "http://a/\r\nx", "http://[a"]
)
def test_no_url(text: str) -> None:
    """What no request could be sent to is no URL."""
    assert fields_of(Api, **{**BODY, "upstream_url": text}) == {"upstream_url": "upstream_url is not a url"}


def test_other_scheme() -> None:
    """An api speaks HTTP."""
    found = fields_of(Api, **{**BODY, "upstream_url": "ftp://a.test/"})
    assert found == {"upstream_url": "Supported protocols are HTTP and HTTPS"}


def test_timeouts() -> None:
    """The timeouts are told in milliseconds and used in seconds."""
    found = made(upstream_connect_timeout=1500, upstream_send_timeout=1, upstream_read_timeout=2000)
    assert found.timeouts == (1.5, 0.001, 2.0)
