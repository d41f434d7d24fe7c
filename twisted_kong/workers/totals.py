"""What all workers have counted together. Pure.

A worker tells its counters as they are, and of routes only those that have counted since it told last. What one that
has ended had told counts on: a sum never falls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from twisted_kong.serving import Counted
from twisted_kong.telemetry.refusals import Refused
from twisted_kong.telemetry.traffic import RouteTraffic, Traffic
from twisted_kong.workers.messages import Message

Measured = dict[str, tuple[Metric, dict[tuple[str, tuple[tuple[str, str], ...]], float]]]
"""By name, what is measured, and its samples by their names and labels."""
LASTING = ("counter", "histogram", "summary")
"""What counts on when who has counted it has ended."""


def documents(families: Iterable[Metric]) -> list[list[Any]]:
    """What is measured, as JSON has it."""
    return [
        [each.name, each.documentation, each.type, [[one.name, one.labels, one.value] for one in each.samples]]
        for each in families
    ]


def add(sums: Measured, rows: Iterable[Sequence[Any]], types: Collection[str] | None = None) -> None:
    """Add what `documents` wrote, of these types, or all."""
    for name, documentation, kind, samples in rows:
        if types is not None and kind not in types:
            continue
        if name not in sums:
            sums[name] = Metric(name, documentation, kind), {}
        found = sums[name][1]
        for sample, labels, value in samples:
            key = sample, tuple(labels.items())
            found[key] = found.get(key, 0.0) + value


class Told:
    """What one worker has told: its counters, questions for names, bytes of memory, seconds at work."""

    def __init__(self) -> None:
        self.counted = Counted()
        self.traffic = Traffic()
        self.questions = 0
        self.failures = 0
        self.measured: list[Any] = []
        self.memory = 0
        self.cpu = 0.0


class Totals(Traffic):
    """The sums. As `Traffic` they are what the workers have counted of it, as soon as somebody copies it."""

    def __init__(self) -> None:
        super().__init__()
        self._gone = Told()
        self._told: dict[int, Told] = {}
        self._gone_measured: Measured = {}

    def heard(self, process: int, message: Message) -> None:
        """The worker with this process id tells ``counted``."""
        told = self._told.setdefault(process, Told())
        told.counted = Counted(**message["counters"])
        told.memory = message["memory"]
        told.cpu = message["cpu"]
        told.measured = message["measured"]
        told.questions, told.failures = message["questions"]
        told.traffic.refused = Refused()
        told.traffic.refused.add(message["refused"])
        for service, route, document in message["routes"]:
            told.traffic.replace((service, route), RouteTraffic.from_document(document))

    def gone(self, process: int) -> None:
        """That worker has ended."""
        told = self._told.pop(process, None)
        if told is not None:
            gone = self._gone
            gone.counted = Counted(
                accepted=gone.counted.accepted + told.counted.accepted,
                requests=gone.counted.requests + told.counted.requests,
            )
            gone.traffic.add(told.traffic)
            add(self._gone_measured, told.measured, LASTING)
            gone.questions += told.questions
            gone.failures += told.failures

    def counted(self) -> Counted:
        """Connections and requests of all."""
        every = [self._gone.counted, *(told.counted for told in self._told.values())]
        return Counted(
            sum(each.active for each in every),
            sum(each.accepted for each in every),
            sum(each.busy for each in every),
            sum(each.requests for each in every),
        )

    def questions(self) -> tuple[int, int]:
        """How many questions for names were asked, and how many in vain."""
        every = [self._gone, *self._told.values()]
        return sum(each.questions for each in every), sum(each.failures for each in every)

    def of_process(self, process: int) -> Told:
        """What the worker with this process id has told."""
        return self._told.get(process) or Told()

    def measured(self, own: Iterable[Metric] = ()) -> list[Metric]:
        """What else is measured of all of them and, as ``own``, of the process in charge, added up."""
        sums: Measured = {name: (metric, dict(samples)) for name, (metric, samples) in self._gone_measured.items()}
        for rows in (documents(own), *(told.measured for told in self._told.values())):
            add(sums, rows)
        families = []
        for metric, samples in sums.values():
            family = Metric(metric.name, metric.documentation, metric.type)
            for (sample, labels), value in samples.items():
                family.add_sample(sample, dict(labels), value)
            families.append(family)
        return families

    def memory(self) -> Mapping[int, int]:
        """Bytes that each worker occupies, by its process id."""
        return {process: told.memory for process, told in self._told.items()}

    def copy(self) -> Traffic:
        """The sums as they are now."""
        copy = Traffic()
        for told in (self._gone, *self._told.values()):
            copy.add(told.traffic)
        return copy


def changed_routes(traffic: Traffic, told: dict[tuple[str, str], int]) -> Iterable[list[Any]]:
    """The routes that have counted since ``told`` was brought up to date, which it is here."""
    for names, counted in traffic.routes().items():
        requests = sum(counted.requests.values())
        if told.get(names, 0) != requests:
            told[names] = requests
            yield [*names, counted.document()]
