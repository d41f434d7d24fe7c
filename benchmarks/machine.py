"""What the figures depend on besides the code: the processor, its cores, the versions of the programs."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks.programs import ProgramError, find


def description() -> dict[str, str]:
    """Names and versions, for people and for ``--json``; programs that are missing are left out."""
    found = {"processor": processor(), "cores": str(os.cpu_count()), "kernel": platform.release()}
    found |= {"python": platform.python_version(), "twisted": version("twisted")}
    for program, option in (("nginx", "-v"), ("haproxy", "-v"), ("wrk", "-v")):
        try:
            told = subprocess.run([find(program), option], capture_output=True, text=True, timeout=10)
        except ProgramError:
            continue
        number = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
        found[program] = number[0] if number else "unknown"
    return found


def processor() -> str:
    """The processor's model as /proc/cpuinfo names it, or the architecture where it does not."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()
