"""Every input that fuzzing has found worth keeping goes through the properties of its target, without any fuzzer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

CORPUS = Path(__file__).with_name("corpus")
FILES = sorted(CORPUS.glob("*/*"))
TARGETS = {path.name for path in CORPUS.iterdir()}
MOST = 1_000_000
"""Bytes of the whole corpus."""


@cache
def target(name: str) -> Callable[[bytes], None]:
    made: Callable[[bytes], None] = import_module(name).Target()
    return made


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_corpus(file: Path) -> None:
    """What `target` promises holds for these bytes."""
    target(file.parent.name)(file.read_bytes())


def test_every_target_has_a_corpus() -> None:
    """And the corpus stays small enough for everybody to have it."""
    here = {path.stem for path in CORPUS.parent.glob("*.py") if "\nclass Target:" in path.read_text()}
    assert here == TARGETS
    assert sum(path.stat().st_size for path in FILES) < MOST
