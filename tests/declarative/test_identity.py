"""Ids of entities that bring none. The expected ones are Kong's own."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID, uuid5

import pytest
from document_making import document, documents, expanded, stated
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.model.declarative.identity import ROOT

PARENT = "5f1d7e76-2fed-4806-a6af-869984f025cb"


def made(collection: str, key: str) -> str:
    return str(uuid5(uuid5(ROOT, collection), key))


def only(collection: str, **sections: Any) -> str:
    """The id of the only entity of a collection."""
    (entity,) = expanded(**sections)[collection]
    return entity.id


def test_known_ids() -> None:
    """These names have these ids on every node of Kong's."""
    upstream = {"name": "foo", "targets": [{"target": "10.20.30.40"}]}
    assert only("services", services=[{"name": "my-service", "host": "a"}]) == "0855b320-0dd2-547d-891d-601e9b38647f"
    assert only("routes", routes=[{"name": "my-route", "paths": ["/"]}]) == "481a9539-f49c-51b6-b2e2-fe99ee68866c"
    assert only("consumers", consumers=[{"username": "my-user"}]) == "4b1b701d-de2b-5588-9aa2-3b97061d9f52"
    assert only("upstreams", upstreams=[upstream]) == "fd56258d-1040-5e29-a78a-8f4d9082ec6f"
    assert only("targets", upstreams=[upstream]) == "dbb34508-ad95-5930-9d3c-3832ae0117c3"


@pytest.mark.parametrize(
    ("reference", "key"),
    [("foo", "targets:*:foo:a"), (PARENT, f"targets:*:{PARENT}:a"), ({"id": PARENT}, f"targets:*:{PARENT}:a")],
)
def test_targets_at_the_top(reference: object, key: str) -> None:
    """At the top a target's id is made of the reference as it is written."""
    sections = {"upstreams": [{"id": PARENT, "name": "foo"}], "targets": [{"target": "a", "upstream": reference}]}
    assert only("targets", **sections) == made("targets", key)


def test_plugins() -> None:
    """A plugin's id is made of its name and of where it works: the id of what it stands in, or what is written."""
    service = {"id": PARENT, "name": "s", "host": "a"}
    assert only("plugins", plugins=[{"name": "key-auth"}]) == made("plugins", "plugins:*:key-auth:::")
    nested = only("plugins", services=[{**service, "plugins": [{"name": "key-auth"}]}])
    assert nested == made("plugins", f"plugins:*:key-auth::{PARENT}:")
    at_the_top = only("plugins", services=[service], plugins=[{"name": "key-auth", "service": "s"}])
    assert at_the_top == made("plugins", "plugins:*:key-auth::s:")


def test_credentials() -> None:
    """A credential's id is made of its key alone."""
    consumer = {"username": "c", "keyauth_credentials": [{"key": "k"}]}
    assert only("keyauth_credentials", consumers=[consumer]) == made("keyauth_credentials", "keyauth_credentials:*:k")


def test_given_ids() -> None:
    """An id that is given is kept, in lower case."""
    assert only("services", services=[{"id": PARENT.upper(), "name": "s", "host": "a"}]) == PARENT


def test_what_has_no_name() -> None:
    """Who has no name keeps the id as long as all it says stays the same, and equal ones are not the same one."""
    route = {"paths": ["/"], "tags": ["x"]}
    one, two = (entity.id for entity in expanded(routes=[route, route])["routes"])
    assert one != two
    assert [entity.id for entity in expanded(routes=[route, dict(reversed(route.items()))])["routes"]] == [one, two]
    assert only("routes", routes=[{**route, "paths": ["/b"]}]) not in (one, two)
    assert only("routes", services=[{"name": "s", "host": "a", "routes": [route]}]) not in (one, two)


@given(tree=documents, seed=st.integers())
def test_order_does_not_matter(tree: dict[str, list[object]], seed: int) -> None:
    """The same entities have the same ids in whatever order they come."""
    shuffled = dict(random.Random(seed).sample(list(tree.items()), len(tree)))
    for section in shuffled.values():
        if isinstance(section, list):
            random.Random(seed).shuffle(section)
    assert {each.entity.id for each in stated(tree)} == {each.entity.id for each in stated(shuffled)}


@given(tree=documents)
def test_ids_are_ids(tree: dict[str, object]) -> None:
    """Every id is a UUID, and every entity of a collection has its own."""
    ids = [(each.entity.collection, UUID(each.entity.id)) for each in stated(document(**tree))]
    assert len(set(ids)) == len(ids)
