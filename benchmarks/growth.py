"""``python -m benchmarks.growth``: the memory of many idle connections, and of many reloads (README.md).

The gateway has the last core; clients and origin are this process. A reload is what people do: the declarative file is
replaced, and SIGHUP has it read.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

from benchmarks import accounting, machine, measure, scale
from benchmarks.load import WORKLOADS
from benchmarks.measure import Memory
from benchmarks.programs import ProgramError
from benchmarks.reloaded import KEPT, TARGETS, UPSTREAMS, ReloadedGateway, SetGateway, document
from benchmarks.table import Verdict, aligned

CONNECTIONS = (1_000, 5_000, 10_000)
SPARE = 200  # descriptors that a process has besides those of its idle connections
WARM_UP, RELOADS = 20, 100
GROWTH = 2.0  # percent that the resident memory may grow by in so many reloads
CLIENTS, PAUSE = 4, 0.02  # seconds of each client between an answer and its next request


class Origin(scale.Origin):
    """Answers 204, and keeps connections."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


@contextmanager
def origin() -> Iterator[int]:
    """The port of an origin at every address of 127.0.0.0/8."""
    with ThreadingHTTPServer(("0.0.0.0", 0), Origin) as server:
        server.block_on_close = False
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@dataclass(frozen=True)
class Growth:
    """Resident bytes before and after so many ``reloads``, and the requests meanwhile; ``failures`` says what was wrong
    with those of them that were not answered as they should have been."""

    reloads: int
    before: int
    after: int
    requests: int
    failures: Sequence[str]

    @property
    def verdict(self) -> Verdict:
        """How much of what there was before came on top, and how much may."""
        return Verdict(f"growth in {self.reloads} reloads", (self.after / self.before - 1) * 100, GROWTH, " %")

    @property
    def missed(self) -> bool:
        """Whether memory grew by more than it may, or somebody has noticed."""
        return self.verdict.missed or bool(self.failures)

    def text(self) -> str:
        """A line for the memory, one for the requests, and one for the bound."""
        failed = f", {len(self.failures)} of them FAILED, the first: {self.failures[0]}" if self.failures else ""
        sizes = f"{self.before / 2**20:.1f} MiB before, {self.after / 2**20:.1f} MiB after"
        return f"Resident memory: {sizes}\nRequests meanwhile: {self.requests:,}{failed}\n{self.verdict}"


def connection_table(found: Sequence[Memory]) -> str:
    """A Markdown table of idle connections; a number of them of which some were closed is marked."""
    rows = [["idle connections", "KiB each", "MiB before", "MiB after"]]
    for each in found:
        name = f"{each.wanted:,}" if each.open == each.wanted else f"{each.wanted:,} (FAILED: kept {each.open:,} open)"
        sizes = (each.per_connection / 2**10, each.before / 2**20, each.after / 2**20)
        rows.append([name, *(f"{size:.{digits}f}" for size, digits in zip(sizes, (2, 1, 1), strict=True))])
    return aligned(rows)


def measure_connections(wanted: int) -> Memory:
    """What so many idle connections take of a gateway that never had any.

    :raise ProgramError: the limit on open files does not allow as many, or the gateway does not start.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < wanted + SPARE:
        raise ProgramError(f"{wanted:,} connections need {wanted + SPARE:,} open files, and the limit is {limit:,}")
    settings = {"nginx_events_worker_connections": wanted + SPARE, "nginx_http_keepalive_timeout": "600s"}
    with origin() as port, tempfile.TemporaryDirectory(prefix="growth-", ignore_cleanup_errors=True) as directory:
        gateway = SetGateway(Path(directory, "gateway"), [port], settings)
        try:
            gateway.start()
            return measure.idle_connections(WORKLOADS[0], gateway.program.pid, gateway.port, wanted=wanted)
        finally:
            gateway.stop()


def measure_reloads(reloads: int) -> Growth:
    """What so many reloads leave behind, after some that are to have their memory.

    :raise ProgramError: the gateway does not start, or does not take a document.
    """
    with origin() as port, tempfile.TemporaryDirectory(prefix="growth-", ignore_cleanup_errors=True) as directory:
        gateway = ReloadedGateway(Path(directory, "gateway"), document(0, port))
        try:
            gateway.start()
            with visitors(gateway.port):
                for turn in range(1, WARM_UP + 1):
                    gateway.reload(document(turn, port))
            before = settled(gateway.program.pid)
            with visitors(gateway.port) as told:
                for turn in range(WARM_UP + 1, WARM_UP + 1 + reloads):
                    gateway.reload(document(turn, port))
            return Growth(reloads, before, settled(gateway.program.pid), len(told), [each for each in told if each])
        finally:
            gateway.stop()


def settled(pid: int) -> int:
    """The resident bytes once no connection to an origin is open any more."""
    time.sleep(2 * KEPT + measure.SETTLE)
    return accounting.resident(pid)


@contextmanager
def visitors(port: int) -> Iterator[Sequence[str]]:
    """Clients that ask for one route after the other meanwhile, and what was wrong with each answer, if anything."""
    told: list[str] = []
    over = Event()

    def visit(first: int) -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            number = first
            while not over.wait(PAUSE):
                try:
                    connection.request("GET", f"/{number % UPSTREAMS}/")
                    answer = connection.getresponse()
                    answer.read()
                    told.append("" if answer.status == 204 else f"GET /{number % UPSTREAMS}/: {answer.status}")
                except (OSError, HTTPException) as error:
                    told.append(f"GET /{number % UPSTREAMS}/: {error!r}")
                    connection.close()
                number += CLIENTS

    threads = [Thread(target=visit, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        over.set()
        for thread in threads:
            thread.join()


def main() -> int:
    """Measure and print; 0 when all is well, 1 when memory grew by more than it may, or connections or requests were
    lost, 2 when something could not be measured."""
    ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0]).parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(", ".join(f"{name} {value}" for name, value in machine.description().items()))
    try:
        found = [measure_connections(wanted) for wanted in CONNECTIONS]
        print(f"\n### Memory of idle connections\n\n{connection_table(found)}", flush=True)
        growth = measure_reloads(RELOADS)
    except ProgramError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(f"\n### {RELOADS} reloads of {UPSTREAMS} upstreams of {TARGETS} targets each\n\n{growth.text()}")
    return int(growth.missed or any(each.open < each.wanted for each in found))


if __name__ == "__main__":
    sys.exit(main())
