"""``/openapi.json``: the Admin API described for programs, as OpenAPI 3.1.

The paths and methods are those of the table that the site itself is made of, and what an endpoint takes and tells
follows from what it is: see `operations`. Entities are described in `twisted_kong.admin.openapi_schemas`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, singledispatch
from typing import Any

from twisted_kong import VERSION
from twisted_kong.admin import openapi_schemas as schemas
from twisted_kong.admin.access import Consumers, EnabledPlugins, PluginConfig
from twisted_kong.admin.answers import Answer
from twisted_kong.admin.collections import Collection, Item, Listing, Parent
from twisted_kong.admin.declarative import Config
from twisted_kong.admin.dns import DnsName, DnsStatus
from twisted_kong.admin.health import Switch, UpstreamHealth
from twisted_kong.admin.legacy import Apis, OldEndpoint, OneApi
from twisted_kong.admin.metrics import Metrics
from twisted_kong.admin.node import Cluster, Components, Endpoints, Robots, Root, Status
from twisted_kong.admin.openapi_schemas import ANYTHING, COUNT, TEXT, Json, page, required_object
from twisted_kong.admin.paging import MAX_SIZE
from twisted_kong.admin.request import Call
from twisted_kong.admin.schemas import EntitySchema, PluginSchema, Tag, Tags, Validation
from twisted_kong.admin.targets import ActiveTargets, History, Targets
from twisted_kong.admin.timeline import Timeline
from twisted_kong.admin.tree import Endpoint
from twisted_kong.model.entities import COLLECTIONS, Api, Entity, TargetEntry
from twisted_kong.model.schema import Names

PATH = "/openapi.json"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
PAGE = ("size", "offset")

QUERY: Mapping[str, Json] = {
    "size": {"type": "integer", "minimum": 1, "maximum": MAX_SIZE},
    "tags": {**TEXT, "description": "`a,b`: with all of these tags; `a/b`: with any of them."},
    "custom_id": {**TEXT, "minLength": 1},
    "balancer_health": {**TEXT, "enum": ["1"]},
    "unit": {**TEXT, "enum": [*"bBkKmMgG"]},
    "scale": {"type": "integer", "minimum": 0, "maximum": 15},
    "status": {**TEXT, "enum": ["alive", "leaving", "left", "failed"]},
    "check_hash": {**TEXT, "enum": ["0", "1"]},
    "flatten_errors": {**TEXT, "enum": ["0", "1"]},
}
"""The arguments of queries that are more than texts."""


@dataclass(frozen=True)
class Operation:
    """What one method of a path takes and tells, where nothing is wrong with it.

    ``told`` and ``sent`` are JSON Schemas, None where there is no body; ``required`` whether there must be one;
    ``query`` names arguments of `QUERY`; ``nested`` the fields of a form that are objects; ``more`` are the schemas of
    answers by other statuses, beside the refusals that any such operation may meet.
    """

    told: Json | None = None
    status: int = 200
    sent: Json | None = None
    required: bool = False
    query: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    media: str = "application/json"
    more: Mapping[int, Json | None] = field(default_factory=dict)


GONE = Operation(status=204)


class OpenApi(Endpoint):
    """``/openapi.json``: this API, for programs that write clients or tests of it."""

    def __init__(self, table: Mapping[str, Endpoint], names: Names) -> None:
        self._table = {**table, PATH: self}
        self._names = names

    async def get(self, call: Call) -> Answer:
        return Answer(200, self._document)

    @cached_property
    def _document(self) -> Json:
        return document(self._table, self._names)


def document(table: Mapping[str, Endpoint], names: Names) -> Json:
    """The description of all that the endpoints of ``table`` answer where components of these names are installed."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Admin API",
            "version": VERSION,
            "description": "Without a database everything but `/config` can only be read: writes are answered 405. With"
            " tokens, requests without one are answered 401, those that it does not allow 403.",
        },
        "security": [{}, {"bearer": []}, {"token": []}],
        "paths": {path: dict(_path(path, endpoint)) for path, endpoint in table.items()},
        "components": {
            "securitySchemes": schemas.SECURITY,
            "schemas": {
                **{entity.__name__: schemas.told(entity, names) for entity in COLLECTIONS.values()},
                **{f"{entity.__name__}Fields": schemas.sent(entity, names) for entity in _writable()},
                "Error": schemas.ERROR,
            },
        },
    }


def _writable() -> Iterator[type[Entity]]:
    return (entity for entity in COLLECTIONS.values() if entity is not TargetEntry)


# -- endpoints -------------------------------------------------------------------------------------------------

Operations = Mapping[str, Operation]
"""By method; HEAD and OPTIONS follow from the others."""


@singledispatch
def operations(endpoint: Endpoint) -> Operations:
    """What the endpoint takes and tells."""
    raise TypeError(f"nobody described {endpoint}")


@operations.register
def _(endpoint: Listing) -> Operations:
    query = PAGE if endpoint.below else (*PAGE, "tags")
    return {"GET": Operation(page(_told(endpoint.entity)), query=query)}


@operations.register
def _(endpoint: Collection) -> Operations:
    reading: Mapping[str, Operation] = operations.dispatch(Listing)(endpoint)
    return {**reading, "POST": _write(endpoint.entity, 201, endpoint.below)}


@operations.register
def _(endpoint: Consumers) -> Operations:
    found = operations.dispatch(Collection)(endpoint)
    return {**found, "GET": Operation(found["GET"].told, query=(*found["GET"].query, "custom_id"))}


@operations.register
def _(endpoint: Item) -> Operations:
    return {
        "GET": Operation(_told(endpoint.entity)),
        "PUT": _write(endpoint.entity, 200, endpoint.below, str(endpoint.entity.endpoint_key)),
        "PATCH": _change(endpoint.entity),
        "DELETE": GONE,
    }


@operations.register
def _(endpoint: Parent) -> Operations:
    entity = endpoint.kind.entity
    return {
        "GET": Operation(_told(entity)),
        "PUT": _write(entity, 200),
        "PATCH": _change(entity),
        "DELETE": Operation(status=405, told=_error()),
    }


@operations.register
def _(endpoint: Targets) -> Operations:
    return operations.dispatch(Collection)(endpoint)


@operations.register
def _(endpoint: ActiveTargets) -> Operations:
    return {"GET": Operation(_totals(endpoint.entity))}


@operations.register
def _(endpoint: History) -> Operations:
    return {"GET": Operation(page(_told(TargetEntry)), query=PAGE)}


@operations.register
def _(endpoint: UpstreamHealth) -> Operations:
    told = page(ANYTHING, node_id=TEXT)
    told["properties"]["data"] = {"type": ["array", "object"], "items": ANYTHING}
    return {"GET": Operation(told, query=(*PAGE, "balancer_health"))}


@operations.register
def _(endpoint: Timeline) -> Operations:
    row = required_object(id={**TEXT, "format": "uuid"}, target=TEXT, addresses={"type": "array", "items": ANYTHING})
    return {"GET": Operation(page(row, node_id=TEXT), query=PAGE)}


@operations.register
def _(endpoint: Switch) -> Operations:
    return {"PUT": GONE, "POST": GONE}


@operations.register
def _(endpoint: EnabledPlugins) -> Operations:
    return {"GET": Operation(required_object(enabled_plugins={"type": "array", "items": TEXT}))}


@operations.register(PluginConfig)
@operations.register(EntitySchema)
@operations.register(PluginSchema)
def _(endpoint: Endpoint) -> Operations:
    return {"GET": Operation(required_object(fields={"type": "array", "items": ANYTHING}))}


@operations.register
def _(endpoint: Validation) -> Operations:
    return {"POST": Operation(required_object(message=TEXT), sent=ANYTHING)}


@operations.register
def _(endpoint: Tag) -> Operations:
    row = required_object(tag=TEXT, entity_name=TEXT, entity_id={**TEXT, "format": "uuid"})
    return {"GET": Operation(page(row), query=PAGE)}


@operations.register
def _(endpoint: Tags) -> Operations:
    return {**operations.dispatch(Tag)(endpoint), "POST": Operation(_error(), 400)}


@operations.register
def _(endpoint: Apis) -> Operations:
    told = _totals(Api)
    told["properties"] |= {"next": {**TEXT, "format": "uri"}, "offset": TEXT}
    return {
        "GET": Operation(told, query=(*PAGE, *Api.model_fields)),
        "POST": _write(Api, 201),
        "PUT": replace(_write(Api, 200), more={201: _told(Api)}),
    }


@operations.register
def _(endpoint: OneApi) -> Operations:
    return {"GET": Operation(_told(Api)), "PATCH": _change(Api), "DELETE": GONE}


@operations.register
def _(endpoint: Root) -> Operations:
    told = required_object(version=TEXT, tagline=TEXT, hostname=TEXT, node_id=TEXT, configuration=ANYTHING)
    return {"GET": Operation(told)}


@operations.register
def _(endpoint: Status) -> Operations:
    told = required_object(server=ANYTHING, memory=ANYTHING)
    told["properties"] |= {"database": required_object(reachable={"type": "boolean"}), "configuration_hash": TEXT}
    return {"GET": Operation(told, query=("unit", "scale"))}


@operations.register
def _(endpoint: Components) -> Operations:
    return {"GET": Operation(page(schemas.COMPONENT))}


@operations.register
def _(endpoint: DnsName) -> Operations:
    known = ("name", "state", "type", "addresses", "ttl", "expires_in", "serves_for", "error", "error_believed_for")
    return {
        "GET": Operation(required_object(**dict.fromkeys((*known, "asked", "questions", "kept", "hosts"), ANYTHING)))
    }


@operations.register
def _(endpoint: DnsStatus) -> Operations:
    return {"GET": Operation(required_object(worker=ANYTHING, stats=ANYTHING))}


@operations.register
def _(endpoint: Cluster) -> Operations:
    node = required_object(name=TEXT, address=TEXT, status=TEXT)
    told = required_object(data={"type": "array", "items": node}, total=COUNT)
    return {
        "GET": Operation(told, query=("status",)),
        "POST": Operation(sent=required_object(address=TEXT), query=("address",)),
        "DELETE": Operation(query=("name",)),
    }


@operations.register
def _(endpoint: Config) -> Operations:
    """In a form, or beside other arguments, the configuration is a text in a field; else it is the body."""
    query = ("check_hash", "flatten_errors")
    post = Operation(ANYTHING, 201, ANYTHING, required=True, query=query, more={304: None})
    return {"GET": Operation(required_object(config=TEXT)), "POST": post}


@operations.register
def _(endpoint: Endpoints) -> Operations:
    return {"GET": Operation(required_object(data={"type": "array", "items": TEXT}))}


@operations.register
def _(endpoint: Robots | Metrics) -> Operations:
    return {"GET": Operation(TEXT, media="text/plain")}


@operations.register
def _(endpoint: OpenApi) -> Operations:
    return {"GET": Operation(required_object(openapi=TEXT, info=ANYTHING, paths=ANYTHING))}


def _write(entity: type[Entity], status: int, *given: str) -> Operation:
    """What makes an entity; ``given`` are the fields that the path decides."""
    names = [name for name in schemas.required(entity) if name not in given]
    fields = _reference(f"{entity.__name__}Fields")
    sent = {"allOf": [fields, {"type": "object", "required": names}]} if names else fields
    return Operation(_told(entity), status, sent, bool(names), nested=tuple(schemas.nested(entity)))


def _change(entity: type[Entity]) -> Operation:
    """What changes an entity: nothing must be sent."""
    sent = _reference(f"{entity.__name__}Fields")
    return Operation(_told(entity), sent=sent, nested=tuple(schemas.nested(entity)))


def _told(entity: type[Entity]) -> Json:
    return _reference(entity.__name__)


def _totals(entity: type[Entity]) -> Json:
    """A list of old: with the number of its rows."""
    return required_object(data={"type": "array", "items": _told(entity)}, total=COUNT)


def _error() -> Json:
    return _reference("Error")


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


# -- operations ------------------------------------------------------------------------------------------------

_PARAMETER = re.compile(r"\{(\w+)\}")
_PHRASES = {
    200: "OK",
    201: "Created",
    204: "Done",
    304: "This is in force already",
    400: "Refused: something sent cannot be understood or used",
    404: "Nothing is there",
    405: "This cannot be done here, or not without a database",
    409: "Something else is there already",
    413: "The body is too large",
    415: "Nobody reads a body of this type",
}


def _path(path: str, endpoint: Endpoint) -> Iterator[tuple[str, Any]]:
    """Everything that is answered at one path."""
    if keys := _PARAMETER.findall(path):
        yield "parameters", [_parameter(name, {**TEXT, "minLength": 1}, "path") for name in keys]
    found = operations(endpoint)
    for method in endpoint.handlers():
        operation = found["GET" if method == "HEAD" else method]
        yield method.lower(), _operation(method, path, endpoint, operation)
    allow = {"Allow": {"schema": TEXT, "description": "The methods."}}
    bad = {"400": {"description": _PHRASES[400]}} if keys else {}
    described = {"204": {"description": "The methods of this path", "headers": allow}, **bad}
    yield "options", {**_names("OPTIONS", path), "responses": described}


def _operation(method: str, path: str, endpoint: Endpoint, operation: Operation) -> Json:
    refusal = schemas.OLD_ERROR if isinstance(endpoint, OldEndpoint) else _error()
    answers: dict[int, Json | None] = dict.fromkeys(_refusals(method, path, endpoint), refusal)
    answers |= {operation.status: operation.told, **operation.more}
    media = None if method == "HEAD" else operation.media
    return {
        **_names(method, path),
        "summary": _summary(method, endpoint),
        "parameters": [_parameter(name, _argument(endpoint, name), "query") for name in operation.query],
        **({"requestBody": _body(endpoint, operation)} if operation.sent else {}),
        "responses": {str(status): _response(status, answers[status], media) for status in sorted(answers)},
    }


def _argument(endpoint: Endpoint, name: str) -> Json:
    """An argument of a query. Of old it is the value of a field, whatever it may mean elsewhere."""
    return TEXT if isinstance(endpoint, OldEndpoint) and name not in PAGE else QUERY.get(name, TEXT)


def _refusals(method: str, path: str, endpoint: Endpoint) -> Iterator[int]:
    """The statuses that any such operation may be refused with."""
    yield 400
    if "{" in path:
        yield 404
    if "{targets}" in path:
        yield 409
    if method not in ("GET", "HEAD"):
        yield from (404, 405, 409)
    if method in endpoint.with_body:
        yield from (413, 415)


def _names(method: str, path: str) -> Json:
    """By what programs call an operation, and the group it belongs to."""
    words = [word.strip("{}") for word in re.split(r"[/.-]", path) if word]
    return {"operationId": "_".join([method.lower(), *words]), "tags": words[:1] or ["node"]}


def _summary(method: str, endpoint: Endpoint) -> str:
    handler: Callable[..., Any] = getattr(endpoint, "get" if method == "HEAD" else method.lower())
    text = inspect.getdoc(handler) or inspect.getdoc(type(endpoint)) or ""
    return text.split("\n", 1)[0].replace("``", "`")


def _parameter(name: str, schema: Json, place: str) -> Json:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _body(endpoint: Endpoint, operation: Operation) -> Json:
    encoding = {name: {"style": "deepObject", "explode": True} for name in operation.nested}
    form = {"schema": operation.sent, **({"encoding": encoding} if encoding else {})}
    content = {"application/json": {"schema": operation.sent}, FORMS[0]: form, FORMS[1]: {"schema": operation.sent}}
    if isinstance(endpoint, Config):
        content |= {name: {"schema": TEXT} for name in ("application/yaml", "text/yaml")}
    return {"required": operation.required, "content": content}


def _response(status: int, schema: Json | None, media: str | None) -> Json:
    """An answer; one without ``media`` has no body (HEAD)."""
    content = {"content": {media: {"schema": schema}}} if schema and media else {}
    return {"description": _PHRASES[status], **content}
