"""h2spec, which examines HTTP/2 servers: where it is found, how it is built, how it is run.

It is ``$H2SPEC``, or on PATH, or is built once into the user's cache where Go is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

MODULE = "github.com/summerwind/h2spec/cmd/h2spec@latest"
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twisted-kong" / "go"
BUILDING = 300
"""Seconds that a build may take."""


def find_h2spec() -> str:
    """The program's path; skips the test where there is none and none can be built."""
    found = os.environ.get("H2SPEC") or shutil.which("h2spec") or shutil.which("h2spec", path=str(HOME / "bin"))
    if found:
        return found
    if shutil.which("go") is None:
        pytest.skip("needs h2spec: put it on PATH or name it in H2SPEC, or install Go to have it built")
    environ = os.environ | {"GOBIN": str(HOME / "bin"), "GOFLAGS": "-mod=mod"}
    try:
        subprocess.run(
            ["go", "install", MODULE], env=environ, check=True, capture_output=True, text=True, timeout=BUILDING
        )
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"needs h2spec: put it on PATH or name it in H2SPEC; Go could not build it: {said}")
    return str(HOME / "bin" / "h2spec")


@dataclass(frozen=True)
class Case:
    """One case of the examination, and what went wrong in it, if anything did."""

    section: str
    title: str
    failure: str


def examine(program: str, port: int, report: Path, *options: str) -> list[Case]:
    """Every case of the sections generic, http2 and hpack, the strict ones included."""
    command = [program, "-S", "-o", "5", "-h", "127.0.0.1", "-p", str(port), "-j", str(report), *options]
    done = subprocess.run(
        [*command, "generic", "http2", "hpack"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert report.exists(), done.stdout + done.stderr
    cases = []
    for case in ElementTree.parse(report).iter("testcase"):
        failure = case.find("failure")
        if failure is None:
            failure = case.find("error")
        said = "" if failure is None else failure.get("message") or failure.text or "failed"
        cases.append(Case(case.get("package", ""), case.get("classname", ""), said))
    return cases
