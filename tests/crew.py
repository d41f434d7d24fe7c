"""A gateway of several processes, origins that do as they are told, and clients that count."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0
"""Seconds after which a test has waited in vain; nothing takes that long, however busy the machine is."""


class Origin:
    """Answers ``status`` and its port; ``/slow`` waits until `go_on` is set, or the test is over."""

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0
        self.slow = 0
        """How many wait."""
        self.go_on = threading.Event()
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                origin.requests += 1
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/slow":
                    origin.slow += 1
                    origin.go_on.wait(PATIENCE)
                body = str(origin.port).encode()
                with suppress(OSError):
                    self.send_response(origin.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def handle(self) -> None:
                with suppress(OSError):
                    super().handle()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def origins(count: int) -> Iterator[list[Origin]]:
    """So many of them."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(Origin())
            stack.callback(made[-1].close)
        yield made


class Crew:
    """A gateway whose twistd process is in charge of ``workers``; every process of it is gone in the end."""

    def __init__(self, prefix: Path, workers: int = 2, **settings: str) -> None:
        self.prefix = prefix
        self.proxy, self.admin = free_ports(2)
        self.listen = ""
        """Where else than at its port clients come in."""
        self.settings = {"nginx_worker_processes": str(workers), **settings}
        self.process: subprocess.Popen[bytes]
        self._groups: list[int] = []
        self._log = prefix / "log"

    def start(self) -> None:
        """Return when it is ready."""
        listen = f"--proxy-listen={self.listen or f'127.0.0.1:{self.proxy}'}", f"--admin-listen=127.0.0.1:{self.admin}"
        twistd = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=", "kong-gateway"]
        conf = self.prefix / "kong.conf"
        given = [f"--conf={conf}"] if conf.exists() else []
        given += [f"--set={name}={value}" for name, value in self.settings.items()]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
        seen = self.log().count("ready: ")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*twistd, f"--prefix={self.prefix}", *listen, *given],
                stdout=log,
                stderr=log,
                env=environ | {"PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        self._groups.append(self.process.pid)
        self.until(lambda: self.log().count("ready: ") > seen or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()

    def kill(self) -> None:
        """End the process in charge without a warning; its workers go on."""
        self.process.kill()
        self.process.wait()

    def workers(self) -> list[int]:
        """The process ids of its workers, as it tells them."""
        found: list[int] = self.ask("GET", "/")[1]["pids"]["workers"]
        return found

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        """What the Admin API answers."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE)) as connection:
            body = None if document is None else json.dumps(document)
            connection.request(method, path, body, {} if body is None else {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] in b"[{" and text else text.decode()

    def make(self, path: str, **document: object) -> Any:
        """What the Admin API has made of this."""
        status, made = self.ask("POST", path, document)
        assert status == 201, made
        return made

    def serve(self, *targets: str, **upstream: object) -> None:
        """Let all requests go to an upstream ``u`` of these targets."""
        self.make("/upstreams", name="u", **upstream)
        for target in targets:
            self.make("/upstreams/u/targets", target=target)
        self.make("/services", name="s", host="u", retries=0)
        self.make("/services/s/routes", name="r", paths=["/"])

    def client(self) -> http.client.HTTPConnection:
        """A connection to the proxy, made at once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy, timeout=PATIENCE)
        connection.connect()
        return connection

    def get(self, path: str = "/") -> int:
        """The status of an answer, over a connection of its own."""
        with closing(self.client()) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        total = 0.0
        for line in self.ask("GET", "/metrics")[1].splitlines():
            found = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name and all(f'{key}="{value}"' in found[2] for key, value in labels.items()):
                total += float(found[3])
        return total

    def until(self, there: Callable[[], object]) -> None:
        """Wait until ``there()``: processes tell nobody how far they are."""
        end = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def connections_of(self, pid: int) -> int:
        """How many connections of clients a process has."""
        found = {*established(self.proxy).values()}
        return sum(inode in found for inode in inodes(pid))

    def owner(self, client: http.client.HTTPConnection) -> int:
        """The worker that has this connection."""
        port = client.sock.getsockname()[1]
        while True:
            inode = established(self.proxy)[port]
            for pid in self.workers():
                if inode in inodes(pid):
                    return pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Nothing is left of it."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        with suppress(AttributeError):
            self.process.wait(PATIENCE)


@contextmanager
def crew(prefix: Path, workers: int = 2, **settings: str) -> Iterator[Crew]:
    """One that is at work."""
    made = Crew(prefix, workers, **settings)
    try:
        made.start()
        yield made
    finally:
        made.close()


class Asking:
    """Clients that ask all the time, one in each thread; a subclass says how. ``failures`` is what they complain of."""

    def __init__(self, clients: int) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        """Ask until `_stop` is set."""
        raise NotImplementedError


class Load(Asking):
    """Clients that ask all the time, each over a connection that it keeps, or with ``fresh`` over a new one each time.

    A kept connection that ends while nothing was answered on it yet, after it has answered before, is what HTTP/1.1
    lets happen at any time: that request is asked again. Everything else that is no 200 is a failure.
    """

    def __init__(self, crew: Crew, clients: int = 4, *, fresh: bool = False) -> None:
        super().__init__(clients)
        self._crew = crew
        self._fresh = fresh

    def more(self, count: int = 20) -> None:
        """Wait until so many more were answered."""
        before = self.answers
        self._crew.until(lambda: self.answers >= before + count)

    def _ask(self) -> None:
        connection, used = None, False
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection, used = self._crew.client(), False
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
            except Exception as error:
                if not used or not isinstance(error, (ConnectionError, http.client.RemoteDisconnected)):
                    self.failures.append(repr(error))
                if connection is not None:
                    connection.close()
                connection = None
                continue
            used = True
            self.answers += 1
            if answer.status != 200:
                self.failures.append(str(answer.status))
            if self._fresh or answer.getheader("Connection") == "close":
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 on which nobody listens at the moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def alive(pid: int) -> bool:
    """Whether a process is there, and not just its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def inodes(pid: int) -> Iterator[int]:
    """Those of the sockets that a process has open."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(file))
            if found:
                yield int(found[1])


def established(port: int) -> dict[int, int]:
    """By the port of the client, the inodes of the sockets of connections that were made to ``port``."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    here = [row for row in rows if row[3] == "01" and int(row[1].split(":")[1], 16) == port]
    return {int(row[2].split(":")[1], 16): int(row[9]) for row in here}
