"""``make run``: a gateway in front of three origins of its own, for trying things out.

    .venv/bin/python etc/demo.py --help

The origins run in a child process, which then configures the gateway through its Admin API and says what to try; this
process itself becomes ``twistd``. So Ctrl-C and SIGTERM are the gateway's, and a pipe whose other end only the gateway
holds tells the child when it is gone, whatever it died of.

Every start brings the upstream `user-service`, the service `user-api` and the route `users` back to what they are
here. Whatever else was configured stays; it is in the database below the prefix.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

LOCALHOST = "127.0.0.1"
PATIENCE = 30.0
"""Seconds the gateway has to start."""


def main(arguments: Sequence[str]) -> None:
    """Start everything; comes back only by `SystemExit`."""
    options = parser().parse_args(arguments)
    twistd = Path(sys.executable).with_name("twistd")
    if not twistd.exists():
        sys.exit(f"demo: there is no {twistd}: start it with `make run`")
    for port in (options.proxy_port, options.admin_port):
        origin_on(port).server_close()  # or else whoever has it would be configured in the gateway's place
    origins = [origin_on(port) for port in options.origin_ports]
    ours, gateways = os.pipe()
    gateway = os.getpid()
    if not os.fork():
        os.close(gateways)
        accompany(Gateway(gateway, ours), origins, options)
    os.set_inheritable(gateways, True)
    become_gateway(twistd, options)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="demo.py", description="A gateway in front of three demo origins.")
    parser.add_argument("--prefix", default=".run", metavar="DIRECTORY", help="where the gateway keeps its database")
    parser.add_argument("--proxy-port", type=int, default=8000, metavar="PORT")
    parser.add_argument("--admin-port", type=int, default=8001, metavar="PORT")
    parser.add_argument("--origin-ports", type=int, nargs="+", default=[9001, 9002, 9003], metavar="PORT")
    return parser


def become_gateway(twistd: Path, options: argparse.Namespace) -> None:
    """Go on as ``twistd kong-gateway``."""
    Path(options.prefix).mkdir(parents=True, exist_ok=True)
    command = [str(twistd), "--nodaemon", "--pidfile=", f"--logfile={options.prefix}/gateway.log", "kong-gateway"]
    command += ["--prefix", options.prefix, "--database", "sqlite"]
    command += ["--proxy-listen", f"{LOCALHOST}:{options.proxy_port}"]
    command += ["--admin-listen", f"{LOCALHOST}:{options.admin_port}"]
    os.execv(twistd, command)


class Origin(ThreadingTCPServer):
    """One origin, listening."""

    allow_reuse_address = True
    daemon_threads = True


def origin_on(port: int) -> Origin:
    """An origin on ``port``; ends the process with one line where somebody else has it."""
    try:
        return Origin((LOCALHOST, port), Request)
    except OSError as error:
        sys.exit(f"demo: cannot listen on {LOCALHOST}:{port}: {error.strerror}")


class Request(BaseHTTPRequestHandler):
    """Answers who is asked and what was asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def answer(self) -> None:
        """200 whatever the request was, ``/health`` included."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host, port = self.connection.getsockname()
        body = json.dumps({"target": f"{host}:{port}", "path": self.path}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:
        """Nobody asked."""


class Gateway:
    """The gateway's process, seen from the child: its id, and the pipe that it holds open while it lives."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid = pid
        self._pipe = pipe

    def gone(self, seconds: float | None) -> bool:
        """Whether the gateway ends within so many seconds; None waits for its end."""
        return bool(select.select([self._pipe], [], [], seconds)[0])

    def stop(self) -> None:
        """End it."""
        if not self.gone(0):
            os.kill(self._pid, signal.SIGTERM)


def accompany(gateway: Gateway, origins: Sequence[Origin], options: argparse.Namespace) -> None:
    """The child: serve the origins and configure the gateway, then last as long as it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the gateway
    for origin in origins:
        threading.Thread(target=origin.serve_forever, daemon=True).start()
    try:
        if started(gateway, options.admin_port):
            configure(options.admin_port, [f"{LOCALHOST}:{port}" for port in options.origin_ports])
            print(what_to_try(options), flush=True)
    except (DemoError, OSError, http.client.HTTPException) as error:
        print(f"demo: {error}", file=sys.stderr, flush=True)
        gateway.stop()
    gateway.gone(None)
    os._exit(0)  # not through the origins' threads, which may be in the middle of something


class DemoError(Exception):
    """The gateway does not do what it should; the message is for a person."""


def started(gateway: Gateway, port: int) -> bool:
    """Wait for the Admin API; False where the gateway ended instead, which has told why by then.

    :raise DemoError: it takes too long.
    """
    for _ in range(int(PATIENCE / 0.05)):
        if gateway.gone(0.05):
            return False
        try:
            call(port, "GET", "/status")
        except OSError:
            continue
        return True
    raise DemoError(f"the gateway did not start within {PATIENCE:g} seconds")


def configure(port: int, targets: Sequence[str]) -> None:
    """Make the demo's entities what they are at every start; ``port`` is the Admin API's."""
    call(port, "PUT", "/upstreams/user-service", algorithm="round-robin")
    for target in call(port, "GET", "/upstreams/user-service/targets?size=1000")["data"]:
        if target["target"] not in targets:
            call(port, "DELETE", f"/upstreams/user-service/targets/{target['id']}")
    for name in targets:
        call(port, "POST", "/upstreams/user-service/targets", target=name, weight=100)
    call(port, "PUT", "/services/user-api", host="user-service", connect_timeout=1000)
    call(port, "PUT", "/services/user-api/routes/users", paths=["/api/users"], strip_path=False)


def call(port: int, method: str, path: str, **fields: object) -> Any:
    """One call of the Admin API; the document it answers, None where it answers none.

    :raise OSError: nobody listens.
    :raise DemoError: it refuses.
    """
    connection = http.client.HTTPConnection(LOCALHOST, port, timeout=10)
    try:
        connection.request(method, path, json.dumps(fields) if fields else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status >= 400:
        raise DemoError(f"{method} {path} was answered {answer.status}: {body.decode()}")
    return json.loads(body) if body else None


def what_to_try(options: argparse.Namespace) -> str:
    """What is printed once everything runs."""
    proxy = f"localhost:{options.proxy_port}"
    targets = f"localhost:{options.admin_port}/upstreams/user-service/targets"
    return f"""\
A gateway listens on {proxy}, its Admin API on localhost:{options.admin_port}.
Its log is {options.prefix}/gateway.log. Try, in another terminal:

    curl {proxy}/api/users
    curl {targets}
    curl -X PATCH {targets}/{LOCALHOST}:{options.origin_ports[0]} --data weight=0

README.md goes on from here. Ctrl-C stops everything."""


if __name__ == "__main__":
    main(sys.argv[1:])
