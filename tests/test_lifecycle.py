"""How a gateway starts and stops before those who watch it: a supervisor, a load balancer, clients in the middle."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from crew import Asking

ROOT = Path(__file__).parents[1]
TWISTD = str(Path(sys.executable).with_name("twistd"))
RESTARTS = 5
RELOADS = 20
CLIENTS = 4
CLEAN = (0, -signal.SIGTERM)
"""What a process ends with that stopped when it was told to: twistd lets SIGTERM end it once all is done."""


class Origin(BaseHTTPRequestHandler):
    """Answers at once, but ``/slow`` only when the test lets it."""

    protocol_version = "HTTP/1.1"
    go_on = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.go_on.wait(20)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[int]:
    """The port of an origin."""
    Origin.go_on = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    Origin.go_on.set()
    server.shutdown()
    server.server_close()


class Supervised:
    """A gateway, started again and again on listening sockets that somebody else holds, as systemd does.

    ``heard`` waits for a word that the gateway tells its supervisor.
    """

    def __init__(self, directory: Path, origin: int, **settings: str) -> None:
        self._directory = directory
        document = {
            "_format_version": "3.0",
            "services": [{"name": "s", "url": f"http://127.0.0.1:{origin}", "routes": [{"paths": ["/"]}]}],
        }
        (directory / "kong.yml").write_text(json.dumps(document))
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(directory / "notify"))
        self._notify.settimeout(20)
        self._sockets = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2)]
        self.proxy, self.status = (each.getsockname()[1] for each in self._sockets)
        self._settings = settings
        self.process: subprocess.Popen[bytes]
        self._groups: list[int] = []

    def start(self) -> None:
        """Hand over the sockets as systemd does: descriptors from 3 on, their names, and the id of the process."""
        names = ("proxy", "status")
        given = {
            "KONG_PREFIX": str(self._directory / "run"),
            "KONG_DATABASE": "off",
            "KONG_DECLARATIVE_CONFIG": str(self._directory / "kong.yml"),
            "KONG_PROXY_LISTEN": "systemd:domain=INET:name=proxy",
            "KONG_STATUS_LISTEN": "systemd:domain=INET:name=status",
            "KONG_ADMIN_LISTEN": "off",
            "KONG_PROXY_ACCESS_LOG": "off",
            "NOTIFY_SOCKET": str(self._directory / "notify"),
            "WATCHDOG_USEC": "1000000",
            "LISTEN_FDS": str(len(names)),
            "LISTEN_FDNAMES": ":".join(names),
            "PYTHONPATH": str(ROOT),
            **self._settings,
        }
        files = " ".join(f"{at}<&{each.fileno() + 100}" for at, each in enumerate(self._sockets, 3))
        for each in self._sockets:
            os.dup2(each.fileno(), each.fileno() + 100)
        shell = f"exec {files}; LISTEN_PID=$$ exec {TWISTD} --nodaemon --pidfile= kong-gateway"
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", shell],
                env=os.environ | given,
                pass_fds=[each.fileno() + 100 for each in self._sockets],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._groups.append(self.process.pid)
        for each in self._sockets:
            os.close(each.fileno() + 100)

    def heard(self, word: str) -> list[str]:
        """The next datagram with ``word``."""
        while True:
            try:
                words = self._notify.recv(4096).decode().split("\n")
            except TimeoutError:
                raise AssertionError(f"{word} was not told:\n{(self._directory / 'log').read_text()}") from None
            if word in words:
                return words

    def ask(self, port: int, path: str = "/") -> int:
        """The status of an answer, over a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def left(self) -> list[int]:
        """The starts of which some process is left."""
        return [group for group in self._groups if there_is(group)]

    def close(self) -> None:
        """Nothing is left of it, and nothing had to be killed for that."""
        for each in (self._notify, *self._sockets):
            each.close()
        try:
            with suppress(AttributeError):
                self.stop()
        finally:
            left = self.left()
            for group in left:
                os.killpg(group, signal.SIGKILL)
        assert not left, (self._directory / "log").read_text()


def there_is(group: int) -> bool:
    """Whether there is a process of this group that has not ended; who should ask how orphans did may be slow."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    if not sys.platform.startswith("linux"):
        return True
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of, *_ = file.read_text().rpartition(")")[2].split()
            if int(of) == group and state != "Z":
                return True
    return False


@pytest.fixture
def supervised(tmp_path: Path, origin: int) -> Iterator[Callable[..., Supervised]]:
    """Makes gateways that are gone after the test."""
    made: list[Supervised] = []

    def make(**settings: str) -> Supervised:
        made.append(Supervised(tmp_path, origin, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


class Load(Asking):
    """Clients that ask all the time, over connections that they keep, and never ask the same thing twice."""

    def __init__(self, port: int) -> None:
        super().__init__(CLIENTS)
        self._port = port

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                # a kept connection may be closed at any moment it is idle: what was sent on it is asked again
                if not getattr(connection, "used", False):
                    self.failures.append(repr(error))
                connection.close()
                connection.used = False  # type: ignore[attr-defined]  # ours
                continue
            except Exception as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            connection.used = answer.getheader("Connection") != "close"  # type: ignore[attr-defined]  # ours
            self.answers += 1
            if answer.status != 200:
                self.failures.append(str(answer.status))
        connection.close()


def test_supervisor_is_told(supervised: Callable[..., Supervised]) -> None:
    """READY once requests are served, WATCHDOG all along, RELOADING and READY at SIGHUP, STOPPING at the end."""
    gateway = supervised()
    gateway.start()
    gateway.heard("READY=1")
    assert gateway.ask(gateway.proxy) == 200
    gateway.heard("WATCHDOG=1")
    gateway.process.send_signal(signal.SIGHUP)
    assert gateway.heard("RELOADING=1")[1].startswith("MONOTONIC_USEC=")
    gateway.heard("READY=1")
    gateway.process.send_signal(signal.SIGTERM)
    gateway.heard("STOPPING=1")
    assert gateway.process.wait(30) in CLEAN


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_readiness_flips_first(supervised: Callable[..., Supervised], number: signal.Signals, workers: str) -> None:
    """While it drains the gateway tells so, serves whoever still comes, and finishes what it has begun."""
    gateway = supervised(KONG_DRAIN_DELAY="1.5", KONG_NGINX_WORKER_PROCESSES=workers)
    gateway.start()
    gateway.heard("READY=1")
    assert gateway.ask(gateway.status, "/status/ready") == 200
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.proxy, timeout=20)) as slow:
        slow.request("GET", "/slow")
        gateway.process.send_signal(number)
        gateway.heard("STOPPING=1")
        assert gateway.ask(gateway.status, "/status/ready") == 503
        assert gateway.ask(gateway.proxy) == 200
        Origin.go_on.set()
        answer = slow.getresponse()
        assert (answer.status, answer.read()) == (200, b"ok")
    assert gateway.process.wait(30) in CLEAN


@pytest.mark.parametrize("workers", ["1", "2"])
def test_restarts_refuse_nobody(supervised: Callable[..., Supervised], workers: str) -> None:
    """With sockets that outlive it, restarts under load are seen by no client: who connects meanwhile waits."""
    gateway = supervised(KONG_NGINX_WORKER_PROCESSES=workers)
    gateway.start()
    gateway.heard("READY=1")
    with Load(gateway.proxy) as load:
        for _ in range(RESTARTS):
            before = load.answers
            assert gateway.stop() in CLEAN
            gateway.start()
            gateway.heard("READY=1")
            wait_until(lambda before=before: load.answers > before + CLIENTS)  # type: ignore[misc]
    assert load.failures == []


@pytest.mark.parametrize("kept", [True, False])
def test_orphans_end(supervised: Callable[..., Supervised], tmp_path: Path, kept: bool) -> None:
    """SIGTERM ends workers at sockets of the supervisor's whose gateway was killed, with or without its files."""
    gateway = supervised(KONG_NGINX_WORKER_PROCESSES="2")
    gateway.start()
    gateway.heard("READY=1")
    gateway.process.kill()
    gateway.process.wait(30)
    assert gateway.ask(gateway.proxy) == 200
    if not kept:
        shutil.rmtree(tmp_path / "run")
    os.killpg(gateway.process.pid, signal.SIGTERM)
    wait_until(lambda: not gateway.left())


def test_reload_in_vain(supervised: Callable[..., Supervised], tmp_path: Path) -> None:
    """Where the configuration cannot be read anew, for whatever reason, the gateway is READY again all the same."""
    gateway = supervised(KONG_DATABASE="sqlite", KONG_DECLARATIVE_CONFIG="")
    gateway.start()
    gateway.heard("READY=1")
    with closing(sqlite3.connect(tmp_path / "run" / "kong.sqlite", isolation_level=None)) as database:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (table,) in database.execute(tables).fetchall():
            database.execute(f"ALTER TABLE {table} RENAME TO lost_{table}")
    gateway.process.send_signal(signal.SIGHUP)
    gateway.heard("RELOADING=1")
    gateway.heard("READY=1")
    assert gateway.ask(gateway.status, "/status/ready") == 200
    assert "Traceback" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_reloads_disturb_nobody(supervised: Callable[..., Supervised], workers: str) -> None:
    """Reading the configuration anew, again and again under load, fails no request."""
    gateway = supervised(KONG_NGINX_WORKER_PROCESSES=workers)
    gateway.start()
    gateway.heard("READY=1")
    with Load(gateway.proxy) as load:
        for _ in range(RELOADS):
            before = load.answers
            gateway.process.send_signal(signal.SIGHUP)
            gateway.heard("RELOADING=1")
            gateway.heard("READY=1")
            wait_until(lambda before=before: load.answers > before)  # type: ignore[misc]
    assert load.failures == []


def wait_until(there: Callable[[], bool]) -> None:
    """Until ``there()``; the clients are threads that tell nobody."""
    end = time.monotonic() + 20
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)
