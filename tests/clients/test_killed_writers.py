"""A gateway that is killed while clients write: what it answered is there when it is back, nothing is there by half."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event, Semaphore
from typing import Any

import pytest
from running_gateway import Admin, RunningGateway, running
from test_concurrent_writers import assert_whole, kept, log, replayed

WRITERS = 8
KILLS = 4
ENOUGH = 150
"""Answers until the gateway is killed, give and take those that are on their way."""


@pytest.fixture(name="gateway")
def make_gateway() -> Iterator[RunningGateway]:
    with running() as gateway:
        yield gateway


@dataclass
class Writer:
    """One client with entities of its own: what it was told of each, and what it asked for and heard nothing of."""

    number: int
    answered: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """path → the entity as it was answered last; None once it is deleted."""
    unanswered: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    turn: int = 0

    def write(self, admin: Admin) -> None:
        """The next write: of four the first creates, the others change, change again and, every other time, delete."""
        which, step = divmod(self.turn, 4)
        self.turn += 1
        path = f"/services/w{self.number}-{which}"
        if which % 2:
            path = f"/upstreams/u/targets/10.0.{self.number}.{which % 250}:{80 + which // 250}"
        fields: dict[str, Any] = {"retries": self.turn} if which % 2 == 0 else {"weight": self.turn}
        method: str
        body: dict[str, Any] | None
        if step == 3 and which % 4 < 2:
            method, body = "DELETE", None
        elif step:
            method, body = "PATCH", fields
        elif which % 2:
            method, body = "POST", {"target": path.rpartition("/")[2], **fields}
        else:
            method, body = "PUT", {"host": "a.test", **fields}
        self.unanswered = {path: body}
        status, document = admin.ask(method, path.rpartition("/")[0] if method == "POST" else path, body)
        assert status in (200, 201, 204), (method, path, body, status, document)
        self.answered[path] = document
        self.unanswered = {}

    def check(self, admin: Admin) -> None:
        """Whether everything is there as it was answered, but for the one write that was not."""
        for path, wanted in self.answered.items():
            there = self.look(admin, path)
            if path not in self.unanswered:
                assert there == wanted, path
            elif there != wanted:
                self.check_done(there, self.unanswered[path])
        self.answered |= {path: self.look(admin, path) for path in self.unanswered if path in self.answered}

    def look(self, admin: Admin, path: str) -> dict[str, Any] | None:
        """The entity there, if there is one."""
        status, found = admin.ask("GET", path)
        return found if status == 200 else None

    def check_done(self, there: dict[str, Any] | None, asked: dict[str, Any] | None) -> None:
        """A write that was not answered and yet made was made whole."""
        assert (there is None) == (asked is None)
        if there is not None and asked is not None:
            assert there.items() >= asked.items()


def write_until_killed(gateway: RunningGateway, writer: Writer, answers: Semaphore, stop: Event) -> None:
    """Write, and return when the gateway is gone; any other failure is one."""
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=30)) as connection:
        admin = Admin(connection)
        while not stop.is_set():
            try:
                writer.write(admin)
            except (OSError, http.client.HTTPException):
                return
            answers.release()


def test_killed_while_clients_write(gateway: RunningGateway) -> None:
    """Killed again and again in the middle of writes, the gateway comes back with every write that it answered."""
    with gateway.admin() as admin:
        assert admin.ask("PUT", "/upstreams/u", {}).status == 200
    writers = [Writer(number) for number in range(WRITERS)]
    for kill in range(KILLS):
        answers, stop = Semaphore(0), Event()
        with ThreadPoolExecutor(WRITERS) as threads:
            working: list[Future[None]] = [
                threads.submit(write_until_killed, gateway, writer, answers, stop) for writer in writers
            ]
            try:
                for _ in range(ENOUGH + 7 * kill):
                    assert answers.acquire(timeout=30), [one.exception() for one in working if one.done()]
            finally:
                gateway.kill()
                stop.set()
            for one in working:
                one.result(30)
        gateway.start()
        entries = log(gateway.database)
        assert_whole(entries)
        with gateway.admin() as admin:
            for writer in writers:
                writer.check(admin)
            found = kept(admin)
        assert found == {collection: replayed(entries)[collection] for collection in found}
        for writer in writers:
            writer.turn += -writer.turn % 4  # what was not answered may or may not have happened: on to another entity
