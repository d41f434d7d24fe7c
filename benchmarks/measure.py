"""What is measured: the cost of one workload, and the memory of idle connections.

A measurement is complete or says what failed; how measurements are arranged and shown is decided elsewhere.
"""

from __future__ import annotations

import http.client
import select
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass

from benchmarks import accounting, load
from benchmarks.load import HEADERS, Report, Workload

SETTLE = 0.2  # seconds between the last answer and reading the memory: time to let go of buffers


@dataclass(frozen=True)
class Sample:
    """One server under one workload, once.

    In ``wall`` seconds of the clock it used ``cpu`` seconds of processor, and ``waited`` for other programs to
    leave the core to it.
    """

    report: Report
    cpu: float
    waited: float
    wall: float

    @property
    def cost(self) -> float:
        """Microseconds of processor time a request."""
        return self.cpu / self.report.requests * 1e6 if self.report.requests else float("nan")


@dataclass(frozen=True)
class Memory:
    """Resident bytes before and with ``open`` of ``wanted`` connections open and idle, each after one answer."""

    before: int
    after: int
    open: int
    wanted: int

    @property
    def failed(self) -> bool:
        """Whether some were kept open and others not; a server that keeps none has just never heard of it."""
        return 0 < self.open < self.wanted

    @property
    def per_connection(self) -> float:
        """Bytes the server grew by for each connection."""
        return (self.after - self.before) / self.wanted


def sample(workload: Workload, pid: int, port: int, *, seconds: int, number: int) -> Sample:
    """Load the server ``pid`` on ``port`` for ``seconds``; ``number`` must differ between the samples of a run."""
    started, before = time.monotonic(), accounting.processor_times(pid)
    report = load.run(workload, port, seconds=seconds, number=number)
    after, ended = accounting.processor_times(pid), time.monotonic()
    cpu, waited = accounting.spent(before, after)
    return Sample(report, cpu, waited, ended - started)


def check(workload: Workload, port: int) -> str | None:
    """Ask once and look closely: what is wrong with the answer, or None."""
    try:
        with _connection(port) as connection:
            status, body = _ask(connection, workload)
    except (OSError, http.client.HTTPException) as error:
        return f"{workload.method} {workload.path}: {error!r}"
    if status != 200 or body != b"a" * workload.answer:
        wanted, got = f"200 and {workload.answer} times 'a'", f"{status} and {len(body)} bytes: {body[:80]!r}"
        return f"{workload.method} {workload.path}: expected {wanted}, got {got}"
    return None


def idle_connections(workload: Workload, pid: int, port: int, *, wanted: int) -> Memory:
    """The memory of ``wanted`` connections that idle after an answer each, over that after as many requests on one."""
    with ExitStack() as stack:
        first = stack.enter_context(_connection(port))
        for _ in range(wanted):
            _ask(first, workload)
        time.sleep(SETTLE)
        before = accounting.resident(pid)
        connections = [stack.enter_context(_connection(port)) for _ in range(wanted)]
        for connection in connections:
            _ask(connection, workload)
        time.sleep(SETTLE)
        return Memory(before, accounting.resident(pid), sum(map(_is_open, connections)), wanted)


def _connection(port: int) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10))


def _ask(connection: http.client.HTTPConnection, workload: Workload) -> tuple[int, bytes]:
    connection.request(workload.method, workload.example, b"x" * workload.body or None, HEADERS)
    answer = connection.getresponse()
    return answer.status, answer.read()


def _is_open(connection: http.client.HTTPConnection) -> bool:
    """Whether neither side has closed; a socket that can be read has met the end of its stream."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)
