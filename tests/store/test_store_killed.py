"""A process that is killed loses no change that it has answered, and leaves no half of one."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

from databases import a_path, a_store, ask, replayed, tables
from twisted.trial.unittest import TestCase

WRITER = Path(__file__).with_name("endless_writer.py")


def killed(path: Path, lines: int) -> list[str]:
    """What the endless writer had said when it was dead; it was killed as soon as it had said so many lines."""
    with subprocess.Popen([sys.executable, WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        try:
            said = list(islice(writer.stdout, lines))
        finally:
            writer.kill()
        return said + [line for line in writer.stdout if line.endswith("\n")]


class KilledTests(TestCase):
    """SIGKILL at various moments."""

    async def check(self, path: Path, answered: list[str]) -> None:
        """The database is sound, tells what was answered, and opens."""
        store = await a_store(self, path)
        snapshot = store.snapshot()
        await store.close()
        assert ask(path, "PRAGMA integrity_check") == [("ok",)]
        assert ask(path, "PRAGMA foreign_key_check") == []
        held = tables(path)
        assert held == replayed(path)
        assert {name: set(rows) for name, rows in held.items()} == {name: set(snapshot.all(name)) for name in held}
        assert ask(path, "SELECT coalesce(max(generation), 0) FROM changes") == [(snapshot.generation,)]
        words = [line.split() for line in answered]
        deleted = {id for operation, id in words if operation == "delete"}
        log = set(ask(path, "SELECT operation, entity_id FROM changes WHERE collection = 'upstreams'"))
        assert {(operation, id) for operation, id in words} <= log
        assert deleted.isdisjoint(snapshot.upstreams)
        for id in snapshot.upstreams:
            assert len(snapshot.children("targets", "upstream", id)) == 2
        assert len(snapshot.targets) == 2 * len(snapshot.upstreams)

    async def test_while_writing(self) -> None:
        """Killed after any number of answers, time and again on the same file: what was answered is there."""
        path = a_path(self)
        answered: list[str] = []
        for answers in (1, 3, 20, 77, 200):
            said = killed(path, lines=2 + answers)
            assert said[:2] == ["starting\n", "open\n"]
            assert len(said) >= 2 + answers
            answered += said[2:]
            await self.check(path, answered)

    async def test_while_starting(self) -> None:
        """Killed before the first answer: the next start finds an empty database, and no half of a migration."""
        for lines in (1, 2):
            path = a_path(self)
            await self.check(path, [line for line in killed(path, lines) if " " in line])
