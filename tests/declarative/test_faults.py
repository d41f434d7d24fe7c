"""What is told of a faulty document: Kong's message, the list by entity, and the report with lines."""

from __future__ import annotations

from typing import Any

import pytest
from document_making import refusal, refused

from twisted_kong.model.declarative.reading import locate, read

ID = "5f1d7e76-2fed-4806-a6af-869984f025cb"


# -- the message -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "braces"),
    [
        ({"foo": 1, "bar": 1}, '{bar="unknown field",foo="unknown field"}'),
        ({"a-b": 1, "1": 1}, '{["1"]="unknown field",["a-b"]="unknown field"}'),
        ({"services": [{"name": "s"}]}, '{services={{host="required field missing"}}}'),
        ({"services": [{"host": "a"}, {"host": 1}]}, '{services={[2]={host="expected a string"}}}'),
        (
            {"services": [{"host": 1}, {"host": "a"}, {"host": 1}]},
            '{services={{host="expected a string"},[3]={host="expected a string"}}}',
        ),
        (
            {"upstreams": [{"name": "u", "hash_on": "header"}]},
            '{upstreams={{["@entity"]={"failed conditional validation given value of field \'hash_on\'"},'
            'hash_on_header="required field missing"}}}',
        ),
    ],
)
def test_message(sections: dict[str, Any], braces: str) -> None:
    """The message is the tree in Kong's braces."""
    refused = refusal(**sections)
    assert str(refused) == refused.message == f"declarative config is invalid: {braces}"


def test_body() -> None:
    """The answer has Kong's code and name."""
    assert refused({}).body() == {
        "code": 14,
        "name": "invalid declarative configuration",
        "message": 'declarative config is invalid: {_format_version="required field missing"}',
        "fields": {"_format_version": "required field missing"},
    }


# -- by entity -------------------------------------------------------------------------------------------------


def entries(**sections: Any) -> list[dict[str, Any]]:
    """What is told by entity, where nothing else is."""
    body = refusal(**sections).flattened()
    assert (body["fields"], body["message"]) == ({}, "declarative config is invalid: {}")
    found: list[dict[str, Any]] = body["flattened_errors"]
    return found


def field(name: str, message: str) -> dict[str, str]:
    return {"type": "field", "field": name, "message": message}


def test_entry() -> None:
    """An entry has the entity as it was sent, what identifies it, and its faults by their way in it."""
    sent = {"id": ID, "name": "u", "tags": ["x"], "slots": 1, "healthchecks": {"active": {"concurrency": 0}}}
    assert entries(upstreams=[{**sent, "_comment": "why", "targets": []}]) == [
        {
            "entity_type": "upstream",
            "entity_id": ID,
            "entity_name": "u",
            "entity_tags": ["x"],
            "entity": sent,
            "errors": [
                field("slots", "value should be between 10 and 65536"),
                field("healthchecks.active.concurrency", "value should be between 1 and 2147483648"),
            ],
        }
    ]


def test_what_does_not_identify() -> None:
    """What is no name, no id or no tags does not identify the entity."""
    (entry,) = entries(upstreams=[{"id": "x", "name": "", "tags": ["a", 1]}])
    assert entry.keys() == {"entity_type", "entity", "errors"}
    assert field("tags.2", "expected a string") in entry["errors"]


def test_rules() -> None:
    """A broken rule is a fault of the entity, one inside of it a fault of that part."""
    route = {"protocols": ["tcp"], "sources": [{"port": 1}, {}]}
    (entry,) = entries(routes=[{"paths": ["/"], **route}])
    assert field("sources.2", "at least one of these fields must be non-empty: 'ip', 'port'") in entry["errors"]
    (entry,) = entries(routes=[{}])
    assert [error["type"] for error in entry["errors"]] == ["entity"]
    assert "field" not in entry["errors"][0]


def test_nested_entities() -> None:
    """What is nested has an entry of its own, and tells its parent where that has an id."""
    route = {"name": "r"}
    (entry,) = entries(services=[{"id": ID.upper(), "host": "a", "routes": [route]}])
    assert entry["entity"] == {"name": "r", "service": {"id": ID.upper()}}
    (entry,) = entries(services=[{"host": "a", "routes": [route]}])
    assert entry["entity"] == {"name": "r"}
    parent, child = entries(services=[{"routes": [route]}])
    assert (parent["entity_type"], child["entity_type"]) == ("service", "route")


def test_ids_that_were_made() -> None:
    """Once ids were made they are told."""
    service = {"name": "my-service", "host": "a"}
    (entry,) = entries(services=[service, service])
    assert entry["entity_id"] == "0855b320-0dd2-547d-891d-601e9b38647f"
    assert entry["entity"] == {**service, "id": entry["entity_id"]}


def test_reference_to_nobody() -> None:
    """A reference to nobody is a fault of its field."""
    (entry,) = entries(routes=[{"name": "r", "paths": ["/"], "service": "s"}])
    assert entry["errors"] == [field("service", "invalid reference 'service: s' (no such entry in 'services')")]


def test_what_is_nobodys_fault() -> None:
    """What is not the fault of an entity stays in the tree."""
    body = refusal(foo=1, services=["x", {"name": "s"}]).flattened()
    assert body["fields"] == {"foo": "unknown field", "services": ["expected a record"]}
    assert body["message"] == 'declarative config is invalid: {foo="unknown field",services={"expected a record"}}'
    assert [entry["entity_name"] for entry in body["flattened_errors"]] == ["s"]
    assert refusal(foo=1).flattened()["flattened_errors"] == []


@pytest.mark.parametrize(
    ("collection", "entity", "kind"),
    [
        ("services", {}, "service"),
        ("keyauth_credentials", {}, "keyauth_credential"),
        ("ca_certificates", {}, "ca_certificate"),
        ("apis", {}, "api"),
    ],
)
def test_types(collection: str, entity: dict[str, Any], kind: str) -> None:
    """The type of an entity is the singular of its collection."""
    assert entries(**{collection: [entity]})[0]["entity_type"] == kind


# -- for people ------------------------------------------------------------------------------------------------

TEXT = """\
_format_version: "3.0"
foo: 1
services:
- name: s
  port: x
- name: t
  host: a
  routes:
  - name: r
    tags:
    - x
    - 7
"""
REPORT = """\
in 'foo': unknown field (line 2)
in 'services':
  - in entry 1 of 'services':
    in 'host': required field missing (line 4)
    in 'port': expected an integer (line 5)
  - in entry 2 of 'services':
    in 'routes':
      - in entry 1 of 'routes':
        in '@entity':
          - in entry 1 of '@entity': must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' \
is 'https' (line 9)
        in 'tags':
          - in entry 2 of 'tags': expected a string (line 12)"""


def test_report() -> None:
    """The report is Kong's tree, in the order of positions and names, with the lines of the document."""
    assert refused(read(TEXT)).report(locate(TEXT)) == REPORT


def test_report_without_lines() -> None:
    """Where nobody knows the lines, none are told."""
    assert refused({}).report(lambda way: None) == "in '_format_version': required field missing"


def test_report_of_what_refers_to_nobody() -> None:
    """What Kong tells by name is told with the line in which it stands."""
    text = '_format_version: "3.0"\nroutes:\n- paths: [/]\n  name: r\n  service: s\n'
    told = (
        "in 'routes':\n  in 'r':\n    - in entry 1 of 'r': invalid reference 'service: s' (no such entry in 'services')"
    )
    assert refused(read(text)).report(locate(text)) == f"{told} (line 5)"
