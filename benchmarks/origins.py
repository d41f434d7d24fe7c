"""The three origins behind every proxy: one nginx on three ports, answering from memory.

They must cost far less than any proxy, and read a request's body whole before they answer it.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from benchmarks.load import WORKLOADS
from benchmarks.programs import Program, find, free_ports

# Connections stay open for the whole run: what a reconnect costs is not what is measured.
KEEP_ALIVE = "keepalive_timeout 300s; keepalive_requests 1000000000;"

ORIGINS = """\
sendfile on;
open_file_cache max=10 inactive=300s;
client_body_buffer_size 128k;
upstream behind {{ server unix:{directory}/behind; keepalive 64; {keep_alive} }}
server {{
    {listen}
    default_type text/plain;
    location / {{ root {directory}/files; }}
    location = /small {{ return 200 "{small}"; }}
    # `return` would answer before the body has come; proxy_pass reads it first.
    location = /post {{
        proxy_pass http://behind;
        proxy_method GET;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }}
}}
server {{
    listen unix:{directory}/behind;
    location / {{ return 200 "{small}"; }}
}}
"""


def nginx_configuration(directory: Path, http: str) -> str:
    """A whole nginx.conf around the http block's directives: one worker, nothing outside ``directory``."""
    # Started by root, nginx would hand the worker to a user who may not read the directory.
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = [
        user if os.geteuid() == 0 else "",
        "daemon off; worker_processes 1; error_log stderr;",
        f"pid {directory}/nginx.pid;",
        "events { worker_connections 4096; }",
        f"http {{ access_log off; {KEEP_ALIVE}",
        *(f"{kind}_temp_path {directory}/{kind};" for kind in kinds),
        http,
        "}",
    ]
    return "\n".join(lines)


class Origins:
    """Answers GET /small, /64k, /1m and POST /post on three ports."""

    def __init__(self, directory: Path, core: int | None) -> None:
        self.ports = free_ports(3)
        self._directory = directory
        self._core = core
        self._program: Program | None = None

    def start(self) -> None:
        """Return once all three accept connections."""
        files = self._directory / "files"
        files.mkdir(parents=True)
        for workload in WORKLOADS:
            (files / workload.path.lstrip("/")).write_bytes(b"a" * workload.answer)
        http = ORIGINS.format(
            directory=self._directory,
            keep_alive=KEEP_ALIVE,
            listen=" ".join(f"listen 127.0.0.1:{port};" for port in self.ports),
            small="a" * next(workload.answer for workload in WORKLOADS if workload.path == "/small"),
        )
        configuration = self._directory / "nginx.conf"
        configuration.write_text(nginx_configuration(self._directory, http))
        command = [find("nginx"), "-p", str(self._directory), "-c", str(configuration)]
        self._program = Program("origins (nginx)", command, core=self._core, log=self._directory / "log")
        for port in self.ports:
            self._program.wait_for_port(port)

    def stop(self) -> None:
        """End them."""
        if self._program is not None:
            self._program.stop()
