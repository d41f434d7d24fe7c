"""A directory to work in with ``kong-gateway``, and gateways that run there: processes of their own, on no port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest

from twisted_kong.asking import ask
from twisted_kong.settings import load

SOUND = """\
_format_version: "3.0"
services:
- name: s
  host: a.test
  routes:
  - name: r
    paths: [/a]
upstreams:
- name: u
  targets:
  - target: a.test
"""
FAULTY = SOUND.replace("  host: a.test\n", "  port: x\n")
FAULTS = """\
in 'services':
  - in entry 1 of 'services':
    in 'host': required field missing (line 3)
    in 'port': expected an integer (line 4)
"""
"""What is told of the faulty one."""

READY = "ready: "
ANEW = "read the configuration anew"
"""What a gateway logs once it listens, and once it has read its configuration again."""


def environment(given: dict[str, str]) -> dict[str, str]:
    """Ours, less what would configure a gateway, and with what is given."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KONG_")} | given


class Desk:
    """A directory with a sound document and a faulty one, and what commands say there."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.put("sound.yml", SOUND)
        self.put("faulty.yml", FAULTY)
        self.socket = where / "admin.sock"
        self.settings = load(None, {}, {"admin_listen": f"unix:{self.socket}"})
        (where / "kong.conf").write_text(
            f"prefix = {where / 'run'}\nadmin_listen = unix:{self.socket}\nproxy_listen = off\n"
        )

    def put(self, name: str, text: str) -> None:
        (self.where / name).write_text(text)

    def command(self, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; ``given`` are settings of the environment."""
        command = [sys.executable, "-m", "twisted_kong.command", *arguments]
        return subprocess.run(
            command, cwd=self.where, env=environment(variables(given)), capture_output=True, text=True, timeout=60
        )

    def done(self, *arguments: str, **given: str) -> str:
        """What a command that does what it is asked says."""
        found = self.command(*arguments, **given)
        assert (found.returncode, found.stderr) == (0, "")
        return found.stdout

    def refused(self, *arguments: str, **given: str) -> str:
        """What a command that cannot do what it is asked says after ``Error:``."""
        found = self.command(*arguments, **given)
        assert (found.returncode, found.stderr[:7]) == (1, "Error: "), found
        return found.stderr[7:]

    def exported(self) -> str:
        """The database as a document."""
        file = self.where / "exported.yml"
        file.unlink(missing_ok=True)
        self.done("config", "db_export", "--conf", "kong.conf", str(file))
        return file.read_text()

    def ask(self, path: str) -> Any:
        return ask(self.settings, path)

    def names(self) -> list[str]:
        """Those of the services of the running gateway."""
        return [service["name"] for service in self.ask("/services")["data"]]


def variables(given: dict[str, str]) -> dict[str, str]:
    return {f"KONG_{name.upper()}": value for name, value in given.items()}


class Gateway:
    """A gateway that runs in the directory of a `Desk`."""

    def __init__(self, desk: Desk, **given: str) -> None:
        twistd = str(Path(sys.executable).with_name("twistd"))
        self.process = subprocess.Popen(
            [twistd, "--nodaemon", "--pidfile=", "kong-gateway", "--conf", "kong.conf"],
            cwd=desk.where,
            env=environment(variables(given)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def logs_until(self, end: str) -> str:
        """What it logs up to the line with ``end``."""
        logged = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            logged += line
            if end in line:
                return logged
        pytest.fail(f"ended with {self.process.wait()} before it logged {end!r}: {logged}")

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
