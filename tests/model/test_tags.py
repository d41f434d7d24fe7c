from __future__ import annotations

from entity_making import make_id
from test_snapshot import put, route, service, upstream

from twisted_kong.model.snapshot import EMPTY
from twisted_kong.model.tags import tagged

SNAPSHOT = EMPTY.with_change(
    put(service(3, tags=["y", "x"]), upstream(1, tags=["x"]), route(2), service(4, tags=[])),
)


def test_all_tags() -> None:
    """Every tag of every entity is told with who bears it, in the order of ids."""
    assert tagged(SNAPSHOT) == [
        ("x", "upstreams", make_id(1)),
        ("y", "services", make_id(3)),
        ("x", "services", make_id(3)),
    ]


def test_one_tag() -> None:
    """A single tag has its bearers only, an unknown one nobody."""
    assert tagged(SNAPSHOT, "x") == [("x", "upstreams", make_id(1)), ("x", "services", make_id(3))]
    assert tagged(SNAPSHOT, "z") == []
