"""``/apis``, as Kong 0.10 had it: flat refusals in the words of its time, totals beside lists, PUT on the collection.

What an api may say, and how its values are read and told, is in `twisted_kong.model.legacy`. Two of Kong's habits of
that time are left out: a replacement of what is not there is a 404, as its documentation says, and not an empty 200;
and whatever the rest of the Admin API does with content types, OPTIONS and headers is done here, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from pydantic import ValidationError

from twisted_kong.admin.answers import EMPTY, Answer, NotFound, Refused
from twisted_kong.admin.configuration import Configuration, View
from twisted_kong.admin.paging import page_by_key
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint, Handler
from twisted_kong.errors import AdminError, PrimaryKeyViolation, SchemaViolation, UniqueViolation
from twisted_kong.model.checks import said
from twisted_kong.model.entities import Api
from twisted_kong.model.fields import reader
from twisted_kong.model.rules import ENTITY
from twisted_kong.model.values import is_id


def endpoints(configuration: Configuration) -> Iterator[tuple[str, Endpoint]]:
    """The paths of apis."""
    yield "/apis", Apis(configuration)
    yield "/apis/{apis}", OneApi(configuration)


class OldRefusal(Refused):
    """A refusal of old: what is wrong, by field."""

    def __init__(self, status: int, told: Mapping[str, Any]) -> None:
        super().__init__(status, "; ".join(map(str, told.values())))
        self._told = told

    def body(self) -> dict[str, Any]:
        return dict(self._told)


class OldEndpoint(Endpoint):
    """A path whose refusals are of old."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration

    def handlers(self) -> dict[str, Handler]:
        return {method: partial(_refusing_as_of_old, handler) for method, handler in super().handlers().items()}


class Apis(OldEndpoint):
    """All of them."""

    async def get(self, call: Call) -> Answer:
        """A page, and how many there are in all; arguments of the query other than the page's are values of fields."""
        page_of = {name: value for name, value in call.query.items() if name in ("size", "offset")}
        if not re.fullmatch("[0-9]{1,9}", str(page_of.get("size"))):
            page_of.pop("size", None)  # and then it is the usual one
        wanted = {name: _read(name, value) for name, value in call.query.items() if name not in ("size", "offset")}
        rows = [api for api in _all(self.configuration.view()) if _has(api, wanted)]
        page = page_by_key(rows, lambda api: (api.id,), replace(call, query=page_of), Api.document)
        return Answer(page.status, _with_total(cast(dict[str, Any], page.document), call, len(rows)))

    async def post(self, call: Call) -> Answer:
        async with self.configuration.edit(call.author) as edit:
            made = edit.insert(Api, edit.typed(Api, call.document))
        return Answer(201, made.document())

    async def put(self, call: Call) -> Answer:
        """Replace the one whose id is given; create where none is."""
        async with self.configuration.edit(call.author) as edit:
            data = edit.typed(Api, call.document)
            id = data.get("id")
            if id is None:
                return Answer(201, edit.insert(Api, data).document())
            found = edit.snapshot.get(Api.collection, str(id).lower())
            if found is None:
                raise NotFound
            if data.get("created_at") is None:
                raise SchemaViolation({"created_at": "created_at is required"})
            return Answer(200, edit.replace(found, data).document())


class OneApi(OldEndpoint):
    """One, by its id or its name."""

    async def get(self, call: Call) -> Answer:
        return Answer(200, self.find(self.configuration.view(), call).document())

    async def patch(self, call: Call) -> Answer:
        async with self.configuration.edit(call.author) as edit:
            data = edit.typed(Api, call.document)
            if not data:
                raise Refused(400, "empty body")
            made = edit.merge(self.find(edit, call), data)
        return Answer(200, made.document())

    async def delete(self, call: Call) -> Answer:
        async with self.configuration.edit(call.author) as edit:
            edit.delete(self.find(edit, call))
        return EMPTY

    def find(self, view: View, call: Call) -> Api:
        """What looks like an id may be a name as well.

        :raise NotFound: nobody is called that.
        """
        key = call.keys[Api.collection]
        found = view.snapshot.get(Api.collection, key.lower()) if is_id(key) else None
        found = found or view.snapshot.find(Api.collection, key)
        if found is None:
            raise NotFound
        return cast(Api, found)


# -- lists -----------------------------------------------------------------------------------------------------


def _all(view: View) -> Iterator[Api]:
    return iter(cast(Mapping[str, Api], view.snapshot.all(Api.collection)).values())


def _read(field: str, value: Any) -> Any:
    """The value of a field as a query has it.

    :raise SchemaViolation: there is no such field, or it has no such values.
    """
    if field not in Api.model_fields:
        raise SchemaViolation({field: "unknown field"})
    try:
        return reader(Api, field).validate_python(value)
    except ValidationError as error:
        raise SchemaViolation({field: Api.told(field, said(error.errors(include_url=False)[0]))}) from None


def _has(api: Api, wanted: Mapping[str, Any]) -> bool:
    return all(getattr(api, field) == value for field, value in wanted.items())


def _with_total(page: dict[str, Any], call: Call, total: int) -> dict[str, Any]:
    """The page of old: with the number of all rows, and a complete URL of the next page, if there is one."""
    found = {"data": page["data"], "total": total}
    if "offset" in page:
        found |= {"next": call.origin + page["next"], "offset": page["offset"]}
    return found


# -- refusals --------------------------------------------------------------------------------------------------


async def _refusing_as_of_old(handler: Handler, call: Call) -> Answer:
    """What ``handler`` answers; what it refuses is refused as of old."""
    try:
        return await handler(call)
    except SchemaViolation as refusal:
        raise OldRefusal(400, _by_field(refusal.fields or {})) from None
    except (UniqueViolation, PrimaryKeyViolation) as refusal:
        told = {field: f"already exists with value '{value}'" for field, value in (refusal.fields or {}).items()}
        raise OldRefusal(409, told) from None
    except AdminError as refusal:
        raise Refused(refusal.status, refusal.message) from None


def _by_field(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The faults of fields; those of the whole are told only where there are no others."""
    of_fields = {field: found for field, found in fields.items() if field != ENTITY}
    return of_fields or {"message": "; ".join(fields.get(ENTITY, ()))}
