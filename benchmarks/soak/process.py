"""The gateway of the soak: a process of its own, its Admin API, and what it holds of the operating system."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.programs import ProgramError
from benchmarks.soak.origins import KEPT

CHECKOUT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "proxy_access_log": "off",
    "admin_access_log": "off",
    "upstream_keepalive_idle_timeout": int(KEPT),
    "nginx_http_keepalive_timeout": "5s",
}
"""Idle connections end soon, so that what is still open in the end is a leak."""
LISTENERS = ("ProxyListener", "SecureListener", "AdminSite")
"""Who listens for requests, for requests over TLS, and for the Admin API, by the names they have in the log."""
_FAULTY = re.compile(r"Traceback|Unhandled|^\S+ \[[^]]*#(?:error|critical)\]")


class GatewayProcess:
    """A gateway that keeps all it has below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.port = self.tls_port = self._admin = 0  # until it tells
        self._log = directory / "log"
        settings = {
            **SETTINGS,
            "prefix": directory / "prefix",
            "proxy_listen": "127.0.0.1:0, 127.0.0.1:0 ssl http2",
            "admin_listen": "127.0.0.1:0",
        }
        conf = directory / "kong.conf"
        conf.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
        command: list[str | Path] = [
            Path(sys.executable).with_name("twistd"),
            "--nodaemon",
            "--pidfile=",
            "kong-gateway",
            "--conf",
            conf,
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ | {"PYTHONPATH": str(CHECKOUT)},
                cwd=directory,
            )

    def wait(self, seconds: float = 60) -> None:
        """Return once it is ready, and its ports are known.

        :raise ProgramError: it is not within so many seconds.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            ports = dict(re.findall(rf"({'|'.join(LISTENERS)}) starting on (\d+)", self.printed()))
            if len(ports) == 3 and "#info] ready: " in self.printed():
                self.port, self.tls_port, self._admin = (int(ports[name]) for name in LISTENERS)
                return
            time.sleep(0.05)  # nothing else tells that it is
        raise ProgramError(f"the gateway did not start:\n{self.printed()}")

    def admin(self, method: str, path: str, document: dict[str, Any] | None = None) -> Any:
        """What the Admin API answers.

        :raise ProgramError: it is no success.
        """
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._admin}{path}",
            None if document is None else json.dumps(document).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise ProgramError(f"{method} {path} was answered {error.code}: {said}") from None
        return json.loads(text) if text else None

    def hang_up(self) -> None:
        """Have the configuration read anew."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (kibibytes,) = re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kibibytes) * 1024

    def seconds(self) -> float:
        """CPU used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> Counter[str]:
        """Open ones by what they are, ``socket`` or a path."""
        found: Counter[str] = Counter()
        for each in Path(f"/proc/{self._process.pid}/fd").iterdir():
            try:
                found[os.readlink(each).partition(":")[0]] += 1
            except FileNotFoundError:
                continue  # closed meanwhile
        return found

    def printed(self) -> str:
        """What it has written to its log."""
        return self._log.read_text(errors="replace")

    def faulty_lines(self) -> list[str]:
        """Those of its log that tell of a fault of its own."""
        return [line for line in self.printed().splitlines() if _FAULTY.search(line)]
