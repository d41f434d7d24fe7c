"""One run: starts everything, measures in interleaved rounds, and ends everything whatever happens.

The servers take turns within every round, so that a noisy minute of the machine meets them all.
"""

from __future__ import annotations

import http.client
import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import measure
from benchmarks.load import WORKLOADS, Workload
from benchmarks.measure import Memory, Sample
from benchmarks.origins import Origins
from benchmarks.probes import Cost
from benchmarks.programs import ProgramError
from benchmarks.scale import Report
from benchmarks.servers import SERVERS, Server
from benchmarks.table import Verdict

SMALL = WORKLOADS[0]
SET_UP = ("gateway", "nginx")
"""Who can be set up for a workload."""
IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Plan:
    """How much is measured: ``rounds`` of ``seconds`` each (whole ones, wrk counts no others), and idle connections."""

    rounds: int = 5
    seconds: int = 1
    idle: int = 1000
    turns: int = 20
    """How often each question is asked of the gateway with a large configuration."""


@dataclass
class Results:
    """Everything measured: samples by workload and server, memory by server, and what made a server drop out.

    ``wrong`` is by workload and server too: what its answer was instead of the expected one.
    """

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    wrong: dict[str, dict[str, str]] = field(default_factory=dict)
    scale: Report | None = None
    """What the gateway cost with a large configuration, where that was measured."""
    probes: Cost | None = None
    """What it cost to probe many peers, where that was measured."""
    verdicts: list[Verdict] = field(default_factory=list)
    """What was kept and missed of what the gateway may cost."""

    @property
    def failed(self) -> bool:
        """Whether any answer of any server was not what it should have been, or cost more than it may."""
        samples = (each for rounds in self.samples.values() for server in rounds.values() for each in server)
        return (
            any(self.wrong.values())
            or any(each.missed for each in self.verdicts)
            or (self.scale is not None and self.scale.missed)
            or (self.probes is not None and self.probes.missed)
            or any(each.report.failures for each in samples)
            or any(each.failed for each in self.memory.values())
        )


class Campaign:
    """The measurements of one run, in the order they are made; ``results`` fills up meanwhile."""

    def __init__(self, servers: Sequence[Server], plan: Plan) -> None:
        self.results = Results()
        self._servers = servers
        self._plan = plan
        self._numbers = itertools.count()  # of every load put on anybody, which keeps all request heads different

    def measure_memory(self) -> None:
        """Before any load: what a burst leaves behind in a process would hide what a connection takes."""
        for server in self._servers:
            try:
                memory = measure.idle_connections(SMALL, server.program.pid, server.port, wanted=self._plan.idle)
            except (OSError, http.client.HTTPException) as error:
                raise server.program.failure(f"broke off with {self._plan.idle} idle connections: {error!r}") from error
            self.results.memory[server.name] = memory

    def warm_up(self, workload: Workload = SMALL) -> None:
        """Fill the pools and caches of every server."""
        for server in self._servers:
            self._sample(workload, server)

    def measure_variant(self, workload: Workload, names: Sequence[str]) -> None:
        """All rounds of a workload that some of the servers ``names`` are started for."""
        with running([name for name in names if name in SET_UP], workload.setup) as servers:
            self._servers = servers
            self.warm_up(workload)
            self.measure_workload(workload)

    def measure_workload(self, workload: Workload) -> None:
        """All rounds of one workload, of those servers that answer it rightly."""
        wrong = {server.name: measure.check(workload, server.port) for server in self._servers}
        self.results.wrong[workload.name] = {server: why for server, why in wrong.items() if why is not None}
        sound = [server for server in self._servers if wrong[server.name] is None]
        samples: dict[str, list[Sample]] = {server.name: [] for server in sound}
        for _ in range(self._plan.rounds):
            for server in sound:
                samples[server.name].append(self._sample(workload, server))
        self.results.samples[workload.name] = samples

    def _sample(self, workload: Workload, server: Server) -> Sample:
        number = next(self._numbers)
        sample = measure.sample(workload, server.program.pid, server.port, seconds=self._plan.seconds, number=number)
        server.program.check()
        return sample


@contextmanager
def running(names: Sequence[str], setup: str = "") -> Iterator[list[Server]]:
    """The origins and the servers ``names``, started for ``setup``; all of it is gone afterwards.

    The servers get the last core to themselves and leave the first to the load, the origins and this process.

    :raise ProgramError: something is missing or does not start.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise ProgramError(f"two cores are needed, one for the server and one for all else; usable are {cores}")
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, cores[:1])
        place = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-", dir=place)))
        origins = Origins(directory / "origins", cores[0])
        stack.callback(origins.stop)
        origins.start()
        servers = [SERVERS[name](directory / name, cores[-1], origins.ports, setup) for name in names]
        for server in servers:
            stack.callback(server.stop)
            server.start()
        yield servers
