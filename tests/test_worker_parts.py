"""The parts of a gateway of several processes that need no process: what is said, what is summed, who is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from crew import PATIENCE, ROOT
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.unix import Port

from twisted_kong.errors import StartupError
from twisted_kong.health.counters import State
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Service, Target, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY, Snapshot, diff
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.follower import WELL, Elsewhere, Standing
from twisted_kong.runtime.health import PeerHealth
from twisted_kong.settings import Listener
from twisted_kong.sockets import close, leave_file, open_places
from twisted_kong.telemetry.traffic import Traffic
from twisted_kong.workers import messages
from twisted_kong.workers.orphans import open_directory
from twisted_kong.workers.totals import Totals, changed_routes, documents

SCHEMA = Schema(("round-robin",), ("http",))
KEY = ("u", "a.test", "127.0.0.1", 80)
OTHERS = [CounterMetricFamily("kong_some", "Some.", 3), GaugeMetricFamily("kong_now", "Now.", 5)]
OTHER = ("u", "b.test", "127.0.0.2", 80)


def said(message: dict[str, Any]) -> dict[str, Any]:
    """A message as it comes out at the other end."""
    heard: dict[str, Any] = json.loads(json.dumps(message))
    return heard


def made(entity: type[Any], **data: object) -> Any:
    return SCHEMA.build(entity, data, now=1.0)


def everything(snapshot: Snapshot) -> dict[str, Any]:
    collections = ("services", "upstreams", "targets")
    return {name: {id: each.document() for id, each in snapshot.all(name).items()} for name in collections}


# -- the configuration -----------------------------------------------------------------------------------------


def test_a_configuration_arrives() -> None:
    """A snapshot comes out as it went in, and so does every change of it."""
    upstream = made(Upstream, name="u")
    target = made(Target, target="127.0.0.1:80", upstream={"id": upstream.id})
    first = EMPTY.with_change(Change((made(Service, name="s", host="h"), upstream, target)))
    there = messages.whole(said(messages.snapshot(first)))
    assert (everything(there), there.generation) == (everything(first), first.generation)
    second = first.with_change(Change((made(Service, name="t", host="h"),), (("upstreams", upstream.id),)))
    change = said(messages.change(first, second, diff(first, second)))
    then = messages.changed(there, change)
    assert then is not None
    assert (everything(then), then.generation) == (everything(second), second.generation)


def test_a_change_of_something_else_is_refused() -> None:
    """A change that does not begin where the configuration is at is not made."""
    second = EMPTY.with_change(Change((made(Service, name="t", host="h"),)))
    change = messages.change(EMPTY, second, diff(EMPTY, second))
    assert messages.changed(second, said(change)) is None


# -- health ----------------------------------------------------------------------------------------------------

outcomes = st.none() | st.builds(
    Outcome,
    failure=st.sampled_from([None, "tcp", "timeout"]),
    status=st.sampled_from([None, 200, 500]),
    latency=st.none() | st.floats(0, 10),
    error=st.none() | st.text(max_size=3),
)


@given(st.lists(st.tuples(st.sampled_from([KEY, OTHER]), outcomes), max_size=30))
def test_outcomes_arrive_in_order(seen: list[messages.Seen]) -> None:
    """As many as were seen come out, of whom and in the order they were seen; what judges them is as it was."""

    def judged(found: list[messages.Seen]) -> list[Any]:
        return [(key, None if outcome is None else outcome[:2]) for key, outcome in found]

    assert judged([*messages.outcomes(said(messages.seen(seen)))]) == judged(seen)


def test_many_alike_are_one_row() -> None:
    """What a worker sees a thousand times in a row takes no more room than once."""
    seen = [(KEY, Outcome(status=500, latency=number / 1000)) for number in range(1000)]
    assert len(json.dumps(messages.seen(seen))) < 200


def test_standings_arrive() -> None:
    """How peers stand comes out as it went in."""
    standings = {KEY: Standing(State.UNHEALTHY, True), OTHER: WELL}
    assert messages.told(said(messages.standings(standings))) == standings


def test_whoever_comes_is_what_was_told() -> None:
    """A peer that appears after it was told of stands as it was told; nothing is remembered of the well."""
    elsewhere = Elsewhere(lambda key, outcome: None, 2)
    elsewhere.told({KEY: Standing(State.UNHEALTHY), OTHER: Standing(State.MOSTLY_HEALTHY)})
    elsewhere.told({OTHER: WELL})
    ill, well = PeerHealth(), PeerHealth()
    elsewhere.recall(KEY, ill, 0.0)
    elsewhere.recall(OTHER, well, 0.0)
    assert (ill.counters.healthy, well.counters.healthy, len(elsewhere)) == (False, True, 1)


# -- sums ------------------------------------------------------------------------------------------------------


def counted(traffic: Traffic, told: dict[tuple[str, str], int], **counters: int) -> dict[str, Any]:
    """What a worker tells."""
    zeros = dict.fromkeys(("active", "accepted", "busy", "requests"), 0)
    return said(
        {
            "is": "counted",
            "asked": False,
            "counters": {**zeros, **counters},
            "routes": [*changed_routes(traffic, told)],
            "refused": traffic.refused.document(),
            "questions": [1, 0],
            "measured": documents(OTHERS),
            "memory": 1,
            "cpu": 0.5,
        }
    )


def text(traffic: Traffic) -> str:
    registry = CollectorRegistry()
    registry.register(traffic)
    return generate_latest(registry).decode()


def some_traffic(random: Random, *into: Traffic) -> None:
    """The same requests, counted by all of these."""
    for _ in range(random.randrange(30)):
        route = random.choice("abc")
        # times that binary fractions hold exactly, so that no sum depends on its order
        values = random.choice([200, 404, 500]), 0.5, random.choice([None, 0.25]), 1.5, 10, random.randrange(99)
        for traffic in into:
            traffic.of("s", route).record(*values)
    for kind in vars(into[0].refused):
        for reason in getattr(into[0].refused, kind):
            for traffic in into:
                getattr(traffic.refused, kind)[reason] += 1


@given(st.integers(0, 1000))
def test_sums_are_those_of_one_process(seed: int) -> None:
    """However traffic is spread over workers, whoever of them dies: told is what one process would have counted."""
    random, totals, whole = Random(seed), Totals(), Traffic()
    workers: dict[int, tuple[Traffic, dict[tuple[str, str], int]]] = {}
    for _ in range(20):
        pid = random.randrange(3)
        traffic, told = workers.setdefault(pid, (Traffic(), {}))
        some_traffic(random, traffic, whole)
        totals.heard(pid, counted(traffic, told, requests=7))
        if random.random() < 0.2:
            totals.gone(pid)
            del workers[pid]
    assert sorted(text(totals.copy()).splitlines()) == sorted(text(whole).splitlines())


def test_what_is_there_ends_with_a_worker() -> None:
    """Connections and requests there were go on counting when a worker has ended, those there are do not."""
    totals = Totals()
    for pid in (1, 2):
        totals.heard(pid, counted(Traffic(), {}, active=3, accepted=5, busy=2, requests=7))
    totals.gone(1)
    found = totals.counted()
    assert (found.active, found.accepted, found.busy, found.requests) == (3, 10, 2, 14)
    assert totals.questions() == (2, 0)
    told = {sample.name: sample.value for family in totals.measured() for sample in family.samples}
    assert told == {"kong_some_total": 6, "kong_now": 5}


# -- sockets ---------------------------------------------------------------------------------------------------


def test_every_worker_has_a_socket() -> None:
    """Of every address there is a socket for each worker, all on the same port."""
    places = open_places(Clock(), [Listener("127.0.0.1", 0), Listener("::1", 0)], 3)
    try:
        assert [(place.entry, place.slot) for place in places] == [
            (entry, slot) for entry in (0, 1) for slot in (0, 1, 2)
        ]
        assert len({place.socket.getsockname()[1] for place in places}) == 2
    finally:
        close(places)


def test_sockets_are_found_again() -> None:
    """Those that were there before are used, once each, whatever listens elsewhere is closed."""
    first = open_places(Clock(), [Listener("127.0.0.1", 0)], 2)
    port = first[0].socket.getsockname()[1]
    left = [place.socket.dup() for place in first]
    again = [place.socket.dup() for place in first]
    elsewhere = socket.create_server(("127.0.0.1", 0))
    places = open_places(Clock(), [Listener("127.0.0.1", port)], 3, [*left, *again, elsewhere])
    try:

        def inode(each: socket.socket) -> int:
            return os.fstat(each.fileno()).st_ino

        assert [inode(place.socket) for place in places[:2]] == [inode(place.socket) for place in first]
        assert [place.slot for place in places] == [0, 1, 2]
        assert elsewhere.fileno() == -1
    finally:
        close([*first, *places])


@pytest.mark.parametrize("endpoint", ["ssl:8443:privateKey=a", "stdio:", "tcp:8000"])
def test_what_cannot_be_shared(endpoint: str) -> None:
    """An endpoint whose port cannot be shared and taken over is refused, with what is expected instead."""
    with pytest.raises(StartupError, match=r"proxy_listen: expected addresses such as .*, systemd: or unix: .* got"):
        open_places(Clock(), [Listener("", 0, endpoint=endpoint)], 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc to shorten a path")
def test_long_paths(tmp_path: Path) -> None:
    """A prefix with a long path can hold sockets all the same."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with open_directory(deep) as short, socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(short / "1"))
    assert (deep / "1").is_socket()


def test_a_file_outlives_a_port(tmp_path: Path) -> None:
    """A worker that listens no more at a UNIX socket leaves its file to its siblings, and needs none itself."""
    for path in (tmp_path / "left", tmp_path / "gone"):
        clock = Clock()
        clock.addReader = clock.removeReader = clock.removeWriter = lambda _: None  # type: ignore[attr-defined]  # idle
        port = leave_file(Port(os.fsencode(path), Factory(), reactor=clock))
        port.startListening()
        if path.name == "gone":
            path.unlink()
        done: list[object] = []
        port.stopListening().addCallback(done.append)
        clock.advance(0)
        assert done == [None]
        assert not port.connected
    assert [path.name for path in tmp_path.iterdir()] == ["left"]


# -- the end ---------------------------------------------------------------------------------------------------


@contextmanager
def worker(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A worker process that has said hello over the other end of this socket, and is told nothing."""
    ours, theirs = socket.socketpair()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    file = str(theirs.fileno())
    process = subprocess.Popen([sys.executable, *command, file], env=environ, pass_fds=[theirs.fileno()])
    theirs.close()
    try:
        with closing(ours):
            ours.settimeout(PATIENCE)
            assert b"hello" in ours.recv(4096)
            yield process, ours
    finally:
        process.kill()
        process.wait()


def test_sent_away_before_it_is_anybody() -> None:
    """SIGTERM ends a worker that was not even told its settings."""
    with worker("-m", "twisted_kong.workers") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("stuck", ["worker.leave = threading.Event().wait", "worker._closers.append(Deferred)"])
def test_sent_away_while_it_is_stuck(stuck: str) -> None:
    """A worker that is to leave and cannot, for nothing has its turn, or something does not let go, is ended."""
    script = f"""
import socket, sys, threading
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted_kong.workers import worker as module
module.GRACE = 0.2
worker = module.WorkerProcess(reactor, socket.socket(fileno=int(sys.argv[1])))
module.handle_signals(reactor, worker)
{stuck}
reactor.run(installSignalHandlers=False)
"""
    with worker("-c", script) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == -signal.SIGALRM


def test_whatever_fails_it_ends() -> None:
    """A worker that is to leave ends by itself although what it lets go of fails."""
    script = """
import socket, sys
from twisted.internet import reactor
from twisted_kong.workers import worker as module
worker = module.WorkerProcess(reactor, socket.socket(fileno=int(sys.argv[1])))
module.handle_signals(reactor, worker)
worker._served = True
worker._closers.append(lambda: 1 / 0)
module.WorkerProcess.hurry = lambda self: None
reactor.run(installSignalHandlers=False)
"""
    with worker("-c", script) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("told", [["stop"], ["stop", "drain"], ["stop", "drain", "close"]])
def test_left_alone_while_it_stops(told: list[str]) -> None:
    """A worker that is told to stop ends although nobody is left to tell it how to go on."""
    with worker("-m", "twisted_kong.workers") as (process, ours):
        for word in told:
            data = json.dumps({"is": word}).encode()
            ours.sendall(len(data).to_bytes(4, "big") + data)
        ours.close()
        assert process.wait(PATIENCE) == 0
