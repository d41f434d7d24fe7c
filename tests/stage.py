"""A gateway in a process of its own, in front of origins that tell who they are: what components are tried out on."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

ROOT = Path(__file__).parents[1]


class Origin:
    """Answers the port it listens on; at ``/health`` it answers ``page``."""

    def __init__(self) -> None:
        self.page = b'{"status": "UP"}'
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = origin.page if self.path == "/health" else str(origin.port).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def origins(count: int) -> Iterator[list[Origin]]:
    """So many of them."""
    made = [Origin() for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            each.close()


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class StagedGateway:
    """A gateway that ``python`` runs in ``where``, which is its prefix, on ports that nobody had."""

    def __init__(self, where: Path, *arguments: str, python: str | Path = sys.executable) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("KONG_", "PYTHONPATH"))}
        start = "from twisted.scripts.twistd import run; run()"
        listen = ("--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--prefix", str(where))
        self._process = subprocess.Popen(
            [python, "-c", start, "--nodaemon", "--pidfile=", "kong-gateway", *listen, *arguments],
            cwd=where,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = ""
        self.proxy_port, self.admin_port = self._ports()

    def _ports(self) -> tuple[int, int]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line
            found = dict(re.findall(r"(ProxyListener|AdminSite) starting on (\d+)", self.printed))
            if len(found) == 2:
                return int(found["ProxyListener"]), int(found["AdminSite"])
        pytest.fail(f"ended with {self._process.wait()}: {self.printed}")

    def stop(self) -> str:
        """End it; everything that it printed."""
        if self._process.poll() is None:
            self._process.terminate()
        self.printed += self._process.communicate(timeout=30)[0]
        return self.printed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what clients do ---------------------------------------------------------------------------------------

    def admin(self, method: str, path: str, **document: Any) -> Any:
        """What the Admin API answers, which must be a success."""
        answer = _ask(self.admin_port, method, path, json.dumps(document) if document else None)
        assert answer.status < 300, answer
        return answer.json if answer.body else None

    def put_upstream(self, name: str, targets: dict[str, int], **fields: Any) -> None:
        """An upstream with weighted targets, behind a service and a route ``/NAME``."""
        self.admin("POST", "/upstreams", name=name, **fields)
        for target, weight in targets.items():
            self.admin("POST", f"/upstreams/{name}/targets", target=target, weight=weight)
        self.admin("POST", "/services", name=name, host=name)
        self.admin("POST", f"/services/{name}/routes", paths=[f"/{name}"])

    def get(self, path: str) -> Answer:
        """What the proxy answers."""
        return _ask(self.proxy_port, "GET", path)

    def shares(self, path: str, count: int) -> Counter[int]:
        """How many of so many requests which origin has answered, by their ports."""
        found: Counter[int] = Counter()
        for _ in range(count):
            answer = self.get(path)
            assert answer.status == 200, answer
            found[int(answer.body)] += 1
        return found


def _ask(port: int, method: str, path: str, body: str | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    finally:
        connection.close()
