"""The commands of docs/operating.md that make a backup of a database in use, and restore it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from desk import READY, Desk, Gateway, environment
from readme import steps

SQLITE = "import sqlite3, sys; [print(*row) for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2])]"


def test_backup(tmp_path: Path) -> None:
    """What they copy while a gateway runs and is written to is the whole database, for its owner alone; it can be
    restored, and then has what was answered before."""
    desk = Desk(tmp_path)
    desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
    (tmp_path / "backup").mkdir()
    python = f"'{sys.executable}'"
    shim = f'kong-gateway() {{ {python} -m twisted_kong.command "$@"; }}\n'
    if shutil.which("sqlite3") is None:
        shim += f"sqlite3() {{ {python} -c '{SQLITE}' \"$@\"; }}\n"
    told = []
    with Gateway(desk) as gateway:
        gateway.logs_until(READY)
        for step in steps("Backup", "docs/operating.md"):
            commands = step.commands.replace("/var/lib/kong-gateway", str(tmp_path / "run"))
            commands = commands.replace("/backup/", f"{tmp_path}/backup/").replace(
                "/tmp/restored", f"{tmp_path}/restored"
            )
            done = subprocess.run(
                ["bash", "-euc", shim + commands],
                cwd=tmp_path,
                env=environment({}),
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
            told += done.stdout.splitlines()
    assert told == ["ok", f"exported to {tmp_path}/restored/kong.yml", "parse successful"]
    assert (tmp_path / "restored" / "kong.yml").read_text() == desk.exported()
    assert os.stat(tmp_path / "backup" / "kong.sqlite").st_mode & 0o077 == 0


def test_newer_database(tmp_path: Path) -> None:
    """A database that a newer version has written is refused, and is left as it is."""
    desk = Desk(tmp_path)
    desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
    file = tmp_path / "run" / "kong.sqlite"
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = file.read_bytes()
    assert "a newer version wrote it (revision 9999 of its tables)" in desk.refused(
        "config", "db_export", "back.yml", "-c", "kong.conf"
    )
    assert file.read_bytes() == before
