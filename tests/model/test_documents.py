from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from entity_making import NOW, SCHEMA, documents, entities, ids, json_values, make_id
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.errors import InvalidPrimaryKey, InvalidUniqueKey, SchemaViolation
from twisted_kong.model.entities import (
    COLLECTIONS,
    Api,
    CaCertificate,
    Consumer,
    Entity,
    KeyauthCredential,
    Plugin,
    Route,
    Service,
    Target,
    Upstream,
)
from twisted_kong.model.fields import shapes
from twisted_kong.model.values import is_id

Document = dict[str, Any]


OURS = ("on_all_unhealthy", "retry_budget", "max_connections", "queue")


@given(documents)
def test_document_has_every_field(pair: tuple[type[Entity], Document]) -> None:
    """A document has every field, but those not of 3.9 only if set, in types of JSON, and what was sent is in it."""
    entity, data = pair
    found = SCHEMA.build(entity, data, now=NOW).document()
    unset = entity.model_fields.keys() - found.keys()
    assert found.keys() <= entity.model_fields.keys()
    assert (
        not unset if entity not in (Api, Upstream) else unset <= {*Upstream.rarities, "tags", "uris", "methods", *OURS}
    )
    assert json.loads(json.dumps(found)) == found
    assert found["created_at"] == data.get("created_at", found["updated_at"])
    assert is_id(found["id"])
    assert found["id"] == data.get("id", found["id"])


@given(entities)
def test_round_trip(entity: Entity) -> None:
    """A document becomes the entity again that wrote it, types included."""
    again = type(entity).from_document(json.loads(json.dumps(entity.document())))
    assert again == entity
    assert repr(again) == repr(entity)


@given(entities)
def test_build_is_idempotent(entity: Entity) -> None:
    """An entity built of a whole document is that document."""
    assert SCHEMA.build(type(entity), entity.document(), now=NOW) == entity


@given(entities)
def test_merging_nothing(entity: Entity) -> None:
    """Laying nothing, or the whole document, over an entity changes the time of its update only."""
    for data in ({}, entity.document()):
        merged = SCHEMA.merge(entity, data, now=NOW + 5)
        assert merged.updated_at == entity.updated_at + (5000 if isinstance(entity, Api) else 5)
        assert merged.model_copy(update={"updated_at": entity.updated_at}) == entity


@given(entities, ids)
def test_id_never_moves(entity: Entity, other: str) -> None:
    """Another id in a change is ignored."""
    assert SCHEMA.merge(entity, {"id": other}, now=NOW).id == entity.id
    assert SCHEMA.replace(entity, {**entity.document(), "id": other}, now=NOW).id == entity.id


@given(documents, st.data())
def test_any_json(pair: tuple[type[Entity], Document], data: st.DataObject) -> None:
    """Whatever JSON stands in a field, the answer is an entity or a violation that can be told."""
    entity, document = pair
    name = data.draw(st.sampled_from([*entity.model_fields, "url", "foo"]))
    value = data.draw(json_values)
    before = SCHEMA.build(entity, document, now=NOW)
    read = SCHEMA.coerce(entity, {name: value})
    assert isinstance(read, dict)
    check_answer(lambda: SCHEMA.build(entity, {**document, name: value}, now=NOW))
    check_answer(lambda: SCHEMA.build(entity, {**document, **read}, now=NOW))
    check_answer(lambda: SCHEMA.merge(before, {name: value}, now=NOW))


def check_answer(write: Callable[[], Entity]) -> None:
    refused, made = None, None
    try:
        made = write()
    except SchemaViolation as refusal:
        refused = refusal
    if made:
        assert type(made).from_document(made.document()) == made
        assert json.dumps(made.document(), ensure_ascii=False).encode()
    if refused:
        assert refused.fields
        assert json.dumps(refused.body(), ensure_ascii=False).encode()


def test_defaults() -> None:
    """A bare upstream has the whole tree of health checks, with every check off."""
    checks = SCHEMA.build(Upstream, {"name": "u", "healthchecks": []}, now=NOW).healthchecks
    assert (checks.active.healthy.interval, checks.active.unhealthy.interval, checks.threshold) == (0, 0, 0)
    assert checks.passive.healthy.http_statuses == (*range(200, 209), 226, *range(300, 309))
    assert checks.active.unhealthy.http_statuses == (429, 404, 500, 501, 502, 503, 504, 505)


@pytest.mark.parametrize(
    ("entity", "data", "stamp"),
    [
        (Service, {"host": "a"}, 1_700_000_000),
        (Target, {"target": "a", "upstream": {"id": make_id(1)}}, 1_700_000_000.125),
        (Api, {"name": "a", "upstream_url": "http://a", "hosts": ["a"]}, 1_700_000_000_124),
    ],
)
def test_times(entity: type[Entity], data: Document, stamp: float) -> None:
    """Times are whole seconds, of targets with a fraction, in 0.10 milliseconds; that of the update is always ours."""
    made = SCHEMA.build(entity, {**data, "updated_at": "never"}, now=1_700_000_000.12498)
    assert (made.created_at, made.updated_at) == (stamp, stamp)


def test_merge_keeps_the_rest_of_a_record() -> None:
    """Records merge at every depth; lists and maps inside are replaced."""
    active = {"timeout": 7, "headers": {"x-a": ["1"]}, "healthy": {"http_statuses": [200], "successes": 2}}
    before = SCHEMA.build(Upstream, {"name": "u", "healthchecks": {"active": active}}, now=NOW)
    patch = {"active": {"headers": {"x-b": ["2"]}, "healthy": {"http_statuses": [201]}}}
    found = SCHEMA.merge(before, {"healthchecks": patch}, now=NOW).healthchecks.active
    assert (found.timeout, found.headers, found.healthy.successes) == (7, {"x-b": ("2",)}, 2)
    assert found.healthy.http_statuses == (201,)


def test_merge_of_an_empty_record() -> None:
    """An empty record, also when it is written as a list, says nothing."""
    before = SCHEMA.build(Upstream, {"name": "u", "healthchecks": {"threshold": 5}}, now=NOW)
    nothings: list[object] = [{}, []]
    for nothing in nothings:
        assert SCHEMA.merge(before, {"healthchecks": nothing}, now=NOW).healthchecks.threshold == 5


def test_merge_with_null() -> None:
    """Null unsets what may be unset, and is refused elsewhere."""
    before = SCHEMA.build(Service, {"host": "a", "path": "/a"}, now=NOW)
    assert SCHEMA.merge(before, {"path": None}, now=NOW).path is None
    with pytest.raises(SchemaViolation) as refusal:
        SCHEMA.merge(before, {"host": None}, now=NOW)
    assert refusal.value.fields == {"host": "required field missing"}


def test_merge_of_a_url() -> None:
    """A url lays protocol, host, port and path over what was there, and nothing else."""
    before = SCHEMA.build(Service, {"host": "a", "path": "/a", "retries": 9}, now=NOW)
    found = SCHEMA.merge(before, {"url": "https://b"}, now=NOW)
    assert (found.protocol, found.host, found.port, found.path, found.retries) == ("https", "b", 443, None, 9)


def test_replace() -> None:
    """What is not sent goes back to its default; the id stays."""
    before = SCHEMA.build(Service, {"host": "a", "retries": 9, "tags": ["x"]}, now=NOW)
    after = SCHEMA.replace(before, {"host": "b"}, now=NOW + 9)
    assert (after.id, after.host, after.retries, after.tags) == (before.id, "b", 5, None)
    assert after.created_at == before.created_at + 9


def test_older_and_newer_documents() -> None:
    """A stored document without a later field has its default; a field that is no more is dropped."""
    stored = SCHEMA.build(Upstream, {"name": "u"}, now=NOW).document()
    del stored["use_srv_name"], stored["healthchecks"]["threshold"]
    found = Upstream.from_document({**stored, "balancer": [1]})
    assert (found.use_srv_name, found.healthchecks.threshold) == (False, 0)
    assert "balancer" not in found.document()


def test_target_address() -> None:
    """A target knows its host, without brackets, and its port."""
    body = {"target": "[::1]:80", "upstream": {"id": make_id(1)}}
    target = SCHEMA.build(Target, body, now=NOW)
    assert (target.host, target.port) == ("0000:0000:0000:0000:0000:0000:0000:0001", 80)


@pytest.mark.parametrize(
    ("entity", "key", "name", "message"),
    [
        (Upstream, "1.2.3.4", "invalid unique name", "Invalid name ('1.2.3.4'); no ip addresses allowed"),
        (Target, "a b", "invalid unique target", "Invalid target ('a b'); not a valid hostname or ip address"),
        (
            Route,
            "a b",
            "invalid unique name",
            "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
        ),
    ],
)
def test_key_that_cannot_be(entity: type[Entity], key: str, name: str, message: str) -> None:
    """A key that breaks the rules of its field is refused."""
    with pytest.raises(InvalidUniqueKey) as refusal:
        SCHEMA.check_key(entity, key)
    assert (refusal.value.code, refusal.value.name, refusal.value.message) == (10, name, message)


@pytest.mark.parametrize("key", [make_id(1), make_id(0xABC).upper(), "u"])
def test_key_that_may_be(key: str) -> None:
    """An id, in either case, and a name may be keys."""
    for entity in COLLECTIONS.values():
        if entity.endpoint_key or key != "u":
            SCHEMA.check_key(entity, key)


def test_key_of_what_has_only_ids() -> None:
    """Where there is no endpoint key, a key is an id."""
    with pytest.raises(InvalidPrimaryKey) as refusal:
        SCHEMA.check_key(CaCertificate, "u")
    assert refusal.value.message == "invalid primary key: '{id=\"expected a valid UUID\"}'"


def test_segments() -> None:
    """The segment of a URL is the collection's name but for keys, which have two of their own."""
    for entity in COLLECTIONS.values():
        expected = ("key-auths", "key-auth") if entity is KeyauthCredential else (entity.collection,) * 2
        assert (entity.segment, entity.segment_below) == expected


def test_references_are_known() -> None:
    """References are read off the declarations, with what a deletion means."""
    assert {name: (foreign.collection, foreign.on_delete) for name, foreign in Target.references.items()} == {
        "upstream": ("upstreams", "cascade")
    }
    assert Route.references["service"].on_delete == "restrict"
    assert {foreign.on_delete for foreign in Plugin.references.values()} == {"cascade"}
    assert not Consumer.references
    assert [shape.kind for shape in shapes(Target).values()].count("foreign") == 1
