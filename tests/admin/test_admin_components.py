"""Components as clients of the Admin API meet them: they are listed, and their names are values like any other."""

from __future__ import annotations

from typing import Any

import pytest
from admin_api import AdminApi
from zope.interface import implementer

from twisted_kong import __version__
from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory
from twisted_kong.model.entities import Upstream
from twisted_kong.registry import BUILT_IN, Registry


@implementer(IAlgorithmFactory)
class MineFactory:
    name = "mine"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return RoundRobin()


@pytest.fixture
def api() -> AdminApi:
    """An Admin API where somebody's algorithm is installed."""
    return AdminApi(registry=Registry([*BUILT_IN, MineFactory()]))


def algorithms(api: AdminApi) -> list[str]:
    """Those that the schema of upstreams lists."""
    (found,) = (row["algorithm"] for row in api.get("/schemas/upstreams")["fields"] if "algorithm" in row)
    names: list[str] = found["one_of"]
    return names


def test_listed(api: AdminApi) -> None:
    """Every component tells its kind, name, origin and version."""
    listed = api.get("/components")
    assert listed["next"] is None
    assert {"kind": "algorithm", "name": "mine", "origin": f"module {__name__}", "version": None} in listed["data"]
    assert {"kind": "resolver", "name": "system", "origin": "built-in", "version": __version__} in listed["data"]


def test_published(api: AdminApi) -> None:
    """The schema and the description for machines list the names that can be written."""
    assert "mine" in algorithms(api)
    assert "mine" not in algorithms(AdminApi())
    described: Any = api.get("/openapi.json")["components"]["schemas"]
    for schema in (described["Upstream"], described["UpstreamFields"]):
        assert schema["properties"]["algorithm"]["enum"] == algorithms(api)


def test_every_published_name_is_a_value(api: AdminApi) -> None:
    """What the schema lists is accepted, and what it does not list is not."""
    for name in algorithms(api):
        document = {"name": f"u-{name}", "algorithm": name}
        assert api.json("POST", "/schemas/upstreams/validate", document).status == 200
        assert api.create("/upstreams", **document)["name"] == f"u-{name}"
    assert api.get("/upstreams/u-mine")["algorithm"] == "mine"
    assert AdminApi().json("POST", "/upstreams", {"name": "u", "algorithm": "mine"}).status == 400
