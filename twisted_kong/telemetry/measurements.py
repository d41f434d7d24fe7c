"""All that is measured, as Prometheus reads it, without traffic having to wait while it is written.

A route has fifty series, so those of a thousand routes take half a second to write. What is written is how things were
when somebody asked: that is noted at once, in the reactor's thread, and turned into text wherever there is time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet.defer import maybeDeferred

from twisted_kong.telemetry.traffic import Traffic

Aside = Callable[[Callable[[], str]], Awaitable[str]]
"""Does a piece of work, in a thread for one, and answers what comes of it."""


async def at_hand() -> None:
    """There is nothing to wait for."""


class Collected(Collector):
    """What others have told already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The same, whenever it is asked for."""
        return iter(self._families)


class Asked(Collector):
    """What ``measured`` answers whenever it is asked."""

    def __init__(self, measured: Callable[[], Sequence[Metric]]) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        """The families as they are now."""
        return iter(self._measured())


class Measurements:
    """What ``collectors`` tell, which is little, and the ``traffic``; ``aside`` does work where nobody waits for it.

    ``gather`` is asked first: it brings up to date what they tell.
    """

    def __init__(
        self,
        traffic: Traffic | None = None,
        collectors: Iterable[Collector] = (),
        aside: Aside = maybeDeferred,
        gather: Callable[[], Awaitable[None]] = at_hand,
    ) -> None:
        self._traffic = traffic or Traffic()
        self._collectors = tuple(collectors)
        self._aside = aside
        self._gather = gather

    async def text(self, *, reachable: bool) -> str:
        """How things are when this is called, in Prometheus' text format; ``reachable`` is the store or is not."""
        await self._gather()
        store = GaugeMetricFamily(
            "kong_datastore_reachable", "Whether the configuration's store is there.", float(reachable)
        )
        families: list[Metric] = [store]
        families += [family for collector in self._collectors for family in collector.collect()]
        traffic = self._traffic.copy()

        def write() -> str:
            registry = CollectorRegistry()
            registry.register(Collected(families))
            registry.register(traffic)
            return generate_latest(registry).decode()

        return await self._aside(write)
