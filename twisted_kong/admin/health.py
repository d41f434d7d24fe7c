"""How the targets of an upstream are, as whoever sends them traffic sees it, and how a person says otherwise.

What is healthy is decided by the runtime, which is asked through `Balancers`; here it is put into Kong's shapes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol, cast

from twisted_kong.admin.answers import EMPTY, Answer, NotFound, Refused
from twisted_kong.admin.configuration import Configuration
from twisted_kong.admin.node import Node
from twisted_kong.admin.paging import page_by_position
from twisted_kong.admin.request import Call
from twisted_kong.admin.targets import PATH, TargetScope
from twisted_kong.admin.timeline import Histories, Timeline
from twisted_kong.admin.tree import Endpoint
from twisted_kong.model import hosts
from twisted_kong.model.entities import Target, Upstream
from twisted_kong.runtime.reports import AddressReport, Report, TargetReport, Weights

OFF = "HEALTHCHECKS_OFF"
DNS_ERROR = "DNS_ERROR"
_STATES = {True: "HEALTHY", False: "UNHEALTHY"}


class Balancers(Histories, Protocol):
    """What is asked of the runtime."""

    def report(self, upstream: Upstream) -> Report | None:
        """How an upstream and its targets are; None where nothing is known of it."""

    def set_health(self, target: Target, upstream: Upstream, healthy: bool, address: tuple[str, int] | None) -> None:
        """Let a target be healthy or not, from the next request on: one address of it, or all where None."""


def endpoints(configuration: Configuration, balancers: Balancers, node: Node) -> Iterator[tuple[str, Endpoint]]:
    """The paths of health."""
    node_id = node.id
    yield "/upstreams/{upstreams}/health", UpstreamHealth(configuration, balancers, node_id)
    yield "/upstreams/{upstreams}/health/timeline", Timeline(configuration, balancers, node_id)
    for word, healthy in (("healthy", True), ("unhealthy", False)):
        switch = Switch(configuration, balancers, healthy, node.settled)
        yield f"{PATH}/{{targets}}/{word}", switch
        yield f"{PATH}/{{targets}}/{{address}}/{word}", switch


class UpstreamHealth(TargetScope):
    """``…/health``: the list of targets with the health of each; with ``balancer_health=1``, of all as one."""

    def __init__(self, configuration: Configuration, balancers: Balancers, node_id: str) -> None:
        super().__init__(configuration, Target, "upstream")
        self._balancers = balancers
        self._node_id = node_id

    async def get(self, call: Call) -> Answer:
        view = self.configuration.view()
        upstream = cast(Upstream, self.parent(view, call))
        found = self._balancers.report(upstream)
        if call.query.get("balancer_health") == "1":
            whole = {} if found is None else _whole(upstream, found)
            return Answer(200, {"data": whole, "next": None, "node_id": self._node_id})
        known = {} if found is None else {(target.host, target.port): target for target in found.targets}

        def row(target: Target) -> dict[str, Any]:
            reported = known.get((target.host, target.port))
            told = {} if found is None or reported is None else _told(reported, found)
            return {**target.document(), **told}

        return page_by_position(self.newest_first(view, call), call, row, node_id=self._node_id)


class Switch(TargetScope):
    """``…/healthy`` and ``…/unhealthy``: somebody says so, of a target or of one address of it."""

    def __init__(
        self,
        configuration: Configuration,
        balancers: Balancers,
        healthy: bool,
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(configuration, Target, "upstream")
        self._balancers = balancers
        self._healthy = healthy
        self._settled = settled

    async def put(self, call: Call) -> Answer:
        """What is said of an address that the target does not have changes nothing."""
        view = self.configuration.view()
        upstream = cast(Upstream, self.parent(view, call))
        target = self.named(view, call)
        if target is None:
            raise NotFound
        found = self._balancers.report(upstream)
        if found is None:
            raise Refused(400, f"Upstream {upstream.name} has no balancer")
        if not found.checked:
            raise Refused(400, f"no healthchecker found for {upstream.name}")
        self._balancers.set_health(target, upstream, self._healthy, _address(call.keys))
        await self._settled()
        return EMPTY

    async def post(self, call: Call) -> Answer:
        """As it was said before Kong 3."""
        return await self.put(call)


def _address(keys: Mapping[str, str]) -> tuple[str, int] | None:
    """The address that a path names, if any.

    :raise Refused: it could be nobody's.
    """
    if "address" not in keys:
        return None
    try:
        return hosts.split(keys["address"])
    except ValueError as error:
        raise Refused(400, f"address: expected a host, perhaps with a port; {error}") from None


def _whole(upstream: Upstream, found: Report) -> dict[str, Any]:
    """An upstream as Kong tells of a balancer."""
    return {
        "id": upstream.id,
        "health": _STATES[found.healthy] if found.checked else OFF,
        "balancer_health": _STATES[found.healthy],
        "details": {
            "healthy": found.healthy,
            "weight": _weights(found.weights),
            "hosts": [
                {
                    **_target(target),
                    "addresses": [{**_place(address), "healthy": address.healthy} for address in target.addresses],
                }
                for target in found.targets
            ],
        },
    }


def _told(target: TargetReport, found: Report) -> dict[str, Any]:
    """What is told of a target beside itself. Who gets no traffic is not checked."""
    off = not found.checked or not target.weight

    def state(healthy: bool) -> str:
        return OFF if off else _STATES[healthy]

    addresses = [{**_place(address), "health": state(address.healthy)} for address in target.addresses]
    health = state(any(address.healthy for address in target.addresses)) if addresses else DNS_ERROR
    return {"health": health, "data": {**_target(target), "addresses": addresses}}


def _target(target: TargetReport) -> dict[str, Any]:
    return {
        "host": target.host,
        "port": target.port,
        "dns": target.dns,
        "nodeWeight": target.weight,
        "weight": _weights(target.weights),
    }


def _place(address: AddressReport) -> dict[str, Any]:
    return {"ip": address.host, "port": address.port, "weight": address.weight}


def _weights(weights: Weights) -> dict[str, int]:
    return {
        "total": weights.total,
        "available": weights.available,
        "unavailable": weights.total - weights.available,
    }
