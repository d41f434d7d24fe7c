"""decK against a whole gateway: everything it does to one, and that it finds nothing left to do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deck_program import BUILDING, Deck, find_deck
from declared import State, a_state
from running_gateway import running

pytestmark = [pytest.mark.needs("deck"), pytest.mark.timeout(BUILDING + 120)]


@pytest.fixture(name="program", scope="module")
def found() -> str:
    return find_deck()


@pytest.fixture(name="deck")
def make_deck(program: str, tmp_path: Path) -> Iterator[Deck]:
    """decK, and a gateway with nothing in it."""
    with running() as gateway:
        yield Deck(program, gateway.url, tmp_path)


def written(state: State, directory: Path) -> str:
    """The state in a file."""
    file = directory / "state.json"
    file.write_text(json.dumps(state))
    return str(file)


def dumped(deck: Deck, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(deck.run("dump", "--format", "json", *options))
    return document


def test_ping(deck: Deck) -> None:
    """decK knows the gateway for one."""
    assert "3.9" in deck.run("ping")


@pytest.mark.parametrize("entities", [5, 2000])
def test_life(deck: Deck, tmp_path: Path, entities: int) -> None:
    """Whatever the size: valid, written, no different from then on, dumped, reset, restored; within a minute."""
    began = time.monotonic()
    file = written(a_state(entities), tmp_path)
    deck.run("validate", file)
    deck.run("diff", "--non-zero-exit-code", file, status=2)
    deck.run("sync", file)
    deck.run("diff", "--non-zero-exit-code", file)
    first = dumped(deck)
    assert [row["name"] for row in first["services"]] == sorted(row["name"] for row in a_state(entities)["services"])
    deck.run("reset", "--force")
    assert dumped(deck).keys() == {"_format_version"}
    deck.run("sync", written(first, tmp_path))
    assert dumped(deck) == first
    assert time.monotonic() - began < 60


def test_change(deck: Deck, tmp_path: Path) -> None:
    """What a file says anew is a difference until it is written."""
    state = a_state(20)
    deck.run("sync", written(state, tmp_path))
    state["upstreams"][0]["targets"][0]["weight"] = 7
    state["services"][1]["routes"][0]["methods"] = ["PUT"]
    del state["consumers"][0]["keyauth_credentials"]
    changed = written(state, tmp_path)
    deck.run("diff", "--non-zero-exit-code", changed, status=2)
    deck.run("sync", changed)
    deck.run("diff", "--non-zero-exit-code", changed)


def test_invalid(deck: Deck, tmp_path: Path) -> None:
    """What the gateway would not take is refused before anything is written, and named."""
    state = a_state(5)
    state["services"][0]["routes"][0]["paths"] = ["no-path"]
    deck.run("validate", written(state, tmp_path), status=1)
    assert dumped(deck).keys() == {"_format_version"}


def test_select_tags(deck: Deck, tmp_path: Path) -> None:
    """With a tag decK sees, writes and takes away what bears it, and nothing else."""
    mine = {name: a_state(10)[name] for name in ("_format_version", "services", "upstreams")}
    route = {"name": "other", "paths": ["/other"]}
    theirs = {"_format_version": "3.0", "services": [{"name": "other", "host": "other.test", "routes": [route]}]}
    deck.run("sync", "--select-tag", "mine", written(mine, tmp_path))
    before = dumped(deck, "--select-tag", "mine")
    deck.run("sync", "--select-tag", "theirs", written(theirs, tmp_path))
    assert [row["name"] for row in dumped(deck, "--select-tag", "theirs")["services"]] == ["other"]
    assert dumped(deck, "--select-tag", "mine") == before
    deck.run("reset", "--force", "--select-tag", "theirs")
    assert dumped(deck, "--select-tag", "mine") == before
    assert len(dumped(deck)["services"]) == len(mine["services"])
