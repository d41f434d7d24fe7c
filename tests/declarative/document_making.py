"""Documents for tests: single ones in few words, and all sound ones as a hypothesis strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st

from twisted_kong.model.declarative.expansion import Stated, expand
from twisted_kong.model.declarative.faults import InvalidDocument
from twisted_kong.model.declarative.plan import replacement
from twisted_kong.model.entities import Entity
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY, Snapshot

NOW = 1_700_000_000.125
SCHEMA = Schema()


def document(**sections: Any) -> dict[str, Any]:
    """A document of the newest format."""
    return {"_format_version": "3.0", **sections}


def stated(tree: object, now: float = NOW) -> tuple[Stated, ...]:
    return expand(SCHEMA, tree, now=now)


def expanded(**sections: Any) -> dict[str, tuple[Entity, ...]]:
    """Collection → the entities of a document."""
    found: dict[str, tuple[Entity, ...]] = {}
    for each in stated(document(**sections)):
        found[each.entity.collection] = (*found.get(each.entity.collection, ()), each.entity)
    return found


def refusal(**sections: Any) -> InvalidDocument:
    """The refusal of a document."""
    return refused(document(**sections))


def refused(tree: object) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        stated(tree)
    return caught.value


def fields(**sections: Any) -> Mapping[str, Any] | None:
    """Kong's tree of the faults of a document."""
    return refusal(**sections).fields


def loaded(tree: object, onto: Snapshot = EMPTY, now: float = NOW) -> Snapshot:
    """The configuration after a document has replaced ``onto``."""
    return onto.with_change(replacement(onto, stated(tree, now)))


# -- strategies ------------------------------------------------------------------------------------------------

_names = st.sampled_from(["a", "b", "c"])
_ids = st.sampled_from([f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(3)])
_tags = st.sampled_from([None, [], ["x"], ["x", "y"]])


def _objects(required: Mapping[str, Any], optional: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(dict(required), optional=dict(optional))


def _distinct(element: st.SearchStrategy[dict[str, Any]], *keys: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Lists whose elements share none of the values of ``keys``; of those that are not given each counts as another."""

    def distinct_by(key: str) -> Any:
        return lambda each: each.get(key, id(each))

    return st.lists(element, max_size=3, unique_by=tuple(distinct_by(key) for key in keys))


_routes = _objects({"paths": st.just(["/a"])}, {"tags": _tags})
_targets = _objects({"target": st.sampled_from(["a:80", "b:80", "c:81"])}, {"weight": st.integers(0, 3)})
_credentials = _objects({"key": st.uuids().map(str)}, {"ttl": st.integers(1, 9)})
_services = _objects(
    {"host": st.sampled_from(["a.test", "b.test"])},
    {"name": _names, "id": _ids, "tags": _tags, "routes": st.lists(_routes, max_size=2), "port": st.integers(1, 2)},
)
_upstreams = _objects(
    {"name": _names}, {"id": _ids, "slots": st.integers(10, 12), "targets": _distinct(_targets, "target")}
)
_consumers = _objects(
    {"username": _names},
    {"id": _ids, "custom_id": _names, "keyauth_credentials": _distinct(_credentials, "key")},
)
documents = st.fixed_dictionaries(
    {
        "_format_version": st.just("3.0"),
        "services": _distinct(_services, "name", "id"),
        "upstreams": _distinct(_upstreams, "name", "id"),
        "consumers": _distinct(_consumers, "username", "id", "custom_id"),
    }
)
"""Sound documents, drawn from few names and ids, so that two of them have much in common."""
