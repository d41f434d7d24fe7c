"""What is remembered of health: of those who left, and over a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from health_world import WELL, HealthWorld
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from twisted_kong.health.counters import State
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.healthfile import HEARTBEAT, MOMENT, HealthFile
from twisted_kong.runtime.remembered import EXPIRES

A, B, C = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"
CHECKS = {"passive": {"healthy": {"successes": 5}, "unhealthy": {"tcp_failures": 3}}}


def configured(document: object = None, today: float = 1_700_000_000.0) -> HealthWorld:
    """A gateway with three targets, which remembers ``document``."""
    world = HealthWorld()
    world.today = today
    if document is not None:
        world.gateway.peers.load(document)
    upstream = world.upstream(healthchecks=CHECKS)
    for address in (A, B, C):
        world.target(upstream, address)
    return world


def ailing() -> HealthWorld:
    """One of three is out, one has failed once."""
    world = configured()
    upstream = world.upstream(healthchecks=CHECKS)
    world.gateway.set_health(world.target(upstream, A), upstream, False, None)
    while world.attempt(Outcome("tcp")) != B:
        world.gateway.set_health(world.target(upstream, C), upstream, True, None)
    return world


def states(world: HealthWorld) -> dict[str, State]:
    return {address: peer.health.counters.state for address, peer in world.peers().items()}


KNOWN = {A: State.UNHEALTHY, B: State.MOSTLY_HEALTHY, C: State.HEALTHY}


@pytest.mark.parametrize(("away", "remembered"), [(EXPIRES - 10, True), (EXPIRES + 10, False)])
def test_gone_and_back(away: float, remembered: bool) -> None:
    """An address that a record loses and has again soon is what it was; later it is as new."""
    world = HealthWorld()
    world.ttl = 1
    world.names["a.test"] = both = ["10.0.0.1", "10.0.0.2"]
    upstream = world.upstream(healthchecks=CHECKS)
    target = world.target(upstream, "a.test:80")
    world.gateway.set_health(target, upstream, False, ("10.0.0.1", 80))
    assert world.healths() == {A: False, B: True}
    world.names["a.test"] = ["10.0.0.2"]
    world.run(5)
    assert world.healths() == {B: True}
    world.run(away, step=1)
    world.names["a.test"] = both
    world.run(5)
    assert world.healths() == {A: not remembered, B: True}
    assert (A in world.lent(9)) is not remembered


@pytest.mark.parametrize(("down", "remembered"), [(0, True), (EXPIRES - 1, True), (EXPIRES + 1, False)])
def test_restart(down: float, remembered: bool) -> None:
    """After a restart that took less than five minutes peers are what they were, counters and all."""
    before = ailing()
    document = json.loads(json.dumps(before.gateway.peers.document()))
    after = configured(document, before.today + before.clock.seconds() + down)
    assert states(after) == (KNOWN if remembered else dict.fromkeys(KNOWN, State.HEALTHY))
    if remembered:
        assert after.peers()[B].health.counters.counts == before.peers()[B].health.counters.counts
        assert after.peers()[A].health.since == before.peers()[A].health.since
        assert set(after.lent(10)) == {B, C}


def test_restart_by_itself() -> None:
    """Whoever is not configured after a restart is remembered no longer for another one."""
    first = ailing()
    document = first.gateway.peers.document()
    second = HealthWorld()  # it has not been configured yet
    second.today = first.today + 200
    second.gateway.peers.load(document)
    third = configured(second.gateway.peers.document(), first.today + 400)
    assert states(third) == dict.fromkeys(KNOWN, State.HEALTHY)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values | st.builds(lambda value: {"saved": 1.0, "peers": value}, json_values))
def test_nonsense(document: Any) -> None:
    """Whatever is read, the gateway starts."""
    assert states(configured(document)) == dict.fromkeys(KNOWN, State.HEALTHY)


class Disk:
    """A file that is written in another thread, when the test says so."""

    def __init__(self, path: Path, world: HealthWorld) -> None:
        self.path = path
        self.clock = Clock()
        self.writes = 0
        self.file = HealthFile(self.clock, path, world.gateway.peers, self._aside)

    def _aside(self, work: Any) -> Deferred[None]:
        self.writes += 1
        work()
        return succeed(None)


def test_file(tmp_path: Path) -> None:
    """A change is in the file a moment later; the file is kept young while there is anything in it."""
    world = configured()
    disk = Disk(tmp_path / "health.json", world)
    disk.file.open()
    upstream = world.upstream(healthchecks=CHECKS)
    target = world.target(upstream, A)
    disk.clock.advance(2 * HEARTBEAT)
    assert not disk.path.exists()
    for _ in range(5):
        world.gateway.set_health(target, upstream, False, None)
    disk.clock.advance(MOMENT)
    assert disk.writes == 1
    disk.clock.pump([HEARTBEAT] * 3)
    assert disk.writes == 4
    other = configured()
    Disk(disk.path, other).file.open()
    assert [row["host"] for row in json.loads(disk.path.read_text())["peers"]] == ["10.0.0.1"]
    world.gateway.set_health(target, upstream, True, None)
    disk.clock.pump([HEARTBEAT] * 3)
    assert (disk.writes, json.loads(disk.path.read_text())["peers"]) == (5, [])
    world.gateway.set_health(target, upstream, False, None)
    disk.file.close()
    assert len(json.loads(disk.path.read_text())["peers"]) == 1
    assert not disk.clock.getDelayedCalls()
    assert [path.name for path in tmp_path.iterdir()] == ["health.json"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100000, "\xff"])
def test_broken_file(tmp_path: Path, text: str) -> None:
    """A file that cannot be read is told of, and is no hindrance."""
    path = tmp_path / "health.json"
    path.write_text(text, encoding="latin-1")
    with capturedLogs() as events:
        Disk(path, configured()).file.open()
    assert len(events) == 1


def test_directory_that_is_gone(tmp_path: Path) -> None:
    """Neither is one that cannot be written."""
    world = ailing()
    disk = Disk(tmp_path / "gone" / "health.json", world)
    disk.file.open()
    world.attempt(WELL)
    with capturedLogs() as events:
        disk.file.close()
    assert len(events) == 1


def test_never_quite_gone() -> None:
    """What was known of somebody who left, came back before the last of its requests had ended, and recovered is not
    held against it when it leaves again."""
    world = HealthWorld()
    peers, key = world.gateway.peers, ("u", "a.test", "10.0.0.1", 80)
    peer = peers.get("u", "10.0.0.1", 80, 1, target="a.test")
    assert peer.identity == key
    peer.health.reset(1.0, False)
    peers.left(peer)
    peers.get("u", "10.0.0.1", 80, 1, target="a.test").health.reset(2.0, True)
    assert not peers.document()["peers"]
    peers.left(peer)
    del peer
    assert peers.get("u", "10.0.0.1", 80, 1, target="a.test").healthy
