"""Everything that is needed to install the gateway where there is nothing, as wheels in one directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packages import ROOT, run


def fill(where: Path, wheel: Path) -> Path:
    """Put ``wheel`` and the wheels it needs into ``where``, in the versions of constraints.txt.

    They come from wherever pip gets them; where it gets them nowhere, the test is skipped.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    command = [*pip, "--dest", str(where), "--constraint", str(ROOT / "constraints.txt"), str(wheel)]
    done = subprocess.run(command, cwd=where.parent, capture_output=True, text=True, timeout=110)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"pip cannot get the wheels that the gateway needs: {reason}")
    return where


def build(project: Path, where: Path, **environ: str) -> Path:
    """The wheel of a project, built in ``where`` from its source distribution, without a look at the network.

    ``environ`` is added to the environment.
    """
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", where, project, cwd=where, **environ)
    (built,) = where.glob("*.whl")
    return built
