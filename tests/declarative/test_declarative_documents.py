"""What a document means: its form, what is nested in what, who refers to whom, and what older formats said."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from document_making import document, expanded, fields, loaded, refusal, refused, stated
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.model.declarative.faults import InvalidDocument
from twisted_kong.model.declarative.layout import CHILDREN, KINDS
from twisted_kong.model.entities import COLLECTIONS

ID = "5f1d7e76-2fed-4806-a6af-869984f025cb"


def test_collections() -> None:
    """A document may have every collection but the history, which nobody writes."""
    assert [*KINDS] == [collection for collection in COLLECTIONS if collection != "target_history"]


def test_what_may_be_nested() -> None:
    """What belongs to an entity may stand in it; what an entity only makes use of may not."""
    assert {parent: {*children} for parent, children in CHILDREN.items() if children} == {
        "services": {"routes", "plugins"},
        "routes": {"plugins"},
        "consumers": {"keyauth_credentials", "plugins"},
        "certificates": {"snis"},
        "upstreams": {"targets"},
    }


# -- form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", [None, 1, "x", [], ["services"]])
def test_no_object(tree: object) -> None:
    """A document is an object."""
    assert refused(tree).fields == {"error": "failed parsing declarative configuration: expected an object"}


@pytest.mark.parametrize(
    ("version", "text"),
    [(None, "required field missing"), (3.0, "expected a string"), ("2.0", "expected one of: 1.1, 2.1, 3.0")],
)
def test_versions(version: object, text: str) -> None:
    """A document names its version, which is one of three, as a text."""
    assert refused({"_format_version": version}).fields == {"_format_version": text}


@pytest.mark.parametrize("elements", [None, [], {}])
def test_empty_collections(elements: object) -> None:
    """A collection may be empty in any way, at the top and nested."""
    assert expanded(services=elements) == {}
    assert expanded(services=[{"host": "a", "routes": elements}]).keys() == {"services"}


def test_remarks() -> None:
    """Remarks may stand everywhere, and what is to be ignored is ignored."""
    remarks = {"_comment": "why", "_ignore": [1, {"x": []}]}
    found = expanded(
        **remarks, _transform=False, services=[{"host": "a", "routes": [{"paths": ["/"], **remarks}], **remarks}]
    )
    assert found.keys() == {"services", "routes"}


def test_faulty_form() -> None:
    """All faults of form are told at once, each where it stands."""
    found = fields(
        _comment=1,
        _ignore="x",
        _transform="yes",
        _info={},
        routes={"a": 1},
        services=[None, "x", {"host": "a", "_comment": [], "_ignore": {}, "routes": "x"}],
        upstreams=[{"name": "u", "targets": [None, 7]}],
    )
    assert found == {
        "_comment": "expected a string",
        "_ignore": "expected an array",
        "_transform": "expected a boolean",
        "_info": "unknown field",
        "routes": "expected an array",
        "services": [
            "required field missing",
            "expected a record",
            {"_comment": "expected a string", "_ignore": "expected an array", "routes": "expected an array"},
        ],
        "upstreams": [{"targets": ["required field missing", "expected a record"]}],
    }


def test_faults_of_entities() -> None:
    """Faults of entities are those that the Admin API tells, nested as the entities are."""
    assert fields(
        services=[
            {"host": "a", "protocol": "tcp", "path": "/", "tags": ["a", 1], "routes": [{"name": "r", "foo": 1}]},
            {"host": "b"},
            {"name": "a b"},
        ]
    ) == {
        "services": [
            {
                "@entity": ["failed conditional validation given value of field 'protocol'"],
                "path": "value must be null",
                "tags": [None, "expected a string"],
                "routes": [
                    {
                        "@entity": [
                            "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"
                        ],
                        "foo": "unknown field",
                    }
                ],
            },
            None,
            {
                "host": "required field missing",
                "name": "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
            },
        ]
    }


@given(
    sections=st.dictionaries(
        st.sampled_from([*KINDS, "_comment", "_transform", "foo"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3),
            lambda inside: (
                st.lists(inside, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "id", "host", "service", "routes", "targets", "x"]), inside, max_size=4
                )
            ),
            max_leaves=9,
        ),
        max_size=4,
    )
)
def test_anything(sections: dict[str, Any]) -> None:
    """Whatever a document has, it is a configuration or it is refused."""
    with suppress(InvalidDocument):
        loaded(document(**sections))


# -- nesting and references ------------------------------------------------------------------------------------


def test_nested() -> None:
    """What stands in an entity refers to it."""
    found = expanded(
        services=[{"host": "a", "routes": [{"paths": ["/"], "plugins": [{"name": "key-auth"}]}]}],
        upstreams=[{"name": "u", "targets": [{"target": "a"}]}],
        consumers=[{"username": "c", "keyauth_credentials": [{"key": "k"}]}],
    )
    one = {collection: entity for collection, (entity,) in found.items()}
    for child, field, parent in (
        ("routes", "service", "services"),
        ("plugins", "route", "routes"),
        ("targets", "upstream", "upstreams"),
        ("keyauth_credentials", "consumer", "consumers"),
    ):
        assert getattr(one[child], field).id == one[parent].id


def test_the_place_decides() -> None:
    """Where an entity stands decides its parent, whatever it says itself."""
    found = expanded(
        services=[{"name": "a", "host": "a", "routes": [{"paths": ["/"], "service": "b"}]}, {"name": "b", "host": "b"}]
    )
    assert found["routes"][0].service.id == found["services"][0].id  # type: ignore[attr-defined]  # a route's


def test_nested_entities_refer_to_nobody_else() -> None:
    """What stands in one entity does not belong to another as well."""
    service = {"name": "s", "host": "a", "plugins": [{"name": "key-auth", "route": "r"}]}
    assert fields(services=[service], routes=[{"name": "r", "paths": ["/"]}]) == {
        "services": [{"plugins": [{"route": "value must be null"}]}]
    }


@pytest.mark.parametrize("reference", ["s", ID, ID.upper(), {"id": ID}, {"id": ID.upper()}])
def test_references(reference: object) -> None:
    """At the top, others are referred to by name or by id, and may come later."""
    found = expanded(routes=[{"paths": ["/"], "service": reference}], services=[{"id": ID, "name": "s", "host": "a"}])
    assert found["routes"][0].service.id == ID  # type: ignore[attr-defined]  # a route's


def test_references_without_a_name() -> None:
    """Who has no name is referred to by id."""
    assert fields(snis=[{"name": "a.test", "certificate": ID}]) == {
        "snis": {"a.test": [f"invalid reference 'certificate: {ID}' (no such entry in 'certificates')"]}
    }


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ({"name": "s"}, {"id": "missing primary key"}),
        ({}, {"id": "missing primary key"}),
        ({"id": "x"}, {"id": "expected a valid UUID"}),
        (7, {"id": "missing primary key"}),
    ],
)
def test_malformed_references(reference: object, told: object) -> None:
    """What is no reference is a fault of its entity."""
    assert fields(services=[{"name": "s", "host": "a"}], routes=[{"paths": ["/"], "service": reference}]) == {
        "routes": [{"service": told}]
    }


def test_references_to_nobody() -> None:
    """Who refers to nobody is called by name, by id, or else by position."""
    routes = [{"name": "r"}, {"id": ID}, {}]
    text = "invalid reference 'service: s' (no such entry in 'services')"
    assert fields(routes=[{"paths": ["/"], "service": "s", **route} for route in routes]) == {
        "routes": {"r": [text], ID: [text], "3": [text]}
    }
    assert fields(routes=[{"name": "r", "paths": ["/"], "service": {"id": ID}}]) == {
        "routes": {"r": [f"invalid reference 'service: {{id=\"{ID}\"}}' (no such entry in 'services')"]}
    }


def test_missing_parent() -> None:
    """Who needs a parent says which, unless it stands in it."""
    assert fields(targets=[{"target": "a"}]) == {"targets": [{"upstream": "required field missing"}]}


# -- twice -----------------------------------------------------------------------------------------------------


def twice(collection: str, field: str, value: str) -> str:
    return f"uniqueness violation: '{collection}' entity with {field} set to '{value}' already declared"


def test_same_name() -> None:
    """A name that is taken is the fault of the second, wherever it stands."""
    route = {"name": "r", "paths": ["/"]}
    found = fields(services=[{"host": "a", "routes": [route]}, {"host": "b", "routes": [{"paths": ["/"]}, route]}])
    assert found == {"services": [None, {"routes": [None, twice("routes", "name", "r")]}]}


def test_same_id() -> None:
    """So is an id, in whatever case."""
    found = fields(services=[{"id": ID, "host": "a"}, {"id": ID.upper(), "host": "b"}])
    assert found == {"services": [None, twice("services", "primary key", ID)]}


def test_same_other_value() -> None:
    """Of other values that are taken, Kong tells by the name of the entity."""
    found = fields(consumers=[{"username": "a", "custom_id": "x"}, {"username": "b", "custom_id": "x"}])
    assert found == {"consumers": {"b": twice("consumers", "custom_id", "x")}}
    nameless = fields(consumers=[{"custom_id": "x"}, {"custom_id": "x"}])
    assert nameless == {"consumers": [None, twice("consumers", "custom_id", "x")]}


def test_same_target_in_another_spelling() -> None:
    """A target is the same with and without the default port."""
    refused = refusal(upstreams=[{"id": ID, "name": "u", "targets": [{"target": "a"}, {"target": "a:8000"}]}])
    assert refused.fields == {
        "upstreams": [{"targets": [None, twice("targets", "target, upstream", f"a:8000', '{ID}")]}]
    }


def test_same_plugin_in_two_ways() -> None:
    """A plugin is the same whether it stands in its service or refers to it."""
    found = fields(
        services=[{"id": ID, "name": "s", "host": "a", "plugins": [{"name": "key-auth"}]}],
        plugins=[{"name": "key-auth", "service": "s"}],
    )
    assert isinstance(found, dict)
    assert found["plugins"][0].startswith("uniqueness violation: 'plugins' entity with name, route, service, consumer")


def test_values_that_nobody_has_are_not_the_same() -> None:
    """Two that have no name do not have the same name, and two whose upstreams are nowhere not the same upstream."""
    assert len(expanded(services=[{"host": "a"}, {"host": "a"}])["services"]) == 2
    found = fields(targets=[{"target": "a", "upstream": "x"}, {"target": "a", "upstream": "y"}])
    assert found == {"targets": {"a": ["invalid reference 'upstream: x' (no such entry in 'upstreams')"]}}


# -- older formats ---------------------------------------------------------------------------------------------

PATHS = ["/a", "/a%7Eb/./c", "/a$", "/(a|b)/", "/a%2fb", "a"]


@pytest.mark.parametrize("version", ["1.1", "2.1"])
def test_paths_of_older_formats(version: str) -> None:
    """Before 3.0 a path was regular by its characters; plain ones were told in any spelling."""
    route = {"paths": PATHS[:-1]}
    tree = {"_format_version": version, "routes": [route], "services": [{"host": "a", "routes": [route]}]}
    found = [each.entity for each in stated(tree) if each.entity.collection == "routes"]
    expected = ("/a", "/a~b/c", "~/a$", "~/(a|b)/", "/a%2Fb")
    assert [each.paths for each in found] == [expected, expected]  # type: ignore[attr-defined]  # they are routes


def test_faulty_paths_of_older_formats() -> None:
    """What is no path at all is told as it is today."""
    text = "should start with: / (fixed path) or ~/ (regex path)"
    assert refused({"_format_version": "1.1", "routes": [{"paths": ["a"]}]}).fields == {"routes": [{"paths": [text]}]}
    assert refused({"_format_version": "1.1", "routes": [{"paths": [1, "/a"]}]}).fields == {
        "routes": [{"paths": ["expected a string"]}]
    }


def test_paths_of_today() -> None:
    """In 3.0 paths are as the Admin API takes them."""
    found = fields(routes=[{"paths": ["/a", "/a%7Eb"]}])
    assert found == {"routes": [{"paths": [None, "non-normalized path, consider use '/a~b' instead"]}]}
