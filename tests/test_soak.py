"""Two minutes of mixed traffic, changes and failures, against a gateway of its own; see `benchmarks.soak`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 120
SETTLING = 200
"""Seconds more than that for what comes before and after."""


@pytest.mark.timeout(SECONDS + SETTLING + 30)
def test_soak() -> None:
    """No answer is anybody else's, every failure has its reason, and no descriptor and no memory is left behind."""
    command = [sys.executable, "-m", "benchmarks.soak", "--seconds", str(SECONDS)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=SECONDS + SETTLING)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
