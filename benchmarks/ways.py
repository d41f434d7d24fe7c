"""``python -m benchmarks.ways``: what it costs to be spoken to in other ways, beside nginx and HAProxy.

Other than over HTTP/1.1 in the clear, that is. Every server listens in all ways at once, and is asked in turns with the
others; what counts is the processor time of a request, a connection or a message, as in the other figures. The origins
are asked over HTTP/1.1 in the clear each time.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import accounting, callers, table
from benchmarks.origins import Origins
from benchmarks.programs import Program, ProgramError, find, free_ports
from benchmarks.servers import Gateway, Haproxy, Nginx, Server
from twisted_kong.selfsigned import make, utc_now

ROUNDS = 5
REQUESTS, CONNECTIONS = 6000, 16
STREAMS = 8
"""Requests at a time on each of as many connections of HTTP/2."""
HANDSHAKES = 200
SOCKETS, MESSAGES = 16, 4000
_DONE = re.compile(r"(\d+) succeeded, (\d+) failed")


@dataclass(frozen=True)
class Ports:
    """Where a server is spoken to in which way."""

    tls: int
    http2: int
    http2_over_tls: int


# -- the servers -------------------------------------------------------------------------------------------------


def listening(
    kind: type[Server], directory: Path, core: int, origins: Sequence[int], echo: int
) -> tuple[Server, Ports]:
    """A server of this kind that listens in all ways, and passes ``/echo`` on to the port ``echo``."""
    ports = Ports(*free_ports(3))
    certificate = directory.parent / "certificate.pem"

    class Listening(kind):  # type: ignore[misc, valid-type]  # a class like any other, but made here
        def _write(self, name: str, text: str) -> str:
            for said, instead in MORE[kind](self.port, ports, certificate, echo):
                changed = text.replace(said, instead)
                assert changed != text, (name, said)
                text = changed
            return str(super()._write(name, text))

        def configure(self) -> None:
            super().configure()
            if isinstance(self, Gateway):
                self._post("/services", ("name", "echo"), ("url", f"http://127.0.0.1:{echo}"))
                self._post("/services/echo/routes", ("paths[]", "/echo"))

    return Listening(directory, core, origins), ports


Replacements = list[tuple[str, str]]


def _gateway(port: int, ports: Ports, certificate: Path, echo: int) -> Replacements:
    more = f", 127.0.0.1:{ports.tls} ssl, 127.0.0.1:{ports.http2} http2, 127.0.0.1:{ports.http2_over_tls} ssl http2"
    shown = f"\nssl_cert = {certificate}\nssl_cert_key = {certificate}"
    return [(f"proxy_listen = 127.0.0.1:{port}", f"proxy_listen = 127.0.0.1:{port}{more}{shown}")]


def _nginx(port: int, ports: Ports, certificate: Path, echo: int) -> Replacements:
    listens = (
        f"listen 127.0.0.1:{port}; listen 127.0.0.1:{ports.tls} ssl; listen 127.0.0.1:{ports.http2} http2;"
        f" listen 127.0.0.1:{ports.http2_over_tls} ssl http2; ssl_certificate {certificate};"
        f" ssl_certificate_key {certificate}; ssl_protocols TLSv1.2 TLSv1.3; keepalive_requests 1000000000;"
        f" location /echo {{ proxy_pass http://127.0.0.1:{echo}; proxy_http_version 1.1;"
        ' proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; }'
    )
    return [(f"listen 127.0.0.1:{port};", listens)]


def _haproxy(port: int, ports: Ports, certificate: Path, echo: int) -> Replacements:
    binds = [
        f"    bind 127.0.0.1:{port}",
        f"    bind 127.0.0.1:{ports.tls} ssl crt {certificate}",
        f"    bind 127.0.0.1:{ports.http2} proto h2",
        f"    bind 127.0.0.1:{ports.http2_over_tls} ssl crt {certificate} alpn h2",
        "    use_backend echo if { path /echo }",
    ]
    behind = f"backend echo\n    timeout tunnel 60s\n    server echo 127.0.0.1:{echo}\nbackend origins\n"
    return [(f"    bind 127.0.0.1:{port}", "\n".join(binds)), ("\nbackend origins\n", f"\n{behind}")]


MORE: dict[type[Server], Callable[[int, Ports, Path, int], Replacements]] = {
    Gateway: _gateway,
    Nginx: _nginx,
    Haproxy: _haproxy,
}


# -- the ways ----------------------------------------------------------------------------------------------------


def h2load(port: int, *options: str, scheme: str = "http") -> int:
    """Ask for the small answer; how many times.

    :raise ProgramError: an answer was not right.
    """
    done = subprocess.run(
        [find("h2load"), f"-n{REQUESTS}", *options, f"{scheme}://127.0.0.1:{port}/small"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    counted = _DONE.search(done.stdout)
    if counted is None or int(counted[1]) != REQUESTS or int(counted[2]):
        raise ProgramError(f"not every answer was right:\n{done.stdout}{done.stderr}")
    return REQUESTS


@dataclass(frozen=True)
class Way:
    """``ask`` does something as often as it says; once may cost ``bound`` times what it costs nginx."""

    name: str
    ask: Callable[[Server, Ports], int]
    bound: float | None = None


KEPT = ("--h1", f"-c{CONNECTIONS}")
SHARED = (f"-c{STREAMS}", f"-m{STREAMS}")
WAYS = (
    Way("request over HTTP/1.1", lambda server, ports: h2load(server.port, *KEPT)),
    Way("request over HTTP/1.1 and TLS", lambda server, ports: h2load(ports.tls, *KEPT, scheme="https"), 3.0),
    Way("request over HTTP/2", lambda server, ports: h2load(ports.http2, *SHARED)),
    Way("request over HTTP/2 and TLS", lambda server, ports: h2load(ports.http2_over_tls, *SHARED, scheme="https")),
    Way("connection over TLS", lambda server, ports: callers.shake(ports.tls, HANDSHAKES, resume=False)),
    Way("connection over TLS, resumed", lambda server, ports: callers.shake(ports.tls, HANDSHAKES, resume=True)),
    Way("WebSocket message", lambda server, ports: callers.talk(server.port, "/echo", SOCKETS, MESSAGES)),
)


def cost(way: Way, server: Server, ports: Ports) -> float:
    """Microseconds of processor time.

    :raise ProgramError: something was not right.
    """
    pid = server.program.pid
    before = accounting.processor_times(pid)
    try:
        count = way.ask(server, ports)
    except (OSError, ProgramError) as error:
        raise ProgramError(f"{server.name}: {way.name}: {error}") from error
    cpu, _ = accounting.spent(before, accounting.processor_times(pid))
    return cpu / count * 1e6


Costs = dict[str, dict[str, list[float]]]
"""By way and server, one for each round."""


def measure(rounds: int, ways: Sequence[Way] = WAYS) -> Costs:
    """Start everything, ask everybody everything ``rounds`` times and once before, and end everything.

    :raise ProgramError: something is missing, or does not do what it should.
    """
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, cores[:1])
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        identity = make(utc_now())
        (directory / "certificate.pem").write_text(identity.chain + identity.key)
        origins = Origins(directory / "origins", cores[0])
        stack.callback(origins.stop)
        origins.start()
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "benchmarks.callers", str(port)]
        echo = Program("echo", command, core=cores[0], log=directory / "echo.log")
        stack.callback(echo.stop)
        echo.wait_for_port(port)
        running: list[tuple[Server, Ports]] = []
        for kind in MORE:
            server, ports = listening(kind, directory / kind.name, cores[-1], origins.ports, port)
            stack.callback(server.stop)
            server.start()
            running.append((server, ports))
        found: Costs = {way.name: {server.name: [] for server, _ in running} for way in ways}
        for turn in range(rounds + 1):
            for way in ways:
                for server, ports in running:
                    each = cost(way, server, ports)
                    if turn:  # the first one warms up
                        found[way.name][server.name].append(each)
    return found


def text(found: Costs, ways: Sequence[Way] = WAYS) -> tuple[str, bool]:
    """A Markdown table, and whether a bound is missed."""
    rows = [["a …", "gateway µs", "nginx µs", "haproxy µs", "× nginx", "× haproxy", "bound"]]
    missed = False
    for way in ways:
        costs = found[way.name]
        ratios = {
            other: [ours / theirs for ours, theirs in zip(costs["gateway"], costs[other], strict=True)]
            for other in ("nginx", "haproxy")
        }
        over = way.bound is not None and statistics.median(ratios["nginx"]) > way.bound
        missed |= over
        rows.append(
            [
                way.name + " MISSED" * over,
                *(f"{statistics.median(costs[name]):.1f}" for name in ("gateway", "nginx", "haproxy")),
                *map(table.spread_text, ratios.values()),
                "–" if way.bound is None else f"{way.bound:g}",
            ]
        )
    return table.aligned(rows), missed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when all went well, 1 when a bound is missed, 2 when something could not be measured."""
    parser: Any = argparse.ArgumentParser(prog="python -m benchmarks.ways")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    try:
        told, missed = text(measure(options.rounds))
    except ProgramError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(f"\n### TLS, HTTP/2 and WebSocket: CPU of the server\n\n{told}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
