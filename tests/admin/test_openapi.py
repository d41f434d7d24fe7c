"""The description of the Admin API against the Admin API itself."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from admin_api import AdminApi

from twisted_kong.admin import openapi_schemas
from twisted_kong.model.entities import COLLECTIONS, Api, Entity, Route, Service, Upstream

BEYOND_THE_LIST = {"/robots.txt", "/openapi.json"}


@pytest.fixture(name="document", scope="module")
def described() -> Any:
    return AdminApi().get("/openapi.json")


def test_every_path(api: AdminApi, document: Any) -> None:
    """What the gateway lists is described, and what it is silent about, too."""
    listed = set(api.get("/endpoints")["data"])
    assert document["openapi"].startswith("3.1.")
    assert set(document["paths"]) == listed | BEYOND_THE_LIST
    assert not listed & BEYOND_THE_LIST


def test_every_method(api: AdminApi, document: Any) -> None:
    """The methods described at a path are those that it says it takes."""
    for path, described in document["paths"].items():
        allowed = api.request("OPTIONS", re.sub(r"\{\w+\}", "x", path)).headers["Allow"]
        assert {method.upper() for method in described if method != "parameters"} == set(allowed.split(", ")), path


def test_every_parameter(document: Any) -> None:
    """The parameters of a path are those in its braces."""
    for path, described in document["paths"].items():
        names = [parameter["name"] for parameter in described.get("parameters", ())]
        assert names == re.findall(r"\{(\w+)\}", path)


def test_references(document: Any) -> None:
    """No reference leads nowhere."""
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert names <= set(document["components"]["schemas"])


def test_names_of_operations(document: Any) -> None:
    """No two operations have one name."""
    names = [
        operation["operationId"]
        for described in document["paths"].values()
        for method, operation in described.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entity", COLLECTIONS.values(), ids=COLLECTIONS)
def test_every_field(entity: type[Entity]) -> None:
    """Whatever field an entity has is told, and whatever is told may be sent."""
    told = set(openapi_schemas.told(entity)["properties"])
    assert set(entity.model_fields) <= told <= set(openapi_schemas.sent(entity)["properties"])


def test_bounds(document: Any) -> None:
    """Types, bounds and defaults are those of the declaration."""
    fields = document["components"]["schemas"]["ServiceFields"]["properties"]
    assert fields["retries"] == {"type": ["integer", "null"], "minimum": 0, "maximum": 32767, "default": 5}
    assert fields["enabled"] == {"type": "boolean", "default": True}
    assert fields["path"] == {"type": ["string", "null"], "minLength": 1, "pattern": "^/"}
    assert fields["url"] == {"type": ["string", "null"], "minLength": 1}


def test_choice_or_nothing(document: Any) -> None:
    """Null is among the values of a field that has a list of values and may be unset."""
    fields = document["components"]["schemas"]["Route"]["properties"]
    assert fields["path_handling"] == {"type": ["string", "null"], "enum": ["v0", "v1", None]}


@pytest.mark.parametrize(
    ("path", "method", "names"),
    [
        ("/upstreams", "post", ["name"]),
        ("/upstreams/{upstreams}/targets", "post", ["target"]),
        ("/snis/{snis}", "put", ["certificate"]),
        ("/certificates/{certificates}/snis", "post", ["name"]),
    ],
)
def test_required_fields(document: Any, path: str, method: str, names: list[str]) -> None:
    """What must be sent is what neither the path nor a default decides."""
    body = document["paths"][path][method]["requestBody"]
    _, required = body["content"]["application/json"]["schema"]["allOf"]
    assert (body["required"], required["required"]) == (True, names)


@pytest.mark.parametrize(("entity", "names"), [(Upstream, ["name"]), (Service, []), (Route, [])])
def test_required_anywhere(entity: type[Entity], names: list[str]) -> None:
    """A service may be sent as a URL, without a host."""
    assert openapi_schemas.required(entity) == names


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/services", ["size", "offset", "tags"]),
        ("/upstreams/{upstreams}/targets", ["size", "offset"]),
        ("/consumers", ["size", "offset", "tags", "custom_id"]),
        ("/services/{services}", []),
        ("/apis", ["size", "offset", *Api.model_fields]),
        ("/cluster", ["status"]),
    ],
)
def test_arguments(document: Any, path: str, names: list[str]) -> None:
    """The arguments of a query are described where they are understood."""
    assert [parameter["name"] for parameter in document["paths"][path]["get"]["parameters"]] == names


def test_apis(document: Any, api: AdminApi) -> None:
    """An api is described as Kong 0.10 took and told it: lists may be texts, what is not set is not told, faults lie
    flat, and a filter is the value of a field."""
    schemas, of_all = document["components"]["schemas"], document["paths"]["/apis"]
    assert schemas["ApiFields"]["properties"]["hosts"]["type"] == ["array", "null", "string"]
    assert schemas["ApiFields"]["properties"]["retries"]["type"] == ["number", "string"]
    assert schemas["Api"]["properties"]["hosts"]["type"] == "array"
    made = api.create("/apis", name="a", upstream_url="http://a.test", uris="/a,/b", retries="3")
    assert set(schemas["Api"]["required"]) <= made.keys() <= schemas["Api"]["properties"].keys()
    refusal = of_all["post"]["responses"]["400"]["content"]["application/json"]["schema"]
    assert "properties" not in refusal
    (tags,) = (one for one in of_all["get"]["parameters"] if one["name"] == "tags")
    assert tags["schema"] == {"type": "string"}


def test_forms(document: Any) -> None:
    """A body may be JSON or either kind of form; in one that is urlencoded, records are spelled in brackets."""
    content = document["paths"]["/upstreams"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-www-form-urlencoded", "multipart/form-data"}
    encoding = content["application/x-www-form-urlencoded"]["encoding"]
    assert encoding["healthchecks"] == {"style": "deepObject", "explode": True}


def test_without_a_body(document: Any) -> None:
    """A HEAD is described as the GET, but that nothing follows."""
    described = document["paths"]["/services"]
    assert described["head"]["parameters"] == described["get"]["parameters"]
    assert not any("content" in response for response in described["head"]["responses"].values())
