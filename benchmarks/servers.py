"""The servers under test, each with the configuration it is compared in: one core, keep-alive on both sides.

How they are started and configured lives here; what is asked of them and what it costs does not.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.load import ROUTES, UPSTREAMS
from benchmarks.origins import KEEP_ALIVE, nginx_configuration
from benchmarks.programs import Program, ProgramError, find, free_ports

CHECKOUT = Path(__file__).resolve().parent.parent


class Server(ABC):
    """A server on ``port`` of 127.0.0.1; started and stopped once."""

    name: ClassVar[str]

    def __init__(self, directory: Path, core: int | None, origins: Sequence[int], setup: str = "") -> None:
        """Everything it writes goes below ``directory``; ``origins`` are the ports of the origins.

        ``setup`` is what else it is to do, of those that know: ``logging`` every request to a file; ``hashing``, to
        choose the origin by the header ``traceparent``; ``least``, by the connections it has; ``routes``, to have
        `ROUTES` over `UPSTREAMS`, each upstream of all the origins.
        """
        self._setup = setup
        (self.port,) = free_ports(1)
        self._directory = directory
        self._core = core
        self._origins = origins
        self._program: Program | None = None

    @property
    def program(self) -> Program:
        """The running program."""
        if self._program is None:
            raise ProgramError(f"{self.name} has not been started")
        return self._program

    def start(self) -> None:
        """Return once it accepts connections and is configured.

        :raise ProgramError: it is not installed, or does not start.
        """
        self._directory.mkdir()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
        environ["PYTHONPATH"] = str(CHECKOUT)
        log = self._directory / "log"
        self._program = Program(self.name, self.command(), core=self._core, log=log, environ=environ)
        self._program.wait_for_port(self.port)
        self.configure()

    def stop(self) -> None:
        """End it; nothing happens if it never started."""
        if self._program is not None:
            self._program.stop()

    @abstractmethod
    def command(self) -> list[str]:
        """The command that runs it in the foreground; writes the configuration the command names."""

    def configure(self) -> None:  # noqa: B027  most need none
        """Say what can only be said once it runs."""

    def _write(self, name: str, text: str) -> str:
        path = self._directory / name
        path.write_text(text)
        return str(path)


ALGORITHMS: Mapping[str, Sequence[tuple[str, str]]] = {
    "hashing": (("algorithm", "consistent-hashing"), ("hash_on", "header"), ("hash_on_header", "traceparent")),
    "least": (("algorithm", "least-connections"),),
}
"""The fields of the upstream, by setup."""


class Gateway(Server):
    """This project, configured over its Admin API."""

    name = "gateway"
    processes: ClassVar[int] = 1

    def command(self) -> list[str]:
        twistd = Path(sys.executable).with_name("twistd")
        if not twistd.exists():
            raise ProgramError(f"gateway: there is no {twistd}; run `make` first, then `make bench`")
        (self._admin,) = free_ports(1)
        settings = {
            "prefix": self._directory / "prefix",
            "proxy_listen": f"127.0.0.1:{self.port}",
            "admin_listen": f"127.0.0.1:{self._admin}",
            "proxy_access_log": self._directory / "access.log" if self._setup == "logging" else "off",
            "admin_access_log": "off",
            "log_level": "notice",
            "nginx_worker_processes": self.processes,
        }
        conf = self._write("kong.conf", "".join(f"{name} = {value}\n" for name, value in settings.items()))
        return [str(twistd), "--nodaemon", "--pidfile=", "kong-gateway", "--conf", conf]

    def configure(self) -> None:
        self.program.wait_for_port(self._admin)
        if self._setup == "routes":
            for number in range(UPSTREAMS):
                self._serve(f"upstream-{number}")
            for number in range(ROUTES):
                self._post(f"/services/upstream-{number % UPSTREAMS}/routes", ("paths[]", f"/route-{number}/"))
        else:
            self._serve("bench", *ALGORITHMS.get(self._setup, ()))
            self._post("/services/bench/routes", ("paths[]", "/"))

    def _serve(self, name: str, *fields: tuple[str, str]) -> None:
        """An upstream of all the origins, and its service."""
        self._post("/upstreams", ("name", name), *fields)
        for port in self._origins:
            self._post(f"/upstreams/{name}/targets", ("target", f"127.0.0.1:{port}"), ("weight", "100"))
        self._post("/services", ("name", name), ("host", name))

    def _post(self, path: str, *fields: tuple[str, str]) -> None:
        url = f"http://127.0.0.1:{self._admin}{path}"
        try:
            urllib.request.urlopen(url, urllib.parse.urlencode(fields).encode(), timeout=10).close()
        except urllib.error.HTTPError as error:
            answer = error.read().decode(errors="replace")
            raise self.program.failure(f"answered POST {path} {json.dumps(fields)} with {error}: {answer}") from error
        except OSError as error:
            raise self.program.failure(f"did not answer POST {path}: {error}") from error


class Nginx(Server):
    """nginx with one worker, round robin, its default buffers."""

    name = "nginx"

    def command(self) -> list[str]:
        choice = {"hashing": "hash $http_traceparent consistent;", "least": "least_conn;"}.get(self._setup, "")
        origins = " ".join(f"server 127.0.0.1:{port};" for port in self._origins)
        many = self._setup == "routes"
        names = [f"origins-{number}" for number in range(UPSTREAMS if many else 1)]
        upstreams = "\n".join(f"upstream {name} {{ {choice} {origins} keepalive 64; {KEEP_ALIVE} }}" for name in names)
        places = [("/", names[0])]
        if many:
            places = [(f"/route-{number}/", f"{names[number % UPSTREAMS]}/") for number in range(ROUTES)]
        locations = "\n".join(f"location {path} {{ proxy_pass http://{name}; }}" for path, name in places)
        log = f"access_log {self._directory}/access.log combined buffer=64k flush=1s;"
        # Without sendfile, nginx sends a body it has spooled in pieces that Nagle's algorithm holds up for 40 ms.
        http = (
            "sendfile on;\n"
            f"{upstreams}\n"
            f"server {{ listen 127.0.0.1:{self.port}; {log if self._setup == 'logging' else ''}\n"
            f'proxy_http_version 1.1; proxy_set_header Connection "";\n{locations} }}'
        )
        conf = self._write("nginx.conf", nginx_configuration(self._directory, http))
        return [find("nginx"), "-p", str(self._directory), "-c", conf]


class Haproxy(Server):
    """HAProxy with one thread, round robin, sharing its connections to the origins."""

    name = "haproxy"

    def command(self) -> list[str]:
        lines = [
            "global",
            "    nbthread 1",
            "    maxconn 2048",
            "defaults",
            "    mode http",
            "    timeout connect 5s",
            "    timeout client 300s",
            "    timeout server 300s",
            "    http-reuse always",
            "frontend clients",
            f"    bind 127.0.0.1:{self.port}",
            "    default_backend origins",
            "backend origins",
            "    balance roundrobin",
            *(f"    server origin{index} 127.0.0.1:{port}" for index, port in enumerate(self._origins)),
        ]
        conf = self._write("haproxy.cfg", "".join(f"{line}\n" for line in lines))
        return [find("haproxy"), "-db", "-f", conf]


class WebProxy(Server):
    """``twisted.web.proxy.ReverseProxyResource``, what Twisted itself offers."""

    name = "webproxy"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.twisted_web", str(self.port), *map(str, self._origins)]


class Site(Server):
    """A bare ``twisted.web`` site that answers by itself: no proxy, no origin."""

    name = "site"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.twisted_web", str(self.port)]


SERVERS: dict[str, type[Server]] = {each.name: each for each in (Gateway, Nginx, Haproxy, WebProxy, Site)}
