"""``python -m benchmarks.scale``: what one change and one page cost where the configuration is large (README.md).

The gateway is started on a database of ten thousand targets and ten thousand routes and asked one thing at a time. A
cost is the processor time of its whole process from before a request until it is quiet again, so that what is done
behind the answer counts, too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

from benchmarks import accounting, machine
from benchmarks.large import Configuration, LargeGateway, Size, make
from benchmarks.programs import ProgramError
from benchmarks.table import aligned
from twisted_kong.model.entities import Target

QUIET = 0.005  # seconds without work after which a request has cost what it will cost
CHANGE, PAGE = 50.0, 10.0  # milliseconds of processor a change and a page may cost
STARTUP = 5.0  # seconds of processor until the first answer
ENOUGH = 10  # routes for each turn, so that every turn has some of its own, and targets in every upstream


@dataclass(frozen=True)
class Question:
    """One thing to ask, again and again: ``ask`` gets the number of the turn. ``bound`` is in milliseconds, if any."""

    name: str
    bound: float | None
    ask: Callable[[int], None]


@dataclass(frozen=True)
class Cost:
    """Milliseconds of processor time for each turn of a question."""

    question: Question
    samples: Sequence[float]

    @property
    def missed(self) -> bool:
        """Whether what it usually costs is too much."""
        return self.question.bound is not None and median(self.samples) > self.question.bound


@dataclass(frozen=True)
class Report:
    """What everything cost at one size. Start-up is in seconds, until the first answer and of processor; the resident
    memory is in bytes, after the start and in the end."""

    size: Size
    costs: Sequence[Cost]
    startup: float
    processor: float
    memory: tuple[int, int]

    @property
    def late(self) -> bool:
        """Whether the start took too much; how long that lasts depends on who else is at work."""
        return self.processor > STARTUP

    @property
    def missed(self) -> bool:
        """Whether a bound was missed."""
        return self.late or any(cost.missed for cost in self.costs)

    @property
    def title(self) -> str:
        """What there was."""
        size = self.size
        upstreams = "one upstream" if size.upstreams == 1 else f"{size.upstreams:,} upstreams"
        return f"{size.targets:,} targets in {upstreams}, {size.routes:,} routes, services: {size.services:,}"

    def text(self) -> str:
        """A table in Markdown, and below it the start and the memory."""
        before, after = (size / 2**20 for size in self.memory)
        start = f"{self.startup:.1f} s to the first answer, {self.processor:.1f} s of processor"
        memory = f"{before:.0f} MiB after the start, {after:.0f} MiB in the end"
        late = " MISSED" * self.late
        return f"{cost_table(self.costs)}\n\nStart-up: {start}{late}\nResident memory: {memory}"

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "size": vars(self.size),
            "samples": {cost.question.name: list(cost.samples) for cost in self.costs},
            "startup": self.startup,
            "processor": self.processor,
            "memory": self.memory,
        }


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when every bound was kept, 1 when one was missed, 2 when the gateway does not start or answer."""
    options = (known := parser()).parse_args(arguments)
    fewest = min(options.targets // max(options.upstreams, 1) * options.turns, options.routes)
    if fewest < ENOUGH * options.turns or min(options.services, options.upstreams) < 1:
        known.error(
            f"expected at least {ENOUGH} targets in each upstream, {ENOUGH} routes for each of {options.turns} turns,"
            " a service and an upstream"
        )
    size = Size(options.targets, options.routes, options.services, options.upstreams)
    print(", ".join(f"{name} {value}" for name, value in machine.description().items()))
    try:
        report = run(size, options.turns)
    except ProgramError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(f"\n{report.title}\n\n{report.text()}")
    return 1 if report.missed else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="The cost of changes at scale.")
    parser.add_argument("--targets", type=int, default=Size.targets, help="targets, of all the upstreams")
    parser.add_argument("--upstreams", type=int, default=Size.upstreams, help="how many upstreams share the targets")
    parser.add_argument("--routes", type=int, default=Size.routes, help="routes")
    parser.add_argument("--services", type=int, default=Size.services, help="how many services share the routes")
    parser.add_argument("--turns", type=int, default=30, help="how often each question is asked")
    return parser


def run(size: Size, turns: int) -> Report:
    """Measure: each question so many times.

    :raise ProgramError: the gateway does not start, or answers with an error.
    """
    with running(size) as (gateway, configuration):
        pid = gateway.program.pid
        processor, _ = accounting.spent({}, accounting.processor_times(pid))
        before = accounting.resident(pid)
        with closing(Client(gateway)) as client:
            costs = [measure(question, pid, turns) for question in questions(configuration, client)]
        after = accounting.resident(pid)
    return Report(size, costs, gateway.startup, processor, (before, after))


@contextmanager
def running(size: Size) -> Iterator[tuple[LargeGateway, Configuration]]:
    """The gateway on the last core; its origin is a thread of ours."""
    # every target is another address of 127.0.0.0/8, and all of them are to be this server
    origin = ThreadingHTTPServer(("0.0.0.0", 0), Origin)
    Thread(target=origin.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as directory:
        configuration = make(size, origin.server_port)
        gateway = LargeGateway(Path(directory, "gateway"), max(os.sched_getaffinity(0)), configuration)
        try:
            gateway.start()
            yield gateway, configuration
        finally:
            gateway.stop()
            origin.shutdown()
            origin.server_close()


class Origin(BaseHTTPRequestHandler):
    """Answers 204."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Client:
    """Asks a gateway, each of its ports on one connection."""

    def __init__(self, gateway: LargeGateway) -> None:
        self._admin = HTTPConnection("127.0.0.1", gateway.admin_port, timeout=60)
        self._proxy = HTTPConnection("127.0.0.1", gateway.port, timeout=60)

    def close(self) -> None:
        """Close both connections."""
        self._admin.close()
        self._proxy.close()

    def ask(self, method: str, path: str, **fields: Any) -> None:
        """Ask the Admin API; ``fields`` are the body.

        :raise ProgramError: the answer is no success.
        """
        headers = {"Content-Type": "application/json"} if fields else {}
        self._exchange(self._admin, method, path, json.dumps(fields) if fields else None, headers)

    def visit(self, path: str, host: str = "any.test") -> None:
        """Send a request through the proxy.

        :raise ProgramError: it did not reach the origin.
        """
        self._exchange(self._proxy, "GET", path, None, {"Host": host})

    def _exchange(
        self, connection: HTTPConnection, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> None:
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read(500)
            answer.read()
        except (OSError, HTTPException) as error:
            raise ProgramError(f"{method} {path}: {error!r}") from error
        if not 200 <= answer.status < 300:
            raise ProgramError(f"{method} {path} was answered {answer.status}: {text.decode(errors='replace')}")


def questions(configuration: Configuration, client: Client) -> Iterator[Question]:
    """All that is asked."""
    ask = client.ask
    owner, services = configuration.upstream.id, configuration.services
    upstream = f"/upstreams/{owner}"
    targets = [target for target in configuration.targets if target.upstream.id == owner]
    plain = [route for route in configuration.routes if not route.hosts and not route.methods]

    def own(turn: int) -> Target:
        return targets[turn % len(targets)]

    def move(turn: int) -> None:
        ask("PATCH", f"/routes/{plain[turn].id}", paths=[f"/moved/{turn}"])
        client.visit(f"/moved/{turn}")

    def add(turn: int) -> None:
        ask("PUT", f"/routes/added-{turn}", paths=[f"/added/{turn}"], service={"id": services[0].id})
        client.visit(f"/added/{turn}")

    def remove(turn: int) -> None:
        ask("DELETE", f"/routes/added-{turn}")

    def get(path: str) -> Callable[[int], None]:
        return lambda turn: ask("GET", path)

    def visit(turn: int) -> None:
        client.visit((plain[len(plain) // 2 + turn].paths or ("",))[0])

    changes: Mapping[str, Callable[[int], None]] = {
        "PATCH a target, by id": lambda n: ask("PATCH", f"{upstream}/targets/{own(n).id}", weight=200 + n),
        "PATCH a target, by address": lambda n: ask("PATCH", f"{upstream}/targets/{own(n).target}", weight=300 + n),
        "POST a new target": lambda n: ask("POST", f"{upstream}/targets", target=f"127.0.0.1:{10_000 + n}", weight=0),
        "DELETE a target": lambda n: ask("DELETE", f"{upstream}/targets/127.0.0.1:{10_000 + n}"),
        "PATCH a route, and visit it": move,
        "PATCH a route's host, by name": lambda n: ask("PATCH", f"/routes/{plain[-n].name}", hosts=[f"h{n}.test"]),
        "PUT a new route, and visit it": add,
        "DELETE a route": remove,
        f"PATCH a service of {len(configuration.routes) // len(services):,} routes": lambda n: ask(
            "PATCH", f"/services/{services[-1].id}", read_timeout=30_000 + n
        ),
        "PATCH the upstream": lambda n: ask("PATCH", upstream, slots=1000 + n),
    }
    yield from (Question(name, CHANGE, change) for name, change in changes.items())
    pages = {
        "GET the first 100 routes": "/routes?size=100",
        "GET 100 routes from the middle": f"/routes?size=100&offset={MIDDLE}",
        "GET 100 routes with a tag": "/routes?size=100&tags=rare",
        "GET 100 routes of a service": f"/services/{services[0].id}/routes?size=100",
        "GET the first 100 targets": f"{upstream}/targets?size=100",
        "GET 100 targets from the middle": f"{upstream}/targets?size=100&offset={len(targets) // 2}",
        "GET the first 100 tags": "/tags?size=100",
        "GET 100 entities with a tag": "/tags/common?size=100",
        "GET 100 entries of the history": f"{upstream}/targets/history?size=100",
    }
    yield from (Question(name, PAGE, get(path)) for name, path in pages.items())
    yield Question("GET 1,000 routes", None, get("/routes?size=1000"))
    yield Question("GET the health of all targets", None, get(f"{upstream}/health"))
    yield Question("a proxied request", None, visit)


MIDDLE = "WyI4MDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDAiXQ"
"""The offset behind an id in the middle of all ids: ``["80000000-0000-4000-8000-000000000000"]``."""


def measure(question: Question, pid: int, turns: int) -> Cost:
    """What each of ``turns`` of a question costs the process ``pid``; the first one, which warms up, is not told."""
    samples = []
    for turn in range(turns + 1):
        before = accounting.processor_times(pid)
        question.ask(turn)
        seconds, _ = accounting.spent(before, quiet(pid))
        samples.append(seconds * 1e3)
    return Cost(question, samples[1:])


def quiet(pid: int) -> Mapping[int, accounting.Times]:
    """The processor times once nothing is added to them any more."""
    times = accounting.processor_times(pid)
    while True:
        time.sleep(QUIET)
        later = accounting.processor_times(pid)
        if not any(accounting.spent(times, later)):
            return later
        times = later


def cost_table(costs: Sequence[Cost]) -> str:
    """A Markdown table of what everything cost."""
    rows = [["", "CPU ms, median", "worst", "bound"]]
    for cost in costs:
        name = f"{cost.question.name} MISSED" if cost.missed else cost.question.name
        bound = "–" if cost.question.bound is None else f"{cost.question.bound:.0f}"
        rows.append([name, f"{median(cost.samples):.1f}", f"{max(cost.samples):.1f}", bound])
    return aligned(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
