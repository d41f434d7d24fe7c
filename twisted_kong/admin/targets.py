"""Targets, which live below their upstream only and obey rules of their own.

Posting a target that is there already supersedes it: the newest weight wins, the id stays. A target is found by its
id, by ``host:port``, or by its host alone where no other target has it. Deleting one that is not there is an error,
and putting one is changing it: clients find out by the 404 that they have to post it. What clients of Kong 0.10 ask
for stands beside: the targets that have a weight, and every entry there ever was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from twisted_kong.admin.answers import Answer, Refused
from twisted_kong.admin.collections import Collection, Item, Listing, Scope
from twisted_kong.admin.configuration import Configuration, View
from twisted_kong.admin.paging import page_by_position
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint
from twisted_kong.errors import SchemaViolation
from twisted_kong.model import hosts
from twisted_kong.model.entities import Entity, Target, TargetEntry
from twisted_kong.model.values import is_id

PATH = "/upstreams/{upstreams}/targets"


def endpoints(configuration: Configuration) -> Iterator[tuple[str, Endpoint]]:
    """The paths of targets."""
    yield PATH, Targets(configuration, Target, "upstream")
    yield f"{PATH}/all", Listing(configuration, Target, "upstream")
    yield f"{PATH}/active", ActiveTargets(configuration, Target, "upstream")
    yield f"{PATH}/history", History(configuration, TargetEntry, "upstream")
    yield f"{PATH}/{{targets}}", TargetItem(configuration, Target, "upstream")


class TargetScope(Scope):
    """The targets of the upstream that the path names."""

    def targets(self, view: View, call: Call) -> Iterable[Target]:
        """All of them, in the order of their creation. Raises what `parent` does."""
        return cast(Mapping[str, Target], self.rows(view, call)).values()

    def newest_first(self, view: View, call: Call) -> Sequence[Target]:
        """All of them, as clients are used to be given them. Raises what `parent` does."""
        return sorted(self.targets(view, call), key=lambda row: (row.created_at, row.id), reverse=True)

    def named(self, view: View, call: Call) -> Target | None:
        """The target that the path names, by whatever names it; None where there is none.

        :raise Refused: 409, several have this host.
        """
        key = call.keys["targets"]
        parent = self.parent(view, call)
        assert parent is not None  # a target's path names its upstream
        targets = view.snapshot
        if is_id(key):
            one = cast("Target | None", targets.get("targets", key.lower()))
            return one if one is not None and one.upstream.id == parent.id else None
        try:
            host = hosts.parse(key)
        except ValueError:
            return None
        if host.port is not None:
            exact = host.with_port(host.port)
            return cast("Target | None", targets.find_unique("targets", target=exact, upstream=parent.id))
        found = [row for row in self.targets(view, call) if row.host == host.host]
        if len(found) > 1:
            names = ", ".join(sorted(row.target for row in found))
            raise Refused(409, f"several targets have the host '{key}': {names}; name one with its port")
        return found[0] if found else None


class Targets(TargetScope, Collection):
    """The targets of an upstream, newest first."""

    async def get(self, call: Call) -> Answer:
        return page_by_position(self.newest_first(self.configuration.view(), call), call)

    async def post(self, call: Call) -> Answer:
        """Create, or supersede what is the same target however it is spelled."""
        async with self.configuration.edit(call.author) as edit:
            data = self.data(edit, call)
            there = edit.snapshot.find_unique("targets", target=_spelled(data), upstream=data["upstream"]["id"])
            if there is None:
                made = edit.insert(Target, data)
            else:
                made = edit.replace(cast(Target, there), {"created_at": there.created_at, **data})
        return Answer(201, made.document())


class ActiveTargets(TargetScope):
    """``…/active``: the targets that have a weight, all on one page, in Kong 0.10's order."""

    async def get(self, call: Call) -> Answer:
        rows = [row for row in self.targets(self.configuration.view(), call) if row.weight]
        rows.sort(key=lambda row: row.target, reverse=True)
        return Answer(200, {"data": [row.document() for row in rows], "total": len(rows)})


class History(Scope):
    """``…/history``: what every write made of a target, newest first, until it is cleaned away."""

    async def get(self, call: Call) -> Answer:
        return page_by_position([*self.rows(self.configuration.view(), call).values()][::-1], call)


class TargetItem(TargetScope, Item):
    """One target of an upstream."""

    async def put(self, call: Call) -> Answer:
        return await self.patch(call)

    def find(self, view: View, call: Call) -> Entity | None:
        return self.named(view, call)


def _spelled(data: Mapping[str, Any]) -> str:
    """The address as it is kept; empty where there is none, which is for the schema to refuse.

    :raise SchemaViolation: it is none. Told alone, whatever else may be wrong, as Kong does.
    """
    text = data.get("target")
    try:
        return hosts.parse(text).with_port(hosts.DEFAULT_PORT) if text and isinstance(text, str) else ""
    except ValueError:
        raise SchemaViolation({"target": "Invalid target; not a valid hostname or ip address"}) from None
