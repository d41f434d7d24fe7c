"""What several workers gain: how much more two of them serve on two cores than a gateway of one process on one.

``python -m benchmarks.workers`` runs both beside each other and asks them in turns. What serves has a core to itself,
one process or several, and is kept busy on it; the load and the origins have another. So the rate is not what is
compared, but what a request costs a process that is always busy; see `Round`.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import load, machine
from benchmarks.accounting import processor_times, spent
from benchmarks.load import Workload
from benchmarks.origins import Origins
from benchmarks.programs import ProgramError, find, pinned
from benchmarks.servers import Gateway

WORKERS = 2
ROUNDS = 5
SECONDS = 3
GAIN = 1.8
"""What two workers are to serve on two cores, as a multiple of one process on one."""
# So many connections for each process that serves: the more have something to say at a time, the less each costs.
SMALL = Workload("small", "small answers", 128, "GET", "/small", 0, 128)


class Workers(Gateway):
    """This project with several workers, all on one core."""

    name = "workers"
    processes = WORKERS

    @property
    def pids(self) -> list[int]:
        """Of those who serve clients."""
        found: list[int] = self._ask("/")["pids"]["workers"]
        return found

    def requests(self) -> list[int]:
        """How many requests each of them has had."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/metrics", timeout=10) as answer:
            found = re.findall(
                r'^kong_worker_requests_total\{worker="\d+"\} (\S+)', answer.read().decode(), re.MULTILINE
            )
        return [int(float(each)) for each in found]

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}{path}", timeout=10) as answer:
            return json.load(answer)


@dataclass(frozen=True)
class Round:
    """What one round tells. Times are seconds of processor for a request.

    ``single`` is that of a gateway of one process, ``worker`` that of the workers, ``charge`` that of the process in
    charge of them; ``busiest`` is the share of the requests that the busiest worker has had.
    """

    single: float
    worker: float
    charge: float
    busiest: float

    @property
    def gain(self) -> float:
        """How much more workers can serve on as many cores than one process on one.

        A core has a second of processor in each. One process can serve 1/``single`` on it; workers share as many
        cores with the process in charge. Clients that ask again when they have been answered keep all workers at work,
        whatever the shares of their connections.
        """
        return WORKERS * self.single / (self.worker + self.charge)


def measure(rounds: int = ROUNDS, seconds: int = SECONDS) -> list[Round]:
    """So many rounds, in which both are asked for so many seconds each.

    :raise ProgramError: something is missing, or an answer was wrong.
    """
    elsewhere, core = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as directory, pinned(elsewhere):
        origins = Origins(Path(directory) / "origins", core=elsewhere)
        servers: list[Gateway] = [Gateway(Path(directory) / "single", core, origins.ports)]
        workers = Workers(Path(directory) / "workers", core, origins.ports)
        servers.append(workers)
        try:
            origins.start()
            for server in servers:
                server.start()
            return [_round(servers[0], workers, number, seconds) for number in range(rounds + 1)][1:]
        finally:
            for server in servers:
                server.stop()
            origins.stop()


def _round(single: Gateway, workers: Workers, number: int, seconds: int) -> Round:
    before = processor_times(single.program.pid)
    asked = _load(single, 2 * number, seconds)
    cost, _ = spent(before, processor_times(single.program.pid))
    pids, had = workers.pids, workers.requests()
    before = processor_times(workers.program.pid)
    served = _load(workers, 2 * number + 1, seconds)
    after = processor_times(workers.program.pid)
    whole, _ = spent(before, after)
    threads = {thread for pid in pids for thread in processor_times(pid)}
    serving, _ = spent(before, {thread: times for thread, times in after.items() if thread in threads})
    shares = [after - earlier for after, earlier in zip(workers.requests(), had, strict=True)]
    return Round(cost / asked, serving / served, (whole - serving) / served, max(shares) / sum(shares))


def _load(server: Gateway, number: int, seconds: int) -> int:
    workload = replace(SMALL, connections=SMALL.connections * server.processes)
    report = load.run(workload, server.port, seconds=seconds, number=number)
    if report.failures:
        raise ProgramError(f"{server.name} has failed: {report.failures}")
    return report.requests


def text(rounds: Sequence[Round]) -> str:
    """What came out, in a few lines."""

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    gains = [each.gain for each in rounds]
    missed = "" if median(gains) >= GAIN else " MISSED"
    return "\n".join(
        [
            f"one process: {median([each.single for each in rounds]) * 1e6:.1f} µs of processor a request",
            f"{WORKERS} workers: {median([each.worker for each in rounds]) * 1e6:.1f} µs, and "
            f"{median([each.charge for each in rounds]) * 1e6:.2f} µs of the process in charge; "
            f"the busiest has {median([each.busiest for each in rounds]):.1%} of the requests",
            f"they serve {median(gains):.2f} times ({min(gains):.2f} to {max(gains):.2f}) as much on {WORKERS} cores"
            f" as one process on one{missed}",
        ]
    )


def main() -> int:
    """Measure and tell; 1 where it is less than it should be, 2 where a program is missing."""
    try:
        find("wrk")
        print(", ".join(f"{name} {value}" for name, value in machine.description().items()))
        rounds = measure()
    except ProgramError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(text(rounds))
    return int(statistics.median(each.gain for each in rounds) < GAIN)


if __name__ == "__main__":
    sys.exit(main())
