"""What Prometheus is told of workers; these metrics are ours, Kong has none of the kind."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from twisted_kong.workers.pool import Pool


class WorkerMetrics(Collector):
    """How the workers of ``pool`` are, by their slots."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        pool = self._pool
        yield GaugeMetricFamily("kong_workers", "Processes that serve clients.", len(pool.serving()))
        yield CounterMetricFamily("kong_workers_replaced", "Workers that ended before their time.", pool.replaced)
        memory = GaugeMetricFamily("kong_worker_resident_bytes", "Memory that a worker occupies.", labels=["worker"])
        busy = CounterMetricFamily("kong_worker_cpu_seconds", "Time that a worker was at work.", labels=["worker"])
        requests = CounterMetricFamily("kong_worker_requests", "Requests that a worker has had.", labels=["worker"])
        for worker in sorted(pool.serving(), key=lambda worker: worker.slot):
            told = pool.traffic.of_process(worker.pid)
            memory.add_metric([str(worker.slot)], told.memory)
            busy.add_metric([str(worker.slot)], told.cpu)
            requests.add_metric([str(worker.slot)], told.counted.requests)
        yield memory
        yield busy
        yield requests
