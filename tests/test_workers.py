"""Several processes that serve as one: what is written is in force with all, what they see and count adds up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from crew import Crew, Origin, crew, origins

PASSIVE = {"passive": {"unhealthy": {"http_failures": 4, "http_statuses": [500]}}}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Crew]:
    with crew(tmp_path) as made:
        yield made


@pytest.fixture
def origin() -> Iterator[Origin]:
    with origins(1) as (made,):
        yield made


def test_connections_are_spread(running: Crew, origin: Origin) -> None:
    """Every worker has a share of many connections."""
    running.serve(origin.target)
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(closing(running.client()))
        workers = running.workers()
        running.until(lambda: sum(map(running.connections_of, workers)) == 64)
        assert min(map(running.connections_of, workers)) >= 8


def test_an_answered_write_is_in_force(running: Crew, origin: Origin) -> None:
    """At the moment a write is answered, every connection of every worker is served by it."""
    running.serve(origin.target)
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(running.client())) for _ in range(30)]
        for turn in range(6):
            running.make("/services/s/routes", name=f"r{turn}", paths=[f"/made/{turn}"], strip_path=False)
            assert running.ask("DELETE", "/routes/r" if turn == 0 else f"/routes/r{turn - 1}")[0] == 204
            for client in clients:
                client.request("GET", f"/made/{turn}")
                found = client.getresponse()
                found.read()
                client.request("GET", f"/made/{turn - 1}")
                gone = client.getresponse()
                gone.read()
                assert (found.status, gone.status) == (200, 404)
        assert all(running.connections_of(worker) for worker in running.workers())


def test_a_write_waits_for_all(running: Crew, origin: Origin) -> None:
    """A write is not answered before the slowest worker has it in force."""
    running.serve(origin.target)
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(running.client())) for _ in range(20)]
        slow = running.workers()[0]
        running.until(lambda: running.connections_of(slow))
        os.kill(slow, signal.SIGSTOP)
        answered: list[Any] = []
        write = Thread(target=lambda: answered.append(running.make("/services/s/routes", paths=["/late"])))
        write.start()
        running.until(lambda: running.ask("GET", "/services/s/routes")[1]["data"][1:])  # in force in one process
        write.join(0.5)
        assert not answered
        os.kill(slow, signal.SIGCONT)
        write.join()
        for client in clients:
            client.request("GET", "/late")
            answer = client.getresponse()
            answer.read()
            assert answer.status == 200


def test_what_workers_see_adds_up(running: Crew) -> None:
    """Thresholds count the failures that all workers see, and whoever has reached one is out for all of them."""
    with origins(1) as (ill,), ExitStack() as stack:
        ill.status = 500
        running.serve(ill.target, healthchecks=PASSIVE)
        clients = one_client_each(running, stack)
        for turn in range(4):  # no worker sees more than two of the four
            clients[turn % 2].request("GET", "/")
            answer = clients[turn % 2].getresponse()
            answer.read()
            assert answer.status == 500
        running.until(lambda: health(running) == ["UNHEALTHY"])
        running.until(lambda: running.get() == 503)
        for client in clients * 2:
            client.request("GET", "/")
            answer = client.getresponse()
            answer.read()
            assert answer.status == 503
        assert ill.requests == 4


def test_a_success_counts_for_all(running: Crew, origin: Origin) -> None:
    """What one worker sees succeed stands against what the other has seen fail."""
    with ExitStack() as stack:
        checks = {"passive": {"unhealthy": PASSIVE["passive"]["unhealthy"], "healthy": {"successes": 1}}}
        running.serve(origin.target, healthchecks=checks)
        bad, good = one_client_each(running, stack)
        for _ in range(4):
            origin.status = 500
            for _ in range(3):
                bad.request("GET", "/")
                bad.getresponse().read()
            running.until(lambda: counts(running).get("HTTP") == 3)
            origin.status = 200
            good.request("GET", "/")
            good.getresponse().read()
            running.until(lambda: not counts(running).get("HTTP"))
        assert health(running) == ["HEALTHY"]


def test_a_person_speaks_to_all(running: Crew, origin: Origin) -> None:
    """At the moment that it is answered that a target is ill or well, it is so for every worker."""
    running.serve(origin.target, healthchecks=PASSIVE)
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(running.client())) for _ in range(20)]
        for word, expected in (("unhealthy", 503), ("healthy", 200)) * 3:
            assert running.ask("PUT", f"/upstreams/u/targets/{origin.target}/{word}")[0] == 204
            for client in clients:
                client.request("GET", "/")
                answer = client.getresponse()
                answer.read()
                assert answer.status == expected


def test_an_ill_target_gets_nothing_of_anybody(running: Crew) -> None:
    """No worker sends anything to an ill target; once it is well, each gives it what levels that worker's requests."""
    with origins(2) as (well, ill), ExitStack() as stack:
        running.serve(well.target, ill.target, algorithm="least-connections", healthchecks=PASSIVE)
        assert running.ask("PUT", f"/upstreams/u/targets/{ill.target}/unhealthy")[0] == 204
        clients = [stack.enter_context(closing(running.client())) for _ in range(32)]
        carried = dict.fromkeys(map(running.owner, clients), 0)
        assert sorted(carried) == sorted(running.workers())
        for client in clients[:16]:
            client.request("GET", "/slow")
            carried[running.owner(client)] += 1
        running.until(lambda: well.slow == 16)
        assert ill.requests == 0
        assert running.ask("PUT", f"/upstreams/u/targets/{ill.target}/healthy")[0] == 204
        for client in clients[16:]:
            worker = running.owner(client)
            if carried[worker]:
                carried[worker] -= 1
                before = ill.slow
                client.request("GET", "/slow")
                running.until(lambda before=before: ill.slow == before + 1)  # type: ignore[misc]
        assert well.requests == 16


def test_trials_for_all(running: Crew, origin: Origin) -> None:
    """A target on trial gets one request of a worker at most, and a good answer lets it in with all."""
    passive = {**PASSIVE["passive"], "recovery": {"interval": 2, "limit": 60}}
    origin.status = 500
    running.serve(origin.target, healthchecks={"passive": passive})
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(running.client())) for _ in range(20)]
        assert {running.owner(client) for client in clients} == {*running.workers()}

        def statuses() -> set[int]:
            found = set()
            for client in clients:
                client.request("GET", "/")
                answer = client.getresponse()
                answer.read()
                found.add(answer.status)
            return found

        running.until(lambda: statuses() == {503})
        before = origin.requests
        running.until(lambda: 500 in statuses())  # its trial, which fails; the next is four seconds away
        running.until(lambda: statuses() == {503})
        assert before < origin.requests <= before + 2
        origin.status = 200
        running.until(lambda: statuses() == {200})
        assert health(running) == ["HEALTHY"]


def test_counters_are_sums(running: Crew, origin: Origin) -> None:
    """Metrics and counters tell of all workers together, and do not fall when one of them dies."""
    running.serve(origin.target)
    for _ in range(40):
        running.get()
    assert running.metric("kong_http_requests_total", route="r", code="200") == 40
    assert running.metric("kong_request_latency_ms_count", route="r") == 40
    assert running.ask("GET", "/status")[1]["server"]["total_requests"] >= 40
    assert [running.metric("kong_worker_requests_total", worker=str(slot)) > 0 for slot in (0, 1)] == [True, True]
    kill(running, 0)
    assert running.metric("kong_http_requests_total", route="r", code="200") == 40
    for _ in range(10):
        running.get()
    assert running.metric("kong_http_requests_total", route="r", code="200") == 50
    assert running.metric("kong_workers_replaced_total") == 1


def test_a_new_log_for_all(running: Crew, origin: Origin) -> None:
    """After SIGUSR1 every worker writes to a new access log; every request has its one line, whole."""
    running.serve(origin.target)
    path = running.prefix / "logs" / "access.log"
    for _ in range(20):
        running.get("/before")
    path.rename(path.with_suffix(".1"))
    running.process.send_signal(signal.SIGUSR1)
    running.until(path.exists)
    running.until(lambda: path.with_suffix(".1").read_text().count("GET /before ") == 20)
    for _ in range(20):
        running.get("/after")
    running.until(lambda: path.read_text().count("GET /after ") == 20)
    lines = path.read_text().splitlines()
    assert all(line.startswith("127.0.0.1 - - [") and "kong_request_id" in line for line in lines)
    assert "/after" not in path.with_suffix(".1").read_text()


def test_a_declarative_file_for_all(tmp_path: Path) -> None:
    """Without a database SIGHUP reads the file anew for all workers, and refuses nobody meanwhile."""
    file = tmp_path / "kong.yml"
    with origins(1) as (origin,):
        document = "_format_version: '3.0'\nservices: [{name: s, url: 'http://%s', routes: [{paths: ['%s']}]}]\n"
        file.write_text(document % (origin.target, "/one"))
        with crew(tmp_path, database="off", declarative_config=str(file)) as running:
            assert {running.get("/one") for _ in range(10)} == {200}
            file.write_text(document % (origin.target, "/two"))
            running.process.send_signal(signal.SIGHUP)
            running.until(lambda: "read the configuration anew" in running.log())
            assert {running.get("/two") for _ in range(10)} == {200}
            assert {running.get("/one") for _ in range(10)} == {404}


def test_other_settings_for_all(tmp_path: Path) -> None:
    """A setting that counts from SIGHUP on counts for all workers, those that come later included."""
    conf = tmp_path / "kong.conf"
    conf.write_text("nginx_http_client_max_body_size = 0\n")
    with origins(1) as (origin,), crew(tmp_path) as running:
        running.serve(origin.target)
        assert {body_of(running, 100) for _ in range(10)} == {200}
        conf.write_text("nginx_http_client_max_body_size = 50\nproxy_listen = 127.0.0.1:1\n")
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: "read the configuration anew" in running.log())
        assert {body_of(running, 100) for _ in range(10)} == {413}
        kill(running, 0)
        kill(running, 1)
        assert {body_of(running, 100) for _ in range(10)} == {413}


def body_of(running: Crew, size: int) -> int:
    """What a request with a body of so many bytes is answered."""
    with closing(running.client()) as client:
        client.request("GET", "/", b"a" * size)
        answer = client.getresponse()
        answer.read()
        return answer.status


def one_client_each(running: Crew, stack: ExitStack) -> list[HTTPConnection]:
    """A connection to each of two workers."""
    found: dict[int, HTTPConnection] = {}
    while len(found) < 2:
        client = stack.enter_context(closing(running.client()))
        found.setdefault(running.owner(client), client)
    return [*found.values()]


def health(running: Crew) -> list[str]:
    """Of the targets of ``u``."""
    return [target["health"] for target in running.ask("GET", "/upstreams/u/health")[1]["data"]]


def counts(running: Crew) -> dict[str, int]:
    """What is counted of its only target."""
    (target,) = running.ask("GET", "/upstreams/u/health/timeline")[1]["data"]
    (address,) = target["addresses"]
    found: dict[str, int] = address["counters"]
    return found


def kill(running: Crew, which: int) -> None:
    """Kill a worker, and wait until another one is in its place."""
    before = running.workers()
    os.kill(before[which], signal.SIGKILL)
    running.until(lambda: len(running.workers()) == len(before) and before[which] not in running.workers())
    running.until(lambda: running.metric("kong_workers") == len(before))
