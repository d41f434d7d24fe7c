"""A gateway without a database, whose declarative file is replaced while it runs, as people do.

What is in the file and how it gets into force lives here; what that costs does not.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.servers import Gateway
from twisted_kong.store.declarative import digest

UPSTREAMS, TARGETS = 500, 10  # of each upstream
KEPT = 1  # seconds that an idle connection to the origin is kept
LATEST = 20.0  # seconds until a document is in force


class SetGateway(Gateway):
    """The gateway with more ``settings`` than it is compared in."""

    def __init__(self, directory: Path, origins: Sequence[int], settings: Mapping[str, object]) -> None:
        super().__init__(directory, max(os.sched_getaffinity(0)), origins)
        self._settings = settings

    def _write(self, name: str, text: str) -> str:
        return super()._write(name, text + "".join(f"{name} = {value}\n" for name, value in self._settings.items()))


class ReloadedGateway(SetGateway):
    """The gateway without a database: the configuration is a file, which may be replaced while it runs."""

    def __init__(self, directory: Path, document: str) -> None:
        self._file = directory.with_suffix(".json")
        self._file.write_text(document)
        settings = {"database": "off", "declarative_config": self._file, "upstream_keepalive_idle_timeout": KEPT}
        super().__init__(directory, (), settings)

    def configure(self) -> None:
        self.program.wait_for_port(self._admin)

    def reload(self, document: str) -> None:
        """Return once this document is in force.

        :raise ProgramError: it is not.
        """
        self._file.write_text(document)
        os.kill(self.program.pid, signal.SIGHUP)
        wanted, deadline = digest(document), time.monotonic() + LATEST
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if self._hash() == wanted:
                return
        raise self.program.failure(f"has not put a document in force within {LATEST:g} s")

    def _hash(self) -> object:
        with closing(HTTPConnection("127.0.0.1", self._admin, timeout=LATEST)) as connection:
            connection.request("GET", "/status")
            return json.load(connection.getresponse()).get("configuration_hash")


def document(turn: int, port: int) -> str:
    """The declarative file of a turn; that of the turn before has nothing that is the same, but paths and names.

    Of each upstream one target has moved to an address that nobody had before. One upstream in fifty is a new one, with
    a new name, that takes the place of another. Services and routes keep their names: what is counted of them is
    kept for as long as the gateway runs.
    """
    upstreams, services = [], []
    for number in range(UPSTREAMS):
        name = f"upstream-{number}-{(turn + number) // 50}"
        targets = []
        for place in range(TARGETS):
            moved = (turn + TARGETS - 1 - place) // TARGETS  # so often
            address = f"127.{1 + moved}.{number // 250 * TARGETS + place}.{1 + number % 250}:{port}"
            targets.append({"target": address, "weight": 1 + (turn + place) % 100})
        upstreams.append({"name": name, "targets": targets})
        route = {"name": f"route-{number}", "paths": [f"/{number}/"], "tags": [f"turn-{turn}"]}
        service = {"name": f"service-{number}", "host": name, "read_timeout": 60_000 + turn, "routes": [route]}
        services.append(service)
    return json.dumps({"_format_version": "3.0", "upstreams": upstreams, "services": services})
