"""``/metrics``: what Prometheus reads."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

from twisted_kong.admin.answers import Answer
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint


class Metrics(Endpoint):
    """Everything that is registered, in Prometheus' text format."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    async def get(self, call: Call) -> Answer:
        return Answer(200, generate_latest(self._registry).decode(), CONTENT_TYPE_PLAIN_0_0_4)
