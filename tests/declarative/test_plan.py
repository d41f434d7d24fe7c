"""From one configuration to the next: exactly what the document says, and nothing that it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from document_making import NOW, document, documents, loaded, stated
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.errors import UniqueViolation
from twisted_kong.model.changes import Change
from twisted_kong.model.declarative.export import as_yaml
from twisted_kong.model.declarative.plan import addition, replacement
from twisted_kong.model.declarative.reading import read
from twisted_kong.model.entities import Consumer, KeyauthCredential, Service
from twisted_kong.model.snapshot import EMPTY, Snapshot, diff

LATER = NOW + 1000
ID = "5f1d7e76-2fed-4806-a6af-869984f025cb"
OTHER = "9a4eb3f1-6a3f-4a2a-8c0c-0c6b0a7f5f10"


def ids(snapshot: Snapshot) -> set[tuple[str, str]]:
    return {
        (collection, id)
        for collection in ("services", "routes", "upstreams", "targets")
        for id in snapshot.all(collection)
    }


def added(tree: object, onto: Snapshot = EMPTY, now: float = NOW) -> Snapshot:
    return onto.with_change(addition(onto, stated(tree, now)))


# -- replacement -----------------------------------------------------------------------------------------------


@given(first=documents, second=documents)
def test_replacement(first: dict[str, Any], second: dict[str, Any]) -> None:
    """After a document there is what it says and nothing else, whatever was there before."""
    before = loaded(first)
    after = loaded(second, onto=before, now=LATER)
    expected = loaded(second)
    stamps = {"created_at": 0, "updated_at": 0}
    for collection in ("services", "routes", "upstreams", "targets", "consumers", "keyauth_credentials"):
        assert {id: one.model_copy(update=stamps) for id, one in after.all(collection).items()} == {
            id: one.model_copy(update=stamps) for id, one in expected.all(collection).items()
        }


@given(tree=documents)
def test_same_again(tree: dict[str, Any]) -> None:
    """The same document again changes nothing."""
    snapshot = loaded(tree)
    assert replacement(snapshot, stated(tree, LATER)) == Change()


@given(first=documents, second=documents)
def test_what_stays_is_not_touched(first: dict[str, Any], second: dict[str, Any]) -> None:
    """An entity of which the new document says the same as the old one stays the very object it was."""
    before = loaded(first)
    same = {(each.entity.collection, each.entity.id): each.sent for each in stated(first)}
    after = loaded(second, onto=before, now=LATER)
    for each in stated(second):
        key = (each.entity.collection, each.entity.id)
        if same.get(key) == each.sent and not each.entity.references:
            assert after.get(*key) is before.get(*key)


@given(tree=documents)
def test_nothing(tree: dict[str, Any]) -> None:
    """After an empty document there is nothing."""
    assert diff(EMPTY, loaded(document(), onto=loaded(tree))) == {}


def test_times() -> None:
    """A changed entity was created when it was first seen, and changed now."""
    before = loaded(document(services=[{"name": "a", "host": "a"}, {"name": "b", "host": "b"}]))
    after = loaded(document(services=[{"name": "a", "host": "x"}, {"name": "b", "host": "b"}]), before, LATER)
    times = {service.name: (service.created_at, service.updated_at) for service in after.services.values()}
    assert times == {"a": (int(NOW), int(LATER)), "b": (int(NOW), int(NOW))}


def test_times_that_are_given() -> None:
    """A time of creation that the document gives is taken, that of the last change is ours."""
    given = {"name": "a", "host": "a", "created_at": 7, "updated_at": 8}
    before = loaded(document(services=[given]))
    (service,) = before.services.values()
    assert (service.created_at, service.updated_at) == (7, int(NOW))
    assert loaded(document(services=[given]), before, LATER).services == before.services


def test_keys_that_we_make() -> None:
    """A key that we made is kept as long as nobody gives another."""
    tree = document(consumers=[{"username": "a", "keyauth_credentials": [{"ttl": 5}]}])
    before = loaded(tree)
    (key,) = before.all("keyauth_credentials").values()
    assert isinstance(key, KeyauthCredential)
    assert loaded(tree, before, LATER).all("keyauth_credentials") == {key.id: key}


def test_names_change_hands() -> None:
    """Names may go from one to another: to one that comes, to one that stays, and in exchange."""
    before = loaded(document(services=[{"id": ID, "name": "a", "host": "a"}, {"id": OTHER, "name": "b", "host": "b"}]))
    exchanged = document(services=[{"id": ID, "name": "b", "host": "a"}, {"id": OTHER, "name": "a", "host": "b"}])
    after = loaded(exchanged, before)
    assert {id: service.name for id, service in after.services.items()} == {ID: "b", OTHER: "a"}
    renamed = loaded(document(services=[{"name": "a", "host": "c"}]), after)
    assert [(service.name, service.host) for service in renamed.services.values()] == [("a", "c")]


def test_several_keys_change_hands() -> None:
    """Whoever holds several keys that others get gives them all up."""
    before = loaded(document(consumers=[{"id": ID, "username": "a", "custom_id": "x"}]))
    after = loaded(document(consumers=[{"username": "a"}, {"username": "b", "custom_id": "x"}]), before)
    consumers = [one for one in after.all("consumers").values() if isinstance(one, Consumer)]
    assert {(one.username, one.custom_id) for one in consumers} == {("a", None), ("b", "x")}


def test_targets_change_hands() -> None:
    """So may the address of a target within its upstream."""
    targets = [{"id": ID, "target": "a:80"}, {"id": OTHER, "target": "b:80"}]
    before = loaded(document(upstreams=[{"name": "u", "targets": targets}]))
    targets = [{"id": ID, "target": "b:80"}, {"id": OTHER, "target": "a:80"}]
    after = loaded(document(upstreams=[{"name": "u", "targets": targets}]), before)
    assert {id: target.target for id, target in after.targets.items()} == {ID: "b:80", OTHER: "a:80"}


def test_parents_and_children_part() -> None:
    """A child stays when its parent goes, if the document says so."""
    before = loaded(document(services=[{"name": "s", "host": "a", "routes": [{"name": "r", "paths": ["/"]}]}]))
    after = loaded(document(routes=[{"name": "r", "paths": ["/"]}]), before)
    assert after.services == {}
    assert [(route.name, route.service) for route in after.routes.values()] == [("r", None)]


# -- addition --------------------------------------------------------------------------------------------------


@given(first=documents, second=documents)
def test_addition_takes_nothing_away(first: dict[str, Any], second: dict[str, Any]) -> None:
    """What is there stays there, unless the two documents give one name to two ids."""
    before = added(first)
    try:
        after = added(second, before, LATER)
    except UniqueViolation:
        return
    assert ids(before) <= ids(after)


@given(tree=documents)
def test_addition_again(tree: dict[str, Any]) -> None:
    """The same document again adds nothing."""
    snapshot = added(tree)
    assert addition(snapshot, stated(tree, LATER)) == Change()


def test_known_by_another_id() -> None:
    """Entities without an id are those that are there under the same name, and so are their children."""
    before = loaded(
        document(
            services=[{"id": ID, "name": "s", "host": "a", "routes": [{"id": OTHER, "name": "r", "paths": ["/"]}]}],
            upstreams=[{"id": ID, "name": "u", "targets": [{"id": OTHER, "target": "a:8000"}]}],
        )
    )
    after = added(
        document(
            services=[{"name": "s", "host": "b", "routes": [{"name": "r", "paths": ["/b"]}]}],
            upstreams=[{"name": "u", "targets": [{"target": "a", "weight": 7}, {"target": "b"}]}],
        ),
        before,
    )
    assert {id: service.host for id, service in after.services.items()} == {ID: "b"}
    assert {id: (route.paths, route.service.id) for id, route in after.routes.items() if route.service} == {
        OTHER: (("/b",), ID)
    }
    assert after.targets[OTHER].weight == 7
    assert {target.upstream.id for target in after.targets.values()} == {ID}
    assert len(after.targets) == 2


def test_a_name_is_taken_over_once() -> None:
    """Of two entities without an id only one can be the one that is there."""
    before = loaded(document(consumers=[{"id": ID, "username": "a", "custom_id": "x"}]))
    after = added(document(consumers=[{"username": "a"}, {"username": "b", "custom_id": "x"}]), before)
    consumers = [one for one in after.all("consumers").values() if isinstance(one, Consumer)]
    assert {(one.username, one.custom_id): one.id == ID for one in consumers} == {("a", None): True, ("b", "x"): False}


def test_an_id_that_is_given_is_not_taken_over() -> None:
    """An entity with an id is that one, and who has its name gets it only if nobody else wants it."""
    before = loaded(document(services=[{"id": ID, "name": "a", "host": "a"}]))
    after = added(document(services=[{"id": ID, "name": "b", "host": "b"}, {"name": "a", "host": "c"}]), before)
    assert {service.name: service.host for service in after.services.values()} == {"a": "c", "b": "b"}
    assert after.services[ID].name == "b"


def test_a_name_of_somebody_else() -> None:
    """An id and a name that belong to different entities are refused, and nobody loses their name."""
    before = loaded(document(services=[{"id": ID, "name": "a", "host": "a"}]))
    with pytest.raises(UniqueViolation):
        added(document(services=[{"id": OTHER, "name": "a", "host": "b"}]), before)


# -- export ----------------------------------------------------------------------------------------------------


@given(tree=documents, onto=documents)
def test_round_trip(tree: dict[str, Any], onto: dict[str, Any]) -> None:
    """A configuration that is exported is the same configuration, wherever it is loaded."""
    snapshot = loaded(tree)
    text = as_yaml(snapshot)
    assert replacement(snapshot, stated(read(text), LATER)) == Change()
    assert diff(loaded(read(text), onto=loaded(onto)), snapshot) == {}
    assert diff(added(read(text)), snapshot) == {}


@given(text=st.text(st.characters(codec="utf-8"), min_size=1))
def test_round_trip_of_texts(text: str) -> None:
    """Every text survives, blanks and breaks of all kinds included."""
    snapshot = loaded(document(consumers=[{"username": text}]))
    assert diff(loaded(read(as_yaml(snapshot))), snapshot) == {}


def test_export() -> None:
    """An export is flat and complete, refers by id, and has only collections that are not empty."""
    snapshot = loaded(document(services=[{"name": "é", "host": "a", "routes": [{"paths": ["/"]}]}]))
    text = as_yaml(snapshot)
    assert text.startswith("_format_version: '3.0'\n_transform: false\nservices:\n- id: ")
    assert "name: é\n" in text
    tree = read(text)
    assert isinstance(tree, dict)
    assert [*tree] == ["_format_version", "_transform", "services", "routes"]
    (service,), (route,) = tree["services"], tree["routes"]
    assert route["service"] == service["id"]
    assert service.keys() == Service.model_fields.keys()
    assert as_yaml(EMPTY) == "_format_version: '3.0'\n_transform: false\n"


@given(
    text=st.text(min_size=1)
    | st.sampled_from(["y", "on", "null", "1:30", "2001-01-01", "0x1F", "1_0", "<<", "=", "a: b"])
)
def test_export_for_others(text: str) -> None:
    """Another reader of YAML reads the same, whatever it takes plain words for."""
    snapshot = loaded(document(consumers=[{"username": text}]))
    assert yaml.safe_load(as_yaml(snapshot)) == read(as_yaml(snapshot))
