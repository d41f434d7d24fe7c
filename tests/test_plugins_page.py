"""docs/plugins.md from its first line to its last: files are written, commands run, answers compared.

A block of ``python`` or ``toml`` is the file that its first line names. One of ``sh`` is run; the block of ``json`` or
``text`` after it holds what it answers. One of ``shell`` is a program in a terminal of its own, which runs until the
end of the page. There are no other blocks.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from packages import Environment
from readme import ROOT, documents, missing

from benchmarks.programs import free_ports

PAGE = (ROOT / "docs" / "plugins.md").read_text()
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"(?<=[: ])[89][12]0\d\b")
HOME = "/home/me"


class Block(NamedTuple):
    kind: str
    text: str
    line: int


BLOCKS = [Block(found[1], found[2], PAGE.count("\n", 0, found.start()) + 1) for found in _BLOCK.finditer(PAGE)]


class Reader:
    """Somebody who does what the page says, in a directory and an environment of their own."""

    def __init__(self, where: Path) -> None:
        self.environment = Environment(where / "venv")
        self.environment.lend_checkout()
        self.home = where / "home"
        self.home.mkdir()
        ports = sorted(set(_PORT.findall(PAGE)))
        self._ports = dict(zip(ports, map(str, free_ports(len(ports))), strict=True))
        self._programs: list[subprocess.Popen[bytes]] = []
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith(("KONG_", "PYTHON"))}
        self._environ["PATH"] = f"{self.environment.where / 'bin'}:{os.environ['PATH']}"

    def here(self, text: str) -> str:
        """A text of the page with our ports and directories in it."""
        text = _PORT.sub(lambda found: self._ports[found[0]], text)
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
def reading(where: Path) -> Iterator[Reader]:
    reader = Reader(where)
    try:
        yield reader
    finally:
        reader.stop()


def test_page(tmp_path: Path) -> None:
    """Whoever follows the page finds what it says."""
    told = ""
    with reading(tmp_path) as reader:
        for kind, text, line in BLOCKS:
            if kind in ("python", "toml"):
                name = re.match(r"# (\S+)\n", text)
                assert name is not None, f"line {line}"
                (reader.home / name[1]).write_text(text)
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


def test_everything_is_in_blocks() -> None:
    """The page has blocks of every kind, no code that is only indented, and what it promises is what is asked for."""
    assert {block.kind for block in BLOCKS} == {"python", "toml", "sh", "shell", "json", "text"}
    assert not re.search(r"^ {4}\S", _BLOCK.sub("", PAGE), re.MULTILINE)
    kinds = [block.kind for block in BLOCKS]
    assert all(before == "sh" for before, kind in pairwise(kinds) if kind in ("json", "text"))


def test_names_of_the_page() -> None:
    """What the page says of `twisted_kong.testing` and the interfaces is there."""
    from twisted_kong import interfaces, testing

    prose = _BLOCK.sub("", PAGE)
    assert set(re.findall(r"`(I[A-Z]\w+)`", prose)) <= set(vars(interfaces))
    suites = {name for name in testing.__all__ if name.endswith("_contract")}
    assert set(re.findall(r"`(\w+_contract)\(", prose)) == suites
    assert set(re.findall(r"\]\(\.\./plugins/(\w+\.py)\)", prose)) == {
        path.name for path in (ROOT / "plugins").glob("*.py")
    }


def test_same_as_the_package() -> None:
    """The algorithm of the page is that of the package in the repository, but for its types."""
    (page,) = (block.text for block in BLOCKS if block.text.startswith("# plugins/first_available.py"))
    package = (ROOT / "plugins/wheel-example/src/kong_first_available/__init__.py").read_text()
    spelled = re.sub(r": (?:Iterable|Sequence)?\[?\b(?:IPeer|Upstream|Pick|Outcome)\b\]?| -> [\w| ]+(?=:)", "", package)
    for line in page.splitlines()[1:]:
        if "self._order = []" not in line and "import" not in line:
            assert line in spelled.splitlines(), line
