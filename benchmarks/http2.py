"""``python -m benchmarks.http2``: what a request over HTTP/2 costs, beside the same over HTTP/1.1, in the clear.

h2load asks for the small answer over a few connections, with as many requests at a time on each. Every server is asked
in turns with the others; what counts is the processor time of a request, as in the other figures.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import accounting
from benchmarks.origins import Origins
from benchmarks.programs import ProgramError, find
from benchmarks.servers import Gateway, Haproxy, Nginx, Server

REQUESTS, CONNECTIONS, STREAMS, ROUNDS = 6000, 8, 8, 5
_DONE = re.compile(r"(\d+) succeeded, (\d+) failed")


def over_http2(kind: type[Server], said: str, instead: str) -> type[Server]:
    """``kind`` with one text of its configuration replaced; ``{port}`` in both stands for its port."""

    class OverHttp2(kind):  # type: ignore[misc, valid-type]  # a class like any other, but made here
        def _write(self, name: str, text: str) -> str:
            changed = text.replace(said.format(port=self.port), instead.format(port=self.port))
            assert changed != text, (name, said)
            return str(super()._write(name, changed))

    return OverHttp2


SERVERS: dict[str, tuple[type[Server], type[Server]]] = {
    "gateway": (
        Gateway,
        over_http2(Gateway, "proxy_listen = 127.0.0.1:{port}", "proxy_listen = 127.0.0.1:{port} http2"),
    ),
    "nginx": (Nginx, over_http2(Nginx, "listen 127.0.0.1:{port};", "listen 127.0.0.1:{port} http2;")),
    "haproxy": (Haproxy, over_http2(Haproxy, "bind 127.0.0.1:{port}", "bind 127.0.0.1:{port} proto h2")),
}


def cost(server: Server, option: str) -> float:
    """Microseconds of processor time a request.

    :raise ProgramError: an answer was not right.
    """
    pid = server.program.pid
    before = accounting.processor_times(pid)
    done = subprocess.run(
        [find("h2load"), f"-n{REQUESTS}", f"-c{CONNECTIONS}", option, f"http://127.0.0.1:{server.port}/small"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    cpu, _ = accounting.spent(before, accounting.processor_times(pid))
    counted = _DONE.search(done.stdout)
    if counted is None or int(counted[1]) != REQUESTS or int(counted[2]):
        raise ProgramError(f"{server.name}: not every answer was right:\n{done.stdout}{done.stderr}")
    return cpu / REQUESTS * 1e6


def main() -> int:
    """Measure and print; 0 when every answer was right."""
    cores = sorted(os.sched_getaffinity(0))
    try:
        with ExitStack() as stack:
            os.sched_setaffinity(0, cores[:1])
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
            origins = Origins(directory / "origins", cores[0])
            stack.callback(origins.stop)
            origins.start()
            found: dict[tuple[str, str], list[float]] = {}
            rows: list[tuple[str, str, Server, str]] = []
            for name, kinds in SERVERS.items():
                for way, kind, option in (("HTTP/1.1", kinds[0], "--h1"), ("HTTP/2", kinds[1], f"-m{STREAMS}")):
                    server = kind(directory / f"{name}-{way[-1]}", cores[-1], origins.ports)
                    stack.callback(server.stop)
                    server.start()
                    rows.append((name, way, server, option))
            for _ in range(ROUNDS + 1):  # the first one warms up
                for name, way, server, option in rows:
                    found.setdefault((name, way), []).append(cost(server, option))
    except ProgramError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    show({key: statistics.median(costs[1:]) for key, costs in found.items()})
    return 0


def show(costs: dict[tuple[str, str], float]) -> None:
    """One line for each server and protocol."""
    print("| server | protocol | CPU µs/request | × nginx |\n| --- | --- | ---: | ---: |")
    for (name, way), each in costs.items():
        print(f"| {name} | {way} | {each:.1f} | {each / costs['nginx', way]:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
