"""Processes that die: a worker takes with it what it carries and nothing else, the one in charge takes nothing."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from crew import ROOT, Crew, Load, Origin, alive, crew, free_ports, origins

CHECKS = {"passive": {"unhealthy": {"http_failures": 3, "http_statuses": [500]}}}
CLEAN = (0, -signal.SIGTERM)
"""What a process ends with that stopped when it was told to: twistd lets SIGTERM end it once all is done."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Crew]:
    with crew(tmp_path) as made:
        yield made


@pytest.fixture
def origin() -> Iterator[Origin]:
    with origins(1) as (made,):
        yield made


def test_a_killed_worker_is_replaced(running: Crew, origin: Origin) -> None:
    """A worker that is killed under load fails at most the requests it carries; its siblings fail none."""
    clients = 8
    running.serve(origin.target)
    with Load(running, clients) as load:
        load.more()
        before = running.workers()
        os.kill(before[0], signal.SIGKILL)
        load.more()
        running.until(lambda: running.metric("kong_workers") == 2)
        load.more()
    after = running.workers()
    assert before[0] not in after
    assert before[1] in after
    assert len(load.failures) <= clients
    assert "signal 9" in running.log()


def test_nobody_waits_for_a_replacement(running: Crew, origin: Origin) -> None:
    """New connections are taken up while nobody is in the place of a worker that has died; none waits for that."""
    running.serve(origin.target)
    vacant = False
    while not vacant:
        before = {*running.workers()}
        os.kill(min(before), signal.SIGKILL)
        running.until(lambda before=before: {*running.workers()} - before)  # type: ignore[misc]
        (new,) = {*running.workers()} - before
        os.kill(new, signal.SIGSTOP)
        vacant = running.metric("kong_workers") == 1  # else it was quicker than we are
        if not vacant:
            os.kill(new, signal.SIGCONT)
    assert {running.get() for _ in range(20)} == {200}
    os.kill(new, signal.SIGCONT)
    running.until(lambda: running.metric("kong_workers") == 2)


def test_a_new_worker_knows_everything(running: Crew) -> None:
    """A worker that takes another's place has the configuration, and knows who is ill."""
    with origins(2) as (well, ill):
        ill.status = 500
        running.serve(well.target, ill.target, healthchecks=CHECKS)
        running.until(lambda: running.get() and ill.requests >= 3)
        running.until(lambda: "UNHEALTHY" in str(running.ask("GET", "/upstreams/u/health")))
        running.make("/services/s/routes", name="late", paths=["/late"])
        asked = ill.requests
        for pid in running.workers():
            os.kill(pid, signal.SIGKILL)
        running.until(lambda: running.metric("kong_workers") == 2)
        assert {running.get("/late") for _ in range(20)} == {200}
        assert ill.requests <= asked + 1  # one may have been on its way


def test_a_stuck_worker_is_replaced(tmp_path: Path, origin: Origin) -> None:
    """A worker that does not acknowledge a write is killed; the write is answered when the others have it in force."""
    with crew(tmp_path) as running:
        running.serve(origin.target)
        stuck = running.workers()[0]
        os.kill(stuck, signal.SIGSTOP)
        running.make("/services/s/routes", name="late", paths=["/late"])
        running.until(lambda: not alive(stuck))
        running.until(lambda: running.metric("kong_workers") == 2)
        assert {running.get("/late") for _ in range(10)} == {200}


def test_the_one_in_charge_may_die(running: Crew, origin: Origin) -> None:
    """Workers go on without it; who comes after it takes over, and no request notices any of that."""
    running.serve(origin.target)
    orphans = running.workers()
    with Load(running) as load, Load(running, 2, fresh=True) as new:
        new.more()
        running.kill()
        load.more()
        new.more()
        assert all(map(alive, orphans))
        running.start()
        running.until(lambda: not any(map(alive, orphans)))
        load.more()
        new.more()
    assert load.failures == []
    assert new.failures == []
    assert not {*orphans} & {*running.workers()}
    assert running.get() == 200


def test_one_process_after_several(running: Crew, origin: Origin) -> None:
    """Workers left behind give way to a gateway of one process as well."""
    running.serve(origin.target)
    orphans = running.workers()
    running.kill()
    running.settings["nginx_worker_processes"] = "1"
    with Load(running, 2, fresh=True) as load:
        load.more()
        running.start()
        running.until(lambda: not any(map(alive, orphans)))
        load.more()
    assert load.failures == []
    assert running.workers() == [running.process.pid]


def test_an_orphan_can_be_ended(running: Crew, origin: Origin) -> None:
    """SIGTERM ends a worker whose process in charge is gone, once it has finished what it carries."""
    running.serve(origin.target)
    orphans = running.workers()
    with closing(running.client()) as slow:
        slow.request("GET", "/slow")
        running.until(lambda: origin.slow)
        running.kill()
        for pid in orphans:
            os.kill(pid, signal.SIGTERM)
        running.until(lambda: sum(map(alive, orphans)) == 1)
        origin.go_on.set()
        answer = slow.getresponse()
        assert (answer.status, answer.read()) == (200, str(origin.port).encode())
    running.until(lambda: not any(map(alive, orphans)))
    with pytest.raises(ConnectionRefusedError):
        running.client()


def test_an_orphan_without_a_home(running: Crew, origin: Origin) -> None:
    """SIGTERM ends a worker whose process in charge is gone, and with it the directory by which it was found."""
    running.serve(origin.target)
    orphans = running.workers()
    running.kill()
    shutil.rmtree(running.prefix / "workers")
    for pid in orphans:
        os.kill(pid, signal.SIGTERM)
    running.until(lambda: not any(map(alive, orphans)))


def test_a_shared_file(tmp_path: Path) -> None:
    """A worker that leaves takes no UNIX socket away from its siblings, and all of them can leave."""
    path = tmp_path / "proxy"
    running = Crew(tmp_path)
    running.listen = f"unix:{path}"
    try:
        running.start()
        before = running.workers()
        os.kill(before[0], signal.SIGTERM)
        running.until(lambda: not alive(before[0]))
        assert path.is_socket()
        running.until(lambda: running.metric("kong_workers") == 2)
        assert running.metric("kong_workers_replaced_total") == 0  # it was asked to go
        assert f"({before[0]}) has ended: status 0; another one starts now" in running.log()
        orphans = running.workers()
        running.kill()
        running.start()  # which takes the socket over
        running.until(lambda: not any(map(alive, orphans)))
        assert path.is_socket()
        orphans = running.workers()
        running.kill()
        for pid in orphans:
            os.kill(pid, signal.SIGTERM)
        running.until(lambda: not any(map(alive, orphans)))
    finally:
        running.close()


def test_many_sockets(tmp_path: Path) -> None:
    """However many sockets there are, a new process in charge takes over all of them."""
    running = Crew(tmp_path)
    running.listen = ", ".join(f"127.0.0.1:{port}" for port in free_ports(20))
    try:
        running.start()
        orphans = running.workers()
        running.kill()
        running.start()
        running.until(lambda: not any(map(alive, orphans)))
    finally:
        running.close()


def test_a_service_that_is_stopped(running: Crew, origin: Origin) -> None:
    """What systemd runs after the service leaves workers alone while it restarts, and ends them when it is stopped."""
    running.serve(origin.target)
    workers = running.workers()
    command = [sys.executable, "-m", "twisted_kong.workers.send_away", str(running.prefix)]

    def after(result: str) -> int:
        environ = {**os.environ, "SERVICE_RESULT": result, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environ, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode

    assert after("success") == 1  # there is a gateway, and they are its workers
    running.kill()
    assert after("signal") == 0
    assert running.get() == 200
    assert all(map(alive, workers))
    assert after("timeout") == 0
    running.until(lambda: not any(map(alive, workers)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_stopping(running: Crew, origin: Origin, number: signal.Signals) -> None:
    """What is under way is answered, by whichever worker, and then no process is left."""
    running.serve(origin.target)
    workers = running.workers()
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(running.client())) for _ in range(8)]
        for client in clients:
            client.request("GET", "/slow")
        running.until(lambda: origin.slow == len(clients))
        running.process.send_signal(number)
        running.until(lambda: refused(running))
        origin.go_on.set()
        for client in clients:
            answer = client.getresponse()
            answer.read()
            assert answer.status == 200
    assert running.process.wait(30) in CLEAN
    assert not any(map(alive, workers))
    assert "cut off" not in running.log()


def test_cut_off(tmp_path: Path, origin: Origin) -> None:
    """What is not answered in time is cut off; the log says how many requests of all workers."""
    with crew(tmp_path, nginx_main_worker_shutdown_timeout="1s") as running:
        running.serve(origin.target)
        workers = running.workers()
        with ExitStack() as stack:
            clients = [stack.enter_context(closing(running.client())) for _ in range(8)]
            for client in clients:
                client.request("GET", "/slow")
            running.until(lambda: origin.slow == len(clients))
            assert running.stop() in CLEAN
            assert "8 requests were cut off" in running.log()
            for client in clients:
                with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                    client.getresponse()
        assert not any(map(alive, workers))


def test_ctrl_c(running: Crew, origin: Origin) -> None:
    """A signal of the terminal reaches all processes at once; what is under way is answered all the same."""
    running.serve(origin.target)
    workers = running.workers()
    with closing(running.client()) as slow:
        slow.request("GET", "/slow")
        running.until(lambda: origin.slow)
        os.killpg(running.process.pid, signal.SIGINT)
        running.until(lambda: refused(running))
        origin.go_on.set()
        assert slow.getresponse().status == 200
    running.process.wait(30)
    assert not any(map(alive, workers))


def refused(running: Crew) -> bool:
    """Whether nobody new gets in."""
    try:
        running.client().close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def test_somebody_else_listens(tmp_path: Path) -> None:
    """Workers share a port among themselves, and with nobody else, not even with who would share."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        made = Crew(tmp_path)
        made.proxy = other.getsockname()[1]
        try:
            with pytest.raises(AssertionError):
                made.start()
            assert "Address already in use" in made.log()
        finally:
            made.close()
