"""decK, Kong's declarative command-line client: where it is found, how it is built, how it is run.

It is ``$DECK``, or on PATH, or is built once into ``.run/go/bin`` where Go is there. It cannot be installed with
``go install``, which refuses modules that replace others; so its module is downloaded and built where it lies.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from running_gateway import ROOT

MODULE = "github.com/kong/deck@latest"
HOME = ROOT / ".run" / "go"
BUILDING = 900
"""Seconds that a build may take: some three hundred modules are downloaded and compiled."""


def find_deck() -> str:
    """The program's path; skips the test where there is none and none can be built."""
    found = os.environ.get("DECK") or shutil.which("deck") or shutil.which("deck", path=str(HOME / "bin"))
    if found:
        return found
    if shutil.which("go") is None:
        pytest.skip("needs decK: put deck on PATH or name it in DECK, or install Go to have it built")
    try:
        return str(_build())
    except subprocess.SubprocessError as error:
        pytest.skip(f"needs decK: put deck on PATH or name it in DECK; Go could not build it: {_reason(error)}")


def _build() -> Path:
    """:raise SubprocessError: Go could not."""
    program = HOME / "bin" / "deck"
    program.parent.mkdir(parents=True, exist_ok=True)
    environ = {
        "GOMODCACHE": str(HOME / "mod"),
        "GOCACHE": str(HOME / "cache"),
        "GOFLAGS": "-modcacherw -buildvcs=false",
    }
    told = _go(["mod", "download", "-json", MODULE], HOME, environ)
    _go(["build", "-o", str(program), "."], Path(json.loads(told)["Dir"]), environ)
    return program


def _go(arguments: list[str], directory: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["go", *arguments],
        cwd=directory,
        env=os.environ | environ,
        check=True,
        capture_output=True,
        text=True,
        timeout=BUILDING,
    )
    return done.stdout


def _reason(error: subprocess.SubprocessError) -> str:
    """What Go said, in one line."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    try:
        said: str = json.loads(error.stdout)["Error"]
    except (ValueError, KeyError, TypeError):
        said = error.stderr
    return " ".join(said.split())


class Deck:
    """Runs the program against the Admin API at ``url``, with nothing of whoever runs the tests."""

    def __init__(self, program: str, url: str, home: Path) -> None:
        self._command = [program, "gateway"]
        self._options = ["--kong-addr", url, "--analytics=false", "--no-color"]
        self._home = home

    def run(self, command: str, *arguments: str, status: int = 0) -> str:
        """What ``deck gateway COMMAND`` prints on its standard output; it must end with ``status``."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DECK_")}
        environ |= {"HOME": str(self._home), "DECK_SUPPRESS_UPDATE_CHECK": "true"}
        environ |= {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [*self._command, command, *arguments, *self._options],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, (
            f"deck gateway {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout
