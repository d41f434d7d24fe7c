"""Pages of documentation followed from the first line to the last: files are written, commands run, answers compared.

A block of ``python``, ``toml``, ``yaml`` or ``conf`` is the file that its first line names. One of ``sh`` is run; the
block of ``json`` or ``text`` after it holds what it answers. One of ``shell`` is a program in a terminal of its own,
which runs until the end of the page. There are no other blocks.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from packages import Environment
from readme import ROOT, documents, missing

from benchmarks.programs import free_ports

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = ("python", "toml", "yaml", "conf")
HOME = "/home/me"


class Block(NamedTuple):
    kind: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """Those of a page, in its order."""
    return [Block(found[1], found[2], page.count("\n", 0, found.start()) + 1) for found in BLOCK.finditer(page)]


class Reader:
    """Somebody who does what the page says, in a directory and an environment of their own."""

    def __init__(self, where: Path, page: str, port: re.Pattern[str]) -> None:
        self._port = port
        self.environment = Environment(where / "venv")
        self.environment.lend_checkout()
        self.home = where / "home"
        self.home.mkdir()
        ports = sorted(set(port.findall(page)))
        self._ports = dict(zip(ports, map(str, free_ports(len(ports))), strict=True))
        self._programs: list[subprocess.Popen[bytes]] = []
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith(("KONG_", "PYTHON"))}
        self._environ["PATH"] = f"{self.environment.where / 'bin'}:{os.environ['PATH']}"

    def here(self, text: str) -> str:
        """A text of the page with our ports and directories in it."""
        text = self._port.sub(lambda found: self._ports[found[0]], text)
        return text.replace("~/twisted-kong", str(ROOT)).replace(HOME, str(self.home))

    def run(self, commands: str) -> str:
        """What commands print; they must succeed."""
        done = subprocess.run(
            ["bash", "-ec", self.here(commands)],
            cwd=self.home,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, command: str) -> None:
        """Run a program beside us; return once it listens."""
        command = self.here(command)
        with (self.home / "log").open("ab") as log:
            program = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.home,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._programs.append(program)
        ports = [int(port) for port in self._ports.values() if port in command]
        assert ports, command
        deadline = time.monotonic() + 60
        for port in ports:
            while not listens(port):
                assert program.poll() is None, (self.home / "log").read_text()
                assert time.monotonic() < deadline, (self.home / "log").read_text()
                time.sleep(0.02)  # nothing tells that a program of others listens by now

    def stop(self) -> None:
        for program in self._programs:
            program.terminate()
        for program in self._programs:
            program.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def reading(where: Path, page: str, port: re.Pattern[str]) -> Iterator[Reader]:
    """Somebody who reads ``page``; ``port`` finds the ports in it, in whose place there are others here."""
    reader = Reader(where, page, port)
    try:
        yield reader
    finally:
        reader.stop()


def follow(reader: Reader, page: str) -> None:
    """Do what the page says, and find what it says."""
    told = ""
    for kind, text, line in blocks(page):
        if kind in FILES:
            name = re.match(r"# (\S+)\n", text)
            assert name is not None, f"line {line}"
            (reader.home / name[1]).write_text(reader.here(text) if kind in ("yaml", "conf") else text)
        elif kind == "sh":
            told = reader.run(text)
        elif kind == "shell":
            reader.start(text)
        elif kind == "json":
            promised, answers = list(documents(reader.here(text))), list(documents(told))
            assert not missing(promised, answers), f"line {line}: {told}"
            assert len(promised) == len(answers), f"line {line}: {told}"
        elif kind == "text":
            # cells of tables are as wide as the widest, which is another one here
            expected, found = ([row.split() for row in rows.splitlines()] for rows in (reader.here(text), told))
            assert [row for row in expected if row not in found] == [], f"line {line}: {told}"
            assert expected == found[-len(expected) :], f"line {line}: {told}"
        else:
            pytest.fail(f"line {line}: nobody knows what to do with {kind!r}")
