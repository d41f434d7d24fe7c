"""``kong-gateway token``, and what the other commands do where a token is wanted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from desk import READY, Desk, Gateway, environment

from twisted_kong.admin.tokens import Caller, Role, read_callers


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_made(desk: Desk) -> None:
    """The token alone is on standard output, its line beside it; nothing is written anywhere."""
    before = sorted(desk.where.iterdir())
    made = desk.command("token", "ci", "--read-only")
    assert made.returncode == 0
    line = next(line for line in made.stderr.splitlines() if line.startswith("ci "))
    assert read_callers([line]).by_token(made.stdout.strip()) == Caller("ci", Role.READ_ONLY)
    assert made.stdout.strip() not in made.stderr
    assert sorted(desk.where.iterdir()) == before


def test_appended(desk: Desk) -> None:
    """Lines are added to a file, which is its owner's alone; what is in it stays."""
    desk.put("tokens", "# ours")
    first = desk.command("token", "a", "--append", "tokens").stdout.strip()
    second = desk.command("token", "b", "--append", "tokens").stdout.strip()
    lines = (desk.where / "tokens").read_text().splitlines()
    assert lines[0] == "# ours"
    callers = read_callers(lines)
    assert callers.by_token(first) == Caller("a", Role.READ_WRITE)
    assert callers.by_token(second) == Caller("b", Role.READ_WRITE)
    desk.command("token", "c", "--append", "new")
    assert (desk.where / "new").stat().st_mode & 0o777 == 0o600


def test_refused(desk: Desk) -> None:
    """A name that is none, or a file that cannot be written, makes no token."""
    assert desk.refused("token", "a b").startswith("expected a name of at most 64")
    assert desk.command("token", "a", "--append", "no/tokens").stdout == ""
    assert "no/tokens: expected a file to write to" in desk.refused("token", "a", "--append", "no/tokens")


def test_check(desk: Desk) -> None:
    """`check` tells of doors that are open, and of files of tokens that cannot be used."""
    desk.put("open.conf", "admin_listen = 0.0.0.0:8001\n")
    assert "admin_listen: expected an address of this machine alone" in desk.refused("check", "open.conf")
    desk.put("tokens.conf", "admin_listen = 0.0.0.0:8001\nadmin_tokens = tokens\n")
    assert "admin_tokens: expected a file that can be read" in desk.refused("check", "tokens.conf")
    desk.command("token", "a", "--append", "tokens")
    assert desk.done("check", "tokens.conf") == "configuration at tokens.conf is valid\n"


def test_commands_show_a_token(desk: Desk) -> None:
    """Commands that ask the gateway show the token of the environment, and say so where one is wanted."""
    token = desk.command("token", "a", "--append", "tokens").stdout.strip()
    conf = desk.where / "kong.conf"
    conf.write_text(f"{conf.read_text()}admin_tokens = {desk.where / 'tokens'}\n")
    with Gateway(desk) as gateway:
        gateway.logs_until(READY)
        wanted = "expected a token of its admin_tokens in KONG_ADMIN_TOKEN\n"
        assert desk.refused("health", "-c", "kong.conf").endswith(wanted)
        assert "healthy" in desk.done("health", "-c", "kong.conf", admin_token=token)
        said = desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
        assert said.endswith(wanted)
        said = desk.done("config", "db_import", "sound.yml", "-c", "kong.conf", admin_token=token)
        assert re.search(r"told the running gateway, process \d+, to read it", said)


def test_author_of_an_import(desk: Desk) -> None:
    """The log of changes tells which account has imported a file, and how."""
    desk.done("config", "db_import", "sound.yml", "--conf", "kong.conf")
    query = "import sqlite3; print(sqlite3.connect('run/kong.sqlite').execute("
    query += "'SELECT DISTINCT author, address FROM changes').fetchall())"
    printed = subprocess.run(
        [sys.executable, "-c", query], cwd=desk.where, env=environment({}), capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"\[\('\w+', 'kong-gateway config db_import'\)\]\n", printed.stdout)
