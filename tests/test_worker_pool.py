"""The pool of workers, told what workers say in whatever order, and by a system without room for another process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loopback import Lab
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_kong.settings import load
from twisted_kong.workers import messages
from twisted_kong.workers.pool import LONGEST, Pool
from twisted_kong.workers.process import Worker


class Process:
    """What the system knows of a worker; its ``protocol`` is told of its end at once when it is killed."""

    def __init__(self, pid: int, protocol: ProcessProtocol) -> None:
        self.pid = pid
        self.protocol = protocol

    def signalProcess(self, name: str) -> None:
        self.protocol.processEnded(Failure(ProcessTerminated(signal=9)))


class System(Clock):
    """A reactor whose processes are in memory; it has ``room`` for so many more."""

    def __init__(self) -> None:
        super().__init__()
        self.room = 9
        self.started = 0

    def spawnProcess(self, protocol: ProcessProtocol, *arguments: Any, **more: Any) -> None:
        if not self.room:
            raise OSError("no more processes")
        self.room -= 1
        self.started += 1
        protocol.transport = Process(self.started, protocol)  # type: ignore[assignment]  # all that is asked of one

    def adoptStreamConnection(self, file: int, family: int, factory: Any) -> None:
        factory.buildProtocol(None).makeConnection(StringTransport())


class Nothing(Collector):
    def collect(self) -> list[Any]:
        return []


@pytest.fixture
def system() -> System:
    return System()


@pytest.fixture
def pool(system: System, tmp_path: Path) -> Pool:
    """A pool of two that has started."""
    settings = load(None, {}, {"nginx_worker_processes": "2", "prefix": str(tmp_path)})
    made = Pool(system, settings, Lab().core.gateway, [], tmp_path, Nothing())
    made.start()
    return made


def say(worker: Worker, **message: Any) -> None:
    worker.channel.stringReceived(json.dumps(message).encode())


def heard(worker: Worker) -> list[dict[str, Any]]:
    """What the worker has been told since this was asked last."""
    transport = worker.channel.transport
    assert isinstance(transport, StringTransport)
    data, found = transport.value(), []
    transport.clear()
    while data:
        length = 4 + int.from_bytes(data[:4], "big")
        found.append(json.loads(data[4:length]))
        data = data[length:]
    return found


def acknowledge(worker: Worker) -> None:
    say(worker, **{"is": "acknowledged", "count": worker._sent})


def serve(pool: Pool) -> list[Worker]:
    """All workers of ``pool``, which serve by now."""
    workers = [pool.workers[slot] for slot in (0, 1)]
    for worker in workers:
        say(worker, **{"is": "hello", "speaks": messages.SPOKEN, "pid": worker.pid})
        acknowledge(worker)
    for worker in workers:
        heard(worker)
    assert pool.ready.called
    return workers


def test_who_leaves_does_not_come_back(pool: Pool) -> None:
    """A worker that leaves goes on being told, and its sockets stay with its siblings."""
    one, other = serve(pool)
    say(one, **{"is": "leaving"})
    assert heard(other)[-1] == {"is": "serve", "slots": [1, 0]}
    pool._renew(pool._settings)
    acknowledge(one)
    assert pool.serving() == [other]
    assert [message["is"] for message in heard(one)] == ["renew"]


def test_no_room_for_a_process(pool: Pool, system: System) -> None:
    """A worker that cannot be started is tried again later; meanwhile the others serve, and stopping waits for none."""
    one, other = serve(pool)
    system.room = 0
    one.kill()
    system.advance(1)
    assert pool.serving() == [other]
    assert heard(other)[-1] == {"is": "serve", "slots": [1, 0]}
    system.room = 1
    system.advance(LONGEST)
    assert sorted(pool.workers) == [0, 1]
    assert pool.workers[0] is not one


def test_stopping_without_room(pool: Pool, system: System) -> None:
    """Nobody waits for the end of a worker that never began."""
    one, other = serve(pool)
    system.room = 0
    one.kill()
    system.advance(1)
    stopped = Deferred.fromCoroutine(pool.stop_listening())
    assert stopped.called
    closing = Deferred.fromCoroutine(pool.close())
    assert not closing.called
    other.kill()
    assert closing.called


def test_stopping_amid_a_start(pool: Pool) -> None:
    """A worker that has not begun is not waited for."""
    workers = [*pool.workers.values()]
    _ = Deferred.fromCoroutine(pool.stop_listening())
    assert all(worker.ended.called for worker in workers)
    assert pool.workers == {}


def test_a_change_that_cannot_be_followed(pool: Pool) -> None:
    """Who waits for a change waits until the whole configuration is in force that was asked for in its place."""
    one, other = serve(pool)
    pool._renew(pool._settings)
    changed = one._sent
    settled = Deferred.fromCoroutine(pool.settled())
    acknowledge(other)
    say(one, **{"is": "again"})
    say(one, **{"is": "acknowledged", "count": changed})
    assert not settled.called
    acknowledge(one)
    assert settled.called


def test_a_late_answer(pool: Pool, system: System) -> None:
    """Counters told too late count, and disturb nobody; nor does the end of somebody who did not answer."""
    one, other = serve(pool)
    gathered = Deferred.fromCoroutine(pool.gather())
    system.advance(1)
    assert gathered.called
    counted = {"active": 0, "accepted": 0, "busy": 0, "requests": 3}
    said = {"is": "counted", "asked": True, "counters": counted, "routes": [], "questions": [0, 0], "measured": []}
    one._heard({**said, "refused": {}, "memory": 0, "cpu": 0.0})
    assert pool.counted().requests == 3
    other.kill()
    assert other.ended.called
