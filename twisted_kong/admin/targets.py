"""Targets, which live below their upstream only and obey rules of their own.

Posting a target that is there already supersedes it: the newest weight wins, the id stays. A target is found by its
id, by ``host:port``, or by its host alone where no other target has it. Deleting one that is not there is an error,
and putting one is changing it: clients find out by the 404 that they have to post it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from twisted_kong.admin.answers import Answer, Refused
from twisted_kong.admin.collections import Collection, Item, Listing
from twisted_kong.admin.configuration import Configuration, View
from twisted_kong.admin.paging import page_by_position
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint
from twisted_kong.errors import SchemaViolation
from twisted_kong.model import hosts
from twisted_kong.model.entities import Entity, Target
from twisted_kong.model.values import is_id


def endpoints(configuration: Configuration) -> Iterator[tuple[str, Endpoint]]:
    """The paths of targets."""
    path = "/upstreams/{upstreams}/targets"
    yield path, Targets(configuration, Target, "upstream")
    yield f"{path}/all", Listing(configuration, Target, "upstream")
    yield f"{path}/{{targets}}", TargetItem(configuration, Target, "upstream")


class Targets(Collection):
    """The targets of an upstream, newest first."""

    async def get(self, call: Call) -> Answer:
        rows = self.rows(self.configuration.view(), call)
        return page_by_position(sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True), call)

    async def post(self, call: Call) -> Answer:
        """Create, or supersede what is the same target however it is spelled."""
        async with self.configuration.edit() as edit:
            data = self.data(edit, call)
            there = edit.snapshot.find_unique("targets", target=_spelled(data), upstream=data["upstream"]["id"])
            if there is None:
                made = edit.insert(Target, data)
            else:
                made = edit.replace(cast(Target, there), {"created_at": there.created_at, **data})
        return Answer(201, made.document())


class TargetItem(Item):
    """One target of an upstream."""

    async def put(self, call: Call) -> Answer:
        return await self.patch(call)

    def find(self, view: View, call: Call) -> Entity | None:
        """The target that the path names, by whatever names it.

        :raise Refused: 409, several have this host.
        """
        key = call.keys["targets"]
        found = [row for row in self.rows(view, call) if _is_called(cast(Target, row), key)]
        if len(found) > 1:
            names = ", ".join(sorted(cast(Target, row).target for row in found))
            raise Refused(409, f"several targets have the host '{key}': {names}; name one with its port")
        return found[0] if found else None


def _is_called(target: Target, key: str) -> bool:
    """Whether a path may name the target so."""
    if is_id(key):
        return target.id == key.lower()
    try:
        host = hosts.parse(key)
    except ValueError:
        return False
    return target.host == host.host and host.port in (None, target.port)


def _spelled(data: Mapping[str, Any]) -> str:
    """The address as it is kept; empty where there is none, which is for the schema to refuse.

    :raise SchemaViolation: it is none. Told alone, whatever else may be wrong, as Kong does.
    """
    text = data.get("target")
    try:
        return hosts.parse(text).with_port(hosts.DEFAULT_PORT) if text and isinstance(text, str) else ""
    except ValueError:
        raise SchemaViolation({"target": "Invalid target; not a valid hostname or ip address"}) from None
