from __future__ import annotations

import pytest
from entity_making import SCHEMA
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.model.entities import Entity, Route, Service, Upstream


@pytest.mark.parametrize(
    ("entity", "tree", "typed"),
    [
        (Upstream, {"slots": "100"}, {"slots": 100}),
        (Upstream, {"slots": " 1e2 "}, {"slots": 100.0}),
        (Upstream, {"slots": "0x10"}, {"slots": 16}),
        (Upstream, {"slots": "-7"}, {"slots": -7}),
        (Upstream, {"slots": "2.5"}, {"slots": 2.5}),
        (Upstream, {"slots": "abc"}, {"slots": "abc"}),
        (Upstream, {"slots": "1_0"}, {"slots": "1_0"}),
        (Upstream, {"slots": "٣"}, {"slots": "٣"}),
        (Upstream, {"slots": "nan"}, {"slots": "nan"}),
        (Upstream, {"slots": ""}, {"slots": None}),
        (Upstream, {"slots": True}, {"slots": True}),
        (Upstream, {"slots": "9" * 5000}, {"slots": "9" * 5000}),
        (Upstream, {"name": "12", "foo": "12", "bar": ""}, {"name": "12", "foo": "12", "bar": None}),
        (Upstream, {"use_srv_name": "false"}, {"use_srv_name": False}),
        (Upstream, {"use_srv_name": "True"}, {"use_srv_name": "True"}),
        (Upstream, {"tags": "a,b"}, {"tags": ["a,b"]}),
        (Upstream, {"tags": ["a", ""]}, {"tags": ["a", None]}),
        (Upstream, {"tags": ""}, {"tags": None}),
        (Upstream, {"tags": {"1": "a", "3": "b"}}, {"tags": {"1": "a", "3": "b"}}),
        (
            Upstream,
            {"healthchecks": {"active": {"timeout": "0.5", "headers": {"x-a": "1"}}}},
            {"healthchecks": {"active": {"timeout": 0.5, "headers": {"x-a": ["1"]}}}},
        ),
        (
            Upstream,
            {"healthchecks": {"active": {"healthy": {"http_statuses": "200"}}}},
            {"healthchecks": {"active": {"healthy": {"http_statuses": [200]}}}},
        ),
        (Route, {"headers": {"location": ["x", "y"]}}, {"headers": {"location": ["x", "y"]}}),
        (Route, {"sources": [{"port": "80", "ip": ""}]}, {"sources": [{"port": 80, "ip": None}]}),
        (Route, {"service": ""}, {"service": None}),
        (Route, {"service": "foo"}, {"service": "foo"}),
        (Route, {"service": {"name": "s"}}, {"service": {"name": "s"}}),
        (Route, {"strip_path": "true", "regex_priority": "-7"}, {"strip_path": True, "regex_priority": -7}),
        (Service, {"url": "http://a"}, {"url": "http://a"}),
        (Service, [], []),
    ],
)
def test_types(entity: type[Entity], tree: object, typed: object) -> None:
    """Texts take the types of their fields where they can be read so, and stay as they are where they cannot."""
    found = SCHEMA.coerce(entity, tree)
    assert found == typed
    assert repr(found) == repr(typed)


@given(st.integers(-(10**30), 10**30))
def test_integers(number: int) -> None:
    """Every integer is read exactly."""
    assert SCHEMA.coerce(Upstream, {"slots": str(number)}) == {"slots": number}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers(number: float) -> None:
    """Every number is read as the one it was written as."""
    assert SCHEMA.coerce(Upstream, {"healthchecks": {"threshold": repr(number)}}) == {
        "healthchecks": {"threshold": number}
    }
