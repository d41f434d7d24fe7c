from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pytest
from entity_making import make_id
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.errors import AdminError, ForeignKeyViolation, StillReferenced, UniqueViolation
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import (
    COLLECTIONS,
    CaCertificate,
    Certificate,
    Consumer,
    Entity,
    KeyauthCredential,
    Plugin,
    Reference,
    Route,
    Service,
    Sni,
    Target,
    Upstream,
)
from twisted_kong.model.snapshot import EMPTY, Changed, Difference, Snapshot, StillMentioned, diff

E = TypeVar("E", bound=Entity)

STAMPS = {"created_at": 1, "updated_at": 1}


def service(number: int, **fields: Any) -> Service:
    return Service.from_document({"id": make_id(number), "host": "a", **STAMPS, **fields})


def route(number: int, parent: int | None = None, **fields: Any) -> Route:
    reference = None if parent is None else {"id": make_id(parent)}
    return Route.from_document({"id": make_id(number), "paths": ["/"], "service": reference, **STAMPS, **fields})


def upstream(number: int, **fields: Any) -> Upstream:
    return Upstream.from_document({"id": make_id(number), "name": f"u{number}", **STAMPS, **fields})


def target(number: int, parent: int, text: str = "a:80") -> Target:
    body = {"id": make_id(number), "target": text, "upstream": {"id": make_id(parent)}, **STAMPS}
    return Target.from_document(body)


def entity_of(kind: type[E], number: int, **fields: Any) -> E:
    """An entity of any kind; references are given as numbers."""
    parents = {field: {"id": make_id(fields[field])} for field in kind.references if field in fields}
    return kind.from_document({"id": make_id(number), **STAMPS, **fields, **parents})


def plugin(number: int, route: int | None = None, service: int | None = None, **fields: Any) -> Plugin:
    parents = {field: parent for field, parent in (("route", route), ("service", service)) if parent}
    return entity_of(Plugin, number, name="key-auth", **parents, **fields)


def put(*entities: Entity) -> Change:
    return Change(puts=entities)


def delete(*rows: tuple[str, int]) -> Change:
    return Change(deletes=tuple((collection, make_id(number)) for collection, number in rows))


def test_empty() -> None:
    """The empty snapshot has every collection, and nothing in any; a collection nobody knows is empty, too."""
    for collection in (*COLLECTIONS, "nothings"):
        assert dict(EMPTY.all(collection)) == {}
    assert EMPTY.generation == 0
    assert EMPTY.get("services", make_id(1)) is None


def test_lookups() -> None:
    """An entity is found by id, by name, by its unique fields, and below its parent."""
    one, other = service(1, name="s"), service(2)
    made = EMPTY.with_change(put(one, other, upstream(1), target(1, 1), route(1, 1, name="r"), route(2)))
    assert made.generation == 1
    assert made.get("services", one.id) is made.services[one.id] is one
    assert made.find("services", "s") is one
    assert made.find("services", "t") is None
    assert made.find_unique("targets", target="a:80", upstream=make_id(1)) is made.targets[make_id(1)]
    assert made.find_unique("targets", target="a:80", upstream=make_id(2)) is None
    assert made.children("routes", "service", one.id) == (made.routes[make_id(1)],)
    assert made.children("routes", "service", other.id) == ()


def test_replacement() -> None:
    """A put of a known id replaces: the old name is free, the old parent has lost it, its place in the order stays."""
    made = EMPTY.with_change(put(service(1, name="s"), service(2, name="t"), route(1, 1), route(2, 1)))
    made = made.with_change(put(service(1, name="z"), route(2, 2)))
    assert made.find("services", "s") is None
    assert made.find("services", "z") is made.services[make_id(1)]
    assert [found.id for found in made.children("routes", "service", make_id(2))] == [make_id(2)]
    assert list(made.services) == [make_id(1), make_id(2)]
    assert made.with_change(put(service(3, name="s"))).find("services", "s") is not None


def test_children_are_in_the_order_of_creation() -> None:
    """A replaced child keeps its place among its siblings."""
    made = EMPTY.with_change(put(upstream(1), *(target(n, 1, f"a:{n}") for n in (3, 1, 2))))
    made = made.with_change(put(target(1, 1, "b:1")))
    assert [found.target for found in made.children("targets", "upstream", make_id(1))] == [  # type: ignore[attr-defined]
        "a:3",
        "b:1",
        "a:2",
    ]


@pytest.mark.parametrize(
    ("change", "error", "message", "fields"),
    [
        (
            put(service(9, name="s")),
            UniqueViolation,
            "UNIQUE violation detected on '{name=\"s\"}'",
            {"name": "s"},
        ),
        (
            put(target(9, 1)),
            UniqueViolation,
            f'UNIQUE violation detected on \'{{target="a:80",upstream={{id="{make_id(1)}"}}}}\'',
            {"target": "a:80", "upstream": {"id": make_id(1)}},
        ),
        (
            put(route(9, 9)),
            ForeignKeyViolation,
            f"the foreign key '{{id=\"{make_id(9)}\"}}' does not reference an existing 'services' entity.",
            {"service": {"id": make_id(9)}},
        ),
        (
            put(upstream(9, client_certificate={"id": make_id(9)})),
            ForeignKeyViolation,
            f"the foreign key '{{id=\"{make_id(9)}\"}}' does not reference an existing 'certificates' entity.",
            {"client_certificate": {"id": make_id(9)}},
        ),
        (
            delete(("services", 1)),
            StillReferenced,
            "an existing 'routes' entity references this 'services' entity",
            {"@referenced_by": "routes"},
        ),
    ],
)
def test_refused(change: Change, error: type[AdminError], message: str, fields: Mapping[str, Any]) -> None:
    """A change that breaks a key or a reference is refused as Kong refuses it, and leaves no trace."""
    made = EMPTY.with_change(put(service(1, name="s"), route(1, 1), upstream(1), target(1, 1)))
    known = copied(made)
    with pytest.raises(error) as refusal:
        made.with_change(Change(puts=(service(8), *change.puts), deletes=change.deletes))
    assert (refusal.value.message, refusal.value.fields) == (message, fields)
    assert copied(made) == known


def test_cascade() -> None:
    """An upstream takes its targets with it, and only those."""
    made = EMPTY.with_change(put(upstream(1), upstream(2), target(1, 1), target(2, 2), target(3, 1, "b:80")))
    made = made.with_change(delete(("upstreams", 1)))
    assert list(made.targets) == [make_id(2)]
    assert made.find_unique("targets", target="a:80", upstream=make_id(1)) is None
    made = made.with_change(put(upstream(1)))
    assert made.children("targets", "upstream", make_id(1)) == ()


def test_nulls_are_equal_beside_others() -> None:
    """A plugin stands once in each place, the place of all requests included; names of instances may be missing."""
    snapshot = EMPTY.with_change(put(service(1), route(1), plugin(1), plugin(2, service=1), plugin(3, 1, 1)))
    for other in (plugin(9), plugin(9, service=1), plugin(9, 1, 1)):
        with pytest.raises(UniqueViolation) as refusal:
            snapshot.with_change(put(other))
    key = {"name": "key-auth", "route": {"id": make_id(1)}, "service": {"id": make_id(1)}, "consumer": None}
    assert refusal.value.fields == key
    assert snapshot.with_change(put(plugin(9, route=1))).all("plugins").keys() > {make_id(9)}


def test_instances_have_names() -> None:
    """The name of an instance is unique, and finds it."""
    snapshot = EMPTY.with_change(put(service(1), plugin(1, instance_name="a")))
    assert snapshot.find("plugins", "a") is snapshot.all("plugins")[make_id(1)]
    with pytest.raises(UniqueViolation, match='instance_name="a"'):
        snapshot.with_change(put(plugin(2, service=1, instance_name="a")))


def test_what_goes_with_what() -> None:
    """A consumer takes its keys along, a service and a route their plugins, a certificate its server names."""
    keys = [entity_of(KeyauthCredential, number, consumer=number, key=f"k{number}") for number in (1, 2)]
    consumers = [entity_of(Consumer, number, username=f"c{number}") for number in (1, 2)]
    names = [entity_of(Sni, number, name=f"n{number}", certificate=number) for number in (1, 2)]
    certificates = [entity_of(Certificate, number, cert="", key="") for number in (1, 2)]
    plugins = [plugin(1, service=1), plugin(2, route=2), plugin(3)]
    snapshot = EMPTY.with_change(
        put(*consumers, *keys, *certificates, *names, service(1), service(2), route(2, 2), *plugins)
    )
    snapshot = snapshot.with_change(
        delete(("consumers", 1), ("certificates", 2), ("services", 1), ("routes", 2), ("services", 2))
    )
    assert [*snapshot.all("keyauth_credentials")] == [make_id(2)]
    assert [*snapshot.all("snis")] == [make_id(1)]
    assert [*snapshot.all("plugins")] == [make_id(3)]


@pytest.mark.parametrize("collection", ["services", "upstreams"])
def test_certificates_in_use(collection: str) -> None:
    """A certificate that is shown to somebody stays."""
    user = {"services": service, "upstreams": upstream}[collection](1, client_certificate={"id": make_id(1)})
    snapshot = EMPTY.with_change(put(entity_of(Certificate, 1, cert="", key=""), user))
    with pytest.raises(StillReferenced) as refusal:
        snapshot.with_change(delete(("certificates", 1)))
    assert refusal.value.message == f"an existing '{collection}' entity references this 'certificates' entity"
    assert not snapshot.with_change(delete((collection, 1), ("certificates", 1))).all("certificates")


def test_authorities_in_use() -> None:
    """An authority that a service trusts stays; that it is there nobody asks of a service."""
    snapshot = EMPTY.with_change(put(service(1, ca_certificates=[make_id(1), make_id(2)])))
    snapshot = snapshot.with_change(put(entity_of(CaCertificate, 1, cert=""), entity_of(CaCertificate, 3, cert="")))
    with pytest.raises(StillMentioned) as refusal:
        snapshot.with_change(delete(("ca_certificates", 1)))
    text = f"ca certificate {make_id(1)} is still referenced by services (id = {make_id(1)})"
    assert (refusal.value.status, refusal.value.code, refusal.value.message) == (400, 19, text)
    assert [*snapshot.with_change(delete(("ca_certificates", 3))).all("ca_certificates")] == [make_id(1)]


def test_order_within_a_change() -> None:
    """Puts come in order, then deletes in order: parents before children, children deleted before parents."""
    made = EMPTY.with_change(put(service(1), route(1, 1)))
    assert not made.with_change(delete(("routes", 1), ("services", 1))).services
    moved = Change(puts=(service(2), route(1, 2)), deletes=(("services", make_id(1)),))
    assert list(made.with_change(moved).services) == [make_id(2)]
    assert made.with_change(delete(("services", 7))).services == made.services


def test_untouched_mappings_are_shared() -> None:
    """A change copies the mappings of the collections it changes, and no other."""
    old = EMPTY.with_change(put(service(1), upstream(1), target(1, 1)))
    new = old.with_change(put(service(1, host="b")))
    assert new.all("targets") is old.all("targets")
    assert new.all("upstreams") is old.all("upstreams")
    assert old.services[make_id(1)].host == "a"


def test_siblings_are_shared() -> None:
    """A change copies the children of the parents it concerns, and of no other."""
    old = EMPTY.with_change(put(upstream(1), upstream(2), target(1, 1), target(2, 2)))
    new = old.with_change(put(target(1, 1, "b:80")))
    one, two = make_id(1), make_id(2)
    assert new.below("targets", "upstream", two) is old.below("targets", "upstream", two)
    assert new.below("targets", "upstream", one) is not old.below("targets", "upstream", one)
    assert old.children("targets", "upstream", one) == (target(1, 1),)


def test_diff_of_one_change() -> None:
    """Of the next snapshot it is known which entities may differ, cascades included; of later ones it is not."""
    old = EMPTY.with_change(put(upstream(1), target(1, 1), target(2, 1, "b:80"), service(1)))
    new = old.with_change(Change((service(2),), (("upstreams", make_id(1)),)))
    assert set(new.touched_since(old, "targets") or ()) == {make_id(1), make_id(2)}
    assert new.touched_since(old, "routes") == ()
    assert new.with_change(Change()).touched_since(old, "targets") is None


def test_diff() -> None:
    """A difference names what was added, removed and changed; an equal replacement is no change."""
    old = EMPTY.with_change(put(service(1), service(2), service(3), upstream(1)))
    added, changed = service(4), service(2, host="b")
    new = old.with_change(Change((added, changed, service(3)), (("services", make_id(1)),)))
    found = diff(old, new)
    assert found == {"services": Changed((added,), (old.services[make_id(1)],), (changed,))}
    assert found["routes"] == Changed()
    assert not diff(new, new)


# -- properties ------------------------------------------------------------------------------------------------

numbers = st.integers(1, 4)
puts = st.one_of(
    st.builds(lambda n, name: service(n, name=name), numbers, st.sampled_from([None, "a", "b"])),
    st.builds(route, numbers, st.none() | numbers),
    st.builds(lambda n, name: upstream(n, name=name), numbers, st.sampled_from(["u", "v", "w"])),
    st.builds(target, numbers, numbers, st.sampled_from(["a:1", "b:1"])),
    st.builds(plugin, numbers, st.none() | numbers, st.none() | numbers),
)
deletes = st.tuples(st.sampled_from(list(COLLECTIONS)), numbers.map(make_id))
changes = st.builds(
    lambda puts, deletes: Change(tuple(puts), tuple(deletes)),
    st.lists(puts, max_size=4),
    st.lists(deletes, max_size=2),
)


def copied(snapshot: Snapshot) -> object:
    """Everything a snapshot answers, in values that it does not share."""
    return {
        collection: (
            {id: entity.document() for id, entity in snapshot.all(collection).items()},
            {
                (field, make_id(n)): [child.id for child in snapshot.children(collection, field, make_id(n))]
                for field in COLLECTIONS[collection].references
                for n in range(1, 5)
            },
        )
        for collection in COLLECTIONS
    }


def scanned(snapshot: Snapshot, collection: str, field: str, parent: str) -> set[str]:
    """Children found the slow way."""
    return {entity.id for entity in snapshot.all(collection).values() if getattr(entity, field) == Reference(id=parent)}


def check_indexes(snapshot: Snapshot) -> None:
    for collection, entity in COLLECTIONS.items():
        for field in entity.references:
            for parent in map(make_id, range(1, 5)):
                found = [child.id for child in snapshot.children(collection, field, parent)]
                assert len(found) == len(set(found))
                assert set(found) == scanned(snapshot, collection, field, parent)
    for collection in ("services", "upstreams"):
        for name in ("a", "b", "u", "v", "w"):
            holders = [each for each in snapshot.all(collection).values() if getattr(each, "name", None) == name]
            holder = snapshot.find(collection, name)
            assert holders == ([holder] if holder else [])


@given(st.lists(changes, max_size=6))
def test_history_stands_still(history: list[Change]) -> None:
    """Whatever changes follow, a snapshot answers as it did, its indexes agree with its rows, and references hold."""
    now, past = EMPTY, [(EMPTY, copied(EMPTY))]
    for change in history:
        try:
            now = now.with_change(change)
        except AdminError:
            continue
        past.append((now, copied(now)))
        check_indexes(now)
        for kind in COLLECTIONS.values():
            for entity in now.all(kind.collection).values():
                for field, foreign in kind.references.items():
                    reference = getattr(entity, field)
                    assert reference is None or reference.id in now.all(foreign.collection)
    assert [snapshot.generation for snapshot, _ in past] == list(range(len(past)))
    for snapshot, known in past:
        assert copied(snapshot) == known


@given(changes, changes)
def test_diff_names_exactly_the_change(first: Change, second: Change) -> None:
    """Old rows without the removed, with the added and changed, are the new rows, and nothing is named in vain."""
    try:
        old = EMPTY.with_change(first)
        new = old.with_change(second)
    except AdminError:
        return
    found = diff(old, new)
    assert parts(found) == parts(diff(old, new.with_change(Change())))
    for collection in COLLECTIONS:
        named = found[collection]
        rows = dict(old.all(collection))
        for entity in named.removed:
            del rows[entity.id]
        assert not rows.keys() & {entity.id for entity in named.added}
        assert all(rows[entity.id] != entity for entity in named.changed)
        rows.update((entity.id, entity) for entity in (*named.added, *named.changed))
        assert rows == new.all(collection)
        assert (collection in found) == (dict(old.all(collection)) != new.all(collection))


def parts(found: Difference) -> dict[str, list[set[str]]]:
    """What a difference names, in whatever order."""
    return {
        name: [{entity.id for entity in part} for part in (changed.added, changed.removed, changed.changed)]
        for name, changed in found.items()
    }
