from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from entity_making import NOW, SCHEMA, make_id

from twisted_kong.model.entities import (
    COLLECTIONS,
    CaCertificate,
    Certificate,
    Consumer,
    Entity,
    KeyauthCredential,
    Plugin,
    Route,
    Service,
    Target,
    Upstream,
)
from twisted_kong.model.published import describe, describe_plugin, without_optional_records
from twisted_kong.model.schema import Schema


def fields(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The attributes of the fields of a schema or a record, by name."""
    return {name: attributes for field in found["fields"] for name, attributes in field.items()}


@pytest.mark.parametrize("entity", COLLECTIONS.values())
def test_every_field(entity: type[Entity]) -> None:
    """Every field is told, each in an object of its own that JSON can say, with a type."""
    found = describe(entity)
    assert json.loads(json.dumps(found)) == found
    assert all(len(field) == 1 for field in found["fields"])
    assert fields(found).keys() == entity.model_fields.keys()
    assert all("type" in attributes for attributes in fields(found).values())


ID = {"type": "string", "uuid": True, "auto": True}
MOMENT = {"timestamp": True, "auto": True}


@pytest.mark.parametrize(
    ("entity", "field", "expected"),
    [
        (Service, "id", ID),
        (Service, "created_at", {"type": "integer", **MOMENT}),
        (Target, "created_at", {"type": "number", **MOMENT}),
        (Service, "tags", {"type": "set", "elements": {"type": "string"}}),
        (Service, "name", {"type": "string", "unique": True}),
        (Service, "path", {"type": "string", "starts_with": "/"}),
        (Service, "retries", {"type": "integer", "default": 5, "between": [0, 32767]}),
        (Service, "enabled", {"type": "boolean", "default": True, "required": True}),
        (Service, "client_certificate", {"type": "foreign", "reference": "certificates"}),
        (
            Service,
            "ca_certificates",
            {"type": "array", "elements": {"type": "string", "uuid": True}},
        ),
        (
            Route,
            "protocols",
            {
                "type": "set",
                "required": True,
                "default": ["http", "https"],
                "len_min": 1,
                "elements": {
                    "type": "string",
                    "one_of": ["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"],
                },
            },
        ),
        (
            Route,
            "headers",
            {
                "type": "map",
                "keys": {"type": "string"},
                "values": {"type": "array", "elements": {"type": "string"}},
            },
        ),
        (Upstream, "name", {"type": "string", "required": True, "unique": True}),
        (Upstream, "slots", {"type": "integer", "required": True, "default": 10000, "between": [10, 65536]}),
        (Target, "target", {"type": "string", "required": True}),
        (
            Target,
            "upstream",
            {"type": "foreign", "reference": "upstreams", "on_delete": "cascade", "required": True},
        ),
        (KeyauthCredential, "key", {"type": "string", "auto": True, "unique": True}),
    ],
)
def test_attributes(entity: type[Entity], field: str, expected: dict[str, Any]) -> None:
    """A field is told in Kong's attributes."""
    assert fields(describe(entity))[field] == expected


def test_records() -> None:
    """Records have fields of their own, with their defaults, and no default as a whole."""
    checks = fields(describe(Upstream))["healthchecks"]
    active = fields(checks)["active"]
    assert (checks["type"], active["type"], checks["required"]) == ("record", "record", True)
    assert "default" not in checks
    assert fields(active)["timeout"] == {"type": "number", "required": True, "default": 1, "between": [0, 65535]}
    assert fields(fields(active)["healthy"])["http_statuses"]["default"] == [200, 302]


def test_names_of_others() -> None:
    """Algorithms and checks of components that are installed are told after Kong's own."""
    algorithms = ["consistent-hashing", "least-connections", "round-robin", "latency"]
    checks = ["tcp", "http", "https", "grpc", "grpcs"]
    for names in ([], ["mine"]):
        found = fields(describe(Upstream, Schema(algorithms=names, checks=names).names))
        assert found["algorithm"]["one_of"] == algorithms + names
        active = fields(found["healthchecks"])["active"]
        assert fields(active)["type"]["one_of"] == checks + names


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        (Consumer, {"at_least_one_of": ["custom_id", "username"]}),
        (Certificate, {"mutually_required": ["cert_alt", "key_alt"]}),
        (Upstream, {"distinct": ["hash_on_header", "hash_fallback_header"]}),
        (
            Upstream,
            {
                "conditional": {
                    "if_field": "hash_on",
                    "if_match": {"one_of": ["header"]},
                    "then_field": "hash_on_header",
                    "then_match": {"required": True},
                }
            },
        ),
        (
            Service,
            {
                "conditional": {
                    "if_field": "protocol",
                    "if_match": {"not_one_of": ["https", "tls"]},
                    "then_field": "tls_verify",
                    "then_match": {"eq": None},
                }
            },
        ),
    ],
)
def test_checks(entity: type[Entity], expected: dict[str, Any]) -> None:
    """Rules between fields are told in Kong's terms."""
    assert expected in describe(entity)["entity_checks"]


def test_no_checks() -> None:
    """Who has no rules has an empty list of them."""
    assert describe(CaCertificate)["entity_checks"] == []


def test_plugins() -> None:
    """A plugin tells its configuration; one that is not there tells nothing."""
    found = describe_plugin("key-auth")
    assert found is not None
    assert fields(fields(found)["config"])["key_names"]["default"] == ["apikey"]
    assert fields(describe(Plugin))["config"] == fields(found)["config"]
    assert describe_plugin("foo") is None


REQUIRED_DATA: dict[str, dict[str, Any]] = {
    "services": {"host": "a"},
    "routes": {"paths": ["/"]},
    "upstreams": {"name": "u"},
    "targets": {"target": "a:80", "upstream": {"id": make_id(1)}},
    "plugins": {"name": "key-auth"},
    "consumers": {"username": "a"},
}


@pytest.mark.parametrize("collection", REQUIRED_DATA)
def test_defaults_are_true(collection: str) -> None:
    """What an entity has where nothing was said is what its schema says."""
    entity = COLLECTIONS[collection]
    made = SCHEMA.build(entity, REQUIRED_DATA[collection], now=NOW).document()
    check_defaults(fields(describe(entity)), made, REQUIRED_DATA[collection])


def check_defaults(described: Mapping[str, Any], made: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name, attributes in described.items():
        if "ours" in attributes:
            assert name not in made
        elif attributes["type"] == "record":
            check_defaults(fields(attributes), made[name], {})
        elif name not in given and not attributes.get("auto"):
            assert made.get(name) == attributes.get("default"), name


def test_optional_records() -> None:
    """Clients that fill in what they are told of are told of no record that may be missing, wherever it stands."""
    whole, told = describe(Upstream), without_optional_records(describe(Upstream))
    assert fields(whole).keys() - fields(told).keys() == {"retry_budget", "queue"}
    passive, all_of_it = (fields(fields(fields(one)["healthchecks"])["passive"]) for one in (told, whole))
    assert passive == {name: attributes for name, attributes in all_of_it.items() if name != "recovery"}
    assert "recovery" in all_of_it
    service = describe(Service)
    assert without_optional_records(service) == service
