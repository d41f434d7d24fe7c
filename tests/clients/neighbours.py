"""nginx and HAProxy next to a gateway, in front of it or behind it.

In front they give every request an id of their own, and tell in each answer for which they take it. Both keep their
connections, to clients and to whoever is behind them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from running_gateway import free_ports

from benchmarks.origins import nginx_configuration

SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
PACKAGES = {"nginx": "nginx=nginx-light", "haproxy": "haproxy"}
NAMES = tuple(PACKAGES)

NGINX = """
client_max_body_size 1m;
upstream behind {{ server 127.0.0.1:{behind}; keepalive 8; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://behind;
        proxy_http_version 1.1;
        proxy_next_upstream off;
        proxy_read_timeout 3s;
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_set_header X-Neighbour $request_id;
        add_header X-Asked $request_id always;
    }}
}}
"""
HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 3s
    timeout client 10s
    timeout server 3s
    retries 0
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    http-request set-var(txn.id) uuid()
    http-request set-header X-Neighbour %[var(txn.id)]
    http-response set-header X-Asked %[var(txn.id)]
    default_backend behind
backend behind
    server one 127.0.0.1:{behind}
"""


class Neighbour:
    """The program ``name`` on a ``port``, with ``behind`` the port of whoever it passes requests on to."""

    def __init__(self, name: str, behind: int, directory: Path) -> None:
        program = shutil.which(name, path=SEARCH)
        if program is None:
            pytest.skip(f"needs {name}: as root on Debian, etc/apt-install {PACKAGES[name]}")
        (self.port,) = free_ports(1)
        directory.mkdir()
        if name == "nginx":
            text = nginx_configuration(directory, NGINX.format(port=self.port, behind=behind))
            command = [program, "-p", str(directory), "-c"]
        else:
            text = HAPROXY.format(port=self.port, behind=behind)
            command = [program, "-db", "-q", "-f"]
        file = directory / "configuration"
        file.write_text(text)
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen([*command, str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)  # nothing tells that a process listens by now
        raise AssertionError((directory / "log").read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
