"""What it costs to probe many peers: processor time of a monitor at work, beside nothing else.

``python -m benchmarks.probes`` runs an origin in a process of its own and a monitor in this one, which probes every
peer (addresses of 127.0.0.0/8, so that each is another peer) once in the interval, and tells the share of a core
that this took.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import time
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from twisted.internet import epollreactor
from twisted.internet.protocol import Factory, Protocol

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.health.checkers.http import HttpCheckerFactory
from twisted_kong.model.entities import Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.judge import Judge
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.peers import Peer, Peers

PEERS = 5000
INTERVAL = 5.0
SECONDS = 10.0
BUDGET = 0.25
"""Share of a core that `PEERS` each `INTERVAL` seconds may take."""


@dataclass(frozen=True)
class Cost:
    """``probes`` were sent in ``wall`` seconds, for ``cpu`` seconds of processor time; so many went ``well``."""

    probes: int
    well: int
    wall: float
    cpu: float

    @property
    def share(self) -> float:
        """Of one core."""
        return self.cpu / self.wall

    @property
    def missed(self) -> bool:
        """Whether it took more than it may, or not everybody was well."""
        return self.share > BUDGET or self.well < self.probes

    def text(self) -> str:
        """One line."""
        return (
            f"{PEERS:,} peers each {INTERVAL:.0f} s: {self.probes / self.wall:,.0f} probes a second, "
            f"{self.well / max(self.probes, 1):.0%} went well, {self.each:.0f} µs of processor time each, "
            f"{self.share:.1%} of a core{', MISSED' if self.missed else ''}"
        )

    @property
    def each(self) -> float:
        """Microseconds of processor time for one probe."""
        return self.cpu / max(self.probes, 1) * 1e6


class _Well(Protocol):
    """Answers anything with a 200, and hangs up."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.loseConnection()


def _serve(listening: socket.socket) -> None:
    reactor = epollreactor.EPollReactor()
    factory = Factory.forProtocol(_Well)
    factory.noisy = False
    reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, factory)
    reactor.run()


def measure(peers: int = PEERS, interval: float = INTERVAL, seconds: float = SECONDS) -> Cost:
    """Probe ``peers`` peers each ``interval`` seconds, for so many ``seconds`` once all have had their turn."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("0.0.0.0", 0))  # for all of 127.0.0.0/8
        listening.listen(4096)
        listening.setblocking(False)
        origin = multiprocessing.get_context("fork").Process(target=_serve, args=(listening,), daemon=True)
        origin.start()
        port = listening.getsockname()[1]
    try:
        return _measure(peers, interval, seconds, port)
    finally:
        origin.terminate()
        origin.join()


def _measure(peers: int, interval: float, seconds: float, port: int) -> Cost:
    reactor: Any = epollreactor.EPollReactor()
    active = {"healthy": {"interval": interval}, "unhealthy": {"interval": interval}, "concurrency": 100}
    upstream = Schema().build(Upstream, {"name": "u", "healthchecks": {"active": active}}, now=1.0)
    monitor = Monitor(reactor, Random(1), {"http": HttpCheckerFactory()}, cast(Any, None), cast(Any, None))
    known = Peers()
    members = [known.get("u", f"127.1.{one // 250}.{one % 250 + 1}", port, 1) for one in range(peers)]
    judge = Judge(upstream, known, monitor, reactor)
    judge.update(upstream, Balancer("u", RoundRobinFactory().build(upstream)), members)
    well = 0

    def count(peer: Peer, outcome: Outcome) -> None:
        nonlocal well
        well += outcome.status == 200
        learn(peer, outcome)

    (probing,) = monitor.probings
    learn, probing.report = probing.report, count
    found: list[Cost] = []

    def begin() -> None:
        before = monitor.sent, well, time.monotonic(), time.process_time()
        reactor.callLater(seconds, end, before)

    def end(before: tuple[int, int, float, float]) -> None:
        now = monitor.sent, well, time.monotonic(), time.process_time()
        found.append(Cost(*(cast(Any, after - earlier) for after, earlier in zip(now, before, strict=True))))
        monitor.close()
        reactor.stop()

    reactor.callLater(interval * 1.6, begin)
    reactor.run(installSignalHandlers=False)
    return found[0]


def main() -> int:
    """Measure and tell; 1 where it took more than it may."""
    cost = measure()
    print(cost.text())
    return int(cost.missed)


if __name__ == "__main__":
    sys.exit(main())
