"""A whole gateway in a process of its own, as its clients meet it, and a connection to its Admin API."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class RunningGateway:
    """A gateway on ports that nobody had; keeps what it knows below ``prefix``.

    ``flags`` are those of its listener for the proxy, ``settings`` are given as options.
    """

    def __init__(self, prefix: Path, flags: str = "", settings: Mapping[str, str] | None = None) -> None:
        self.prefix = prefix
        self._flags = flags
        self._settings = [f"--set={name}={value}" for name, value in (settings or {}).items()]
        self.proxy_port, self.admin_port = free_ports(2)
        self._log = prefix / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        """The file its store writes."""
        return self.prefix / "kong.sqlite"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """Where its Admin API is."""
        return f"http://127.0.0.1:{self.admin_port}"

    def start(self) -> None:
        """Return once its Admin API answers."""
        proxy = f"127.0.0.1:{self.proxy_port} {self._flags}".strip()
        listen = f"--proxy-listen={proxy}", f"--admin-listen=127.0.0.1:{self.admin_port}"
        twistd = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile="]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*twistd, "kong-gateway", f"--prefix={self.prefix}", *listen, *self._settings],
                stdout=log,
                stderr=log,
                env=environ | {"PYTHONPATH": str(ROOT)},
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), self.admin() as admin:
                admin.ask("GET", "/status")
                return
            time.sleep(0.02)  # nothing tells that a process listens by now
        raise AssertionError(f"the gateway did not start:\n{self.printed()}")

    def stop(self) -> None:
        """End it and wait until it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def kill(self) -> None:
        """End it without letting it do anything more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    def printed(self) -> str:
        """What it has written to its log."""
        return self._log.read_text(errors="replace")

    @contextmanager
    def admin(self) -> Iterator[Admin]:
        """A connection to its Admin API, kept alive."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)) as connection:
            yield Admin(connection)


class Answer(NamedTuple):
    status: int
    document: Any
    """None where there is none."""


class Admin:
    """Asks over one connection, one thing after the other."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def ask(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Answer:
        """Whatever is answered."""
        body = None if document is None else json.dumps(document)
        self._connection.request(method, path, body, {} if body is None else {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        return Answer(answer.status, json.loads(text) if text else None)

    def everything(self, path: str) -> list[dict[str, Any]]:
        """All rows of a list, as a client reads them that follows ``offset``."""
        rows: list[dict[str, Any]] = []
        offset = ""
        while True:
            status, page = self.ask("GET", f"{path}?size=1000{offset}")
            assert status == 200, (path, page)
            rows += page["data"]
            if "offset" not in page:
                return rows
            offset = f"&offset={page['offset']}"


@contextmanager
def running(flags: str = "", settings: Mapping[str, str] | None = None) -> Iterator[RunningGateway]:
    """A gateway with nothing in it, gone with all it kept in the end; as `RunningGateway`."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as directory:
        gateway = RunningGateway(Path(directory), flags, settings)
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.stop()


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 on which nobody listens at the moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
