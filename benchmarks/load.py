"""The load: what is asked for, wrk that asks, and what wrk tells afterwards. Knows nothing of the servers asked."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")

# What a browser behind a login sends. Host and, unique in every request, traceparent come on top.
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br",
    "Cookie": "session=6f1c0a5be2d94d0f8f3f0f7d2b1a9c44; theme=dark; consent=1",
    "Referer": "https://shop.example.com/catalogue/lamps?page=3&sort=price",
    "Authorization": "Bearer 0f8b1c7e5d3a49b2a6c4e8f01d2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
    "Cache-Control": "no-cache",
    "X-Requested-With": "XMLHttpRequest",
}


@dataclass(frozen=True)
class Workload:
    """One row of the table: the same request again and again over ``connections`` kept-alive connections.

    ``body`` and ``answer`` are the bytes of the request's and the answer's body. ``bound`` is what the gateway may cost
    in units of nginx's cost, ``late`` what its p99 may be in units of nginx's p50. Where there is a ``setup``, gateway
    and nginx are started for this row alone, and do what it says (`benchmarks.servers`). A star in ``path`` is one of
    ``routes`` numbers, each in its turn.
    """

    name: str
    title: str
    connections: int
    method: str
    path: str
    body: int
    answer: int
    bound: float | None = None
    late: float | None = None
    setup: str = ""
    routes: int = 1

    @property
    def example(self) -> str:
        """One of the paths that are asked for."""
        return self.path.replace("*", "0")


WORKLOADS = (
    Workload("small", "small answers", 32, "GET", "/small", 0, 128, bound=2.1, late=4.0),
    Workload("64k", "64 KiB answers", 16, "GET", "/64k", 0, 64 * 1024, bound=1.4),
    Workload("1m", "1 MiB answers", 8, "GET", "/1m", 0, 1024 * 1024, bound=1.2),
    Workload("post", "64 KiB request bodies", 16, "POST", "/post", 64 * 1024, 128, bound=3.0),
)
ROUTES, UPSTREAMS = 1000, 100


def _variant(setup: str, title: str, bound: float, path: str = "/small", routes: int = 1) -> Workload:
    return Workload(setup, f"small answers, {title}", 32, "GET", path, 0, 128, bound=bound, setup=setup, routes=routes)


VARIANTS = (
    _variant("logging", "with an access log", 2.4),
    _variant("hashing", "consistent hashing of a header", 2.2),
    _variant("least", "least connections", 2.2),
    _variant("routes", f"{ROUTES:,} routes over {UPSTREAMS} upstreams", 2.4, "/route-*/small", ROUTES),
)
"""The small answers again, by servers that are set up for them."""


@dataclass(frozen=True)
class Report:
    """What wrk saw. ``seconds``, ``p50`` and ``p99`` are seconds; ``failures`` has the kinds that happened."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failures: dict[str, int]


def command(workload: Workload, port: int, *, seconds: int, number: int) -> list[str]:
    """The wrk command for ``workload`` against ``port``; ``number`` must differ between the commands of a run."""
    headers = [word for name, value in HEADERS.items() for word in ("-H", f"{name}: {value}")]
    options = ["-t", "1", "-c", str(workload.connections), "-d", f"{seconds}s", "-s", str(SCRIPT), *headers]
    script = [workload.method, workload.path, str(workload.body), str(number), str(workload.routes)]
    return ["wrk", *options, f"http://127.0.0.1:{port}", "--", *script]


def run(workload: Workload, port: int, *, seconds: int, number: int) -> Report:
    """Put the load on ``port`` for ``seconds`` and report."""
    arguments = command(workload, port, seconds=seconds, number=number)
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds + 30)
    if ended.returncode:
        raise RuntimeError(f"wrk ended with status {ended.returncode}: {(ended.stderr or ended.stdout).strip()}")
    return parse(ended.stdout, workload.answer)


def parse(output: str, answer: int) -> Report:
    """The report in wrk's output, whose last line is the JSON of load.lua.

    Fewer bytes than ``answer`` times the answers count as the failure ``short``, no answer at all as ``unanswered``.
    """
    lines = output.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise ValueError(f"wrk: expected a last line of JSON, got {lines[-1:]}")
    told = json.loads(lines[-1])
    failures = {kind: count for kind, count in told["failures"].items() if count}
    if not told["requests"]:
        failures["unanswered"] = 1
    elif told["bytes"] < told["requests"] * answer:
        failures["short"] = 1
    return Report(told["requests"], told["microseconds"] / 1e6, told["p50"] / 1e6, told["p99"] / 1e6, failures)
