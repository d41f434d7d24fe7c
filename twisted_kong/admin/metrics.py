"""``/metrics``: what Prometheus reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from twisted_kong.admin.answers import Answer
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint
from twisted_kong.telemetry.measurements import Measurements


class Metrics(Endpoint):
    """Everything that is measured, in Prometheus' text format."""

    def __init__(self, measurements: Measurements, reachable: Callable[[], Awaitable[bool]]) -> None:
        self._measurements = measurements
        self._reachable = reachable

    async def get(self, call: Call) -> Answer:
        return Answer(200, await self._measurements.text(reachable=await self._reachable()), CONTENT_TYPE_PLAIN_0_0_4)
