"""A store opens, or says in one line why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from databases import a_path, a_store, ask
from twisted.trial.unittest import TestCase

from twisted_kong.errors import StartupError
from twisted_kong.model.changes import Change
from twisted_kong.testing import a_pair

NOBODY = 65534


@contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions count even where the tests run as root."""
    if os.geteuid():
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


class StartupErrorTests(TestCase):
    """Files that cannot be used."""

    async def refusal(self, path: Path) -> str:
        with pytest.raises(StartupError) as refusal:
            await a_store(self, path)
        message = str(refusal.value)
        assert message.startswith(f"cannot use the database {path}: ")
        assert "\n" not in message
        return message

    async def made(self) -> Path:
        """A database with a service and a route to it."""
        path = a_path(self)
        store = await a_store(self, path)
        await store.apply(Change(puts=a_pair("orders")))
        await store.close()
        return path

    async def test_newer(self) -> None:
        """A file with a revision that we do not know is left alone: a newer version wrote it."""
        path = await self.made()
        ask(path, "UPDATE alembic_version SET version_num = '9999'")
        before = path.read_bytes()
        assert "a newer version wrote it (revision 9999 of its tables)" in await self.refusal(path)
        assert path.read_bytes() == before

    async def test_not_sqlite(self) -> None:
        """A file that is not SQLite is left alone, however short."""
        path = a_path(self)
        for content in (b"_format_version: '3.0'\n", b"services:\n" * 1000):
            path.write_bytes(content)
            assert "file is not a database" in await self.refusal(path)
            assert path.read_bytes() == content

    async def test_another_application(self) -> None:
        """A migration that fails half way, here at a table that is not ours, leaves no trace."""
        path = a_path(self)
        ask(path, "CREATE TABLE targets (x)")
        assert "table targets already exists" in await self.refusal(path)
        assert ask(path, "SELECT name FROM sqlite_master") == [("targets",)]

    async def test_no_directory(self) -> None:
        """The directory must be there."""
        path = a_path(self).parent / "missing" / "kong.db"
        assert "its directory does not exist or is not writable" in await self.refusal(path)

    async def test_directory_not_writable(self) -> None:
        """The directory must be writable, for SQLite keeps its journal beside the file."""
        path = a_path(self)
        path.parent.chmod(0o555)
        with without_privileges():
            assert "its directory does not exist or is not writable" in await self.refusal(path)

    async def test_file_not_writable(self) -> None:
        """A file that cannot be written is refused at once, not at the first change."""
        path = await self.made()
        path.chmod(0o444)
        path.parent.chmod(0o777)
        with without_privileges():
            assert "it is not writable" in await self.refusal(path)

    async def test_damaged(self) -> None:
        """A file with holes is refused."""
        path = await self.made()
        path.write_bytes(path.read_bytes()[:4096] + bytes(4096 * 20))
        assert "malformed" in await self.refusal(path)

    async def test_contradictory(self) -> None:
        """Rows that were changed by somebody who did not respect their references are refused."""
        path = await self.made()
        ask(path, "DELETE FROM services")  # SQLite checks no reference unless asked to
        assert "does not reference an existing 'services' entity" in await self.refusal(path)

    async def test_no_document(self) -> None:
        """A row whose document is not JSON is refused."""
        path = await self.made()
        ask(path, "UPDATE services SET document = '{'")
        assert "it contradicts itself" in await self.refusal(path)


class PrivacyTests(TestCase):
    """Who else may read the files."""

    async def test_new_files_are_private(self) -> None:
        """A database holds private keys: only its owner may read it, and what SQLite keeps beside it."""
        path = a_path(self)
        store = await a_store(self, path)
        await store.apply(Change(puts=a_pair("orders")))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes.keys() >= {path.name, f"{path.name}-wal", f"{path.name}-shm"}
        assert set(modes.values()) == {0o600}

    async def test_modes_of_others_are_theirs(self) -> None:
        """A file that was there keeps the mode that somebody gave it."""
        path = a_path(self)
        path.touch(0o640)
        path.chmod(0o640)
        await a_store(self, path)
        assert path.stat().st_mode & 0o777 == 0o640


def modules_after(code: str, *arguments: str) -> set[str]:
    """What a fresh Python has imported after ``code``."""
    code += "\nimport sys; print(*sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return set(child.stdout.split())


def test_memory_costs_no_database() -> None:
    """A gateway without a database does not import SQLAlchemy."""
    loaded = modules_after("import twisted_kong.store.memory")
    assert "twisted_kong.store.memory" in loaded
    assert "sqlalchemy" not in loaded


def test_migrations_cost_who_needs_them(tmp_path: Path) -> None:
    """Alembic is imported where there is something to migrate, and only there."""
    code = """
import sys
from pathlib import Path
from twisted_kong.store.migrations import migrate
from twisted_kong.store.sql import make_engine
with make_engine(Path(sys.argv[1])).begin() as connection:
    migrate(connection)
"""
    path = tmp_path / "kong.db"
    new, again = (modules_after(code, str(path)) for _ in range(2))
    assert "alembic" not in new | again
    ask(path, "DROP TRIGGER changes_are_never_altered")
    for column in ("author", "address"):
        ask(path, f"ALTER TABLE changes DROP COLUMN {column}")
    ask(path, "UPDATE alembic_version SET version_num = '0003'")
    assert "alembic" in modules_after(code, str(path))
