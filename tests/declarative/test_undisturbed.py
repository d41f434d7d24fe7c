"""What a new document does not speak of goes on: the balancers of the traffic stay the objects they were."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from typing import Any

from document_making import NOW, SCHEMA, document
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.model.entities import Service
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names
from twisted_kong.store.declarative import Loader
from twisted_kong.store.memory import MemoryStore
from twisted_kong.testing import KnownNames


def tree(*more: dict[str, Any], weight: int = 1) -> dict[str, Any]:
    """A document with a balanced service ``s`` on the upstream ``u``, and more upstreams."""
    targets = [{"target": "a.test:80", "weight": weight}, {"target": "b.test:80"}]
    service = {"name": "s", "host": "u", "routes": [{"paths": ["/"]}]}
    return document(services=[service], upstreams=[*more, {"name": "u", "targets": targets}])


class UndisturbedTests(TestCase):
    """A gateway whose documents come one after the other."""

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits what it returns
        names = Names(KnownNames(), Clock())
        self.gateway = Gateway({"round-robin": RoundRobinFactory()}, "traditional_compatible", names)
        self.store = MemoryStore()
        self.store.subscribe(self.gateway.apply)
        self.loader = Loader(self.store, SCHEMA, now=lambda: NOW, aside=maybeDeferred)
        await self.loader.load(tree())

    def service(self) -> Service:
        found = self.store.snapshot().find("services", "s")
        assert isinstance(found, Service)
        return found

    async def test_other_upstreams(self) -> None:
        """Other upstreams come and go."""
        service, (balancer, _) = self.service(), self.gateway.balancer(self.service())
        for more in ([{"name": "v", "targets": [{"target": "c.test:80"}]}], [{"name": "w"}], []):
            await self.loader.load(tree(*more))
            self.assertIs(self.service(), service)
            self.assertIs(self.gateway.balancer(service)[0], balancer)

    async def test_its_own_targets(self) -> None:
        """A target's weight changes below it."""
        balancer, _ = self.gateway.balancer(self.service())
        await self.loader.load(tree(weight=3))
        self.assertIs(self.gateway.balancer(self.service())[0], balancer)

    async def test_the_same_again(self) -> None:
        """The same document again is not even noticed."""
        router = self.gateway.router
        await self.loader.load(tree())
        self.assertIs(self.gateway.router, router)
