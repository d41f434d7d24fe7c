"""What Kong has not: trials of those the traffic took out, lending when nobody is well, a budget of retries."""

from __future__ import annotations

from typing import Any

import pytest
from health_world import WELL, HealthWorld
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_kong.model.records import RetryBudget
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.budget import WINDOW, Budget

A, B, C = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"
REFUSED = Outcome("tcp")


def world_of(
    *addresses: str, recovery: dict[str, float] | None = None, **fields: Any
) -> tuple[HealthWorld, dict[str, Any]]:
    world = HealthWorld()
    passive = {"unhealthy": {"tcp_failures": 1, "http_failures": 1}}
    data = {"healthchecks": {"passive": {**passive, "recovery": recovery} if recovery else passive}, **fields}
    upstream = world.upstream(**data)
    for address in addresses:
        world.target(upstream, address)
    return world, data


# -- recovery --------------------------------------------------------------------------------------------------


def test_without() -> None:
    """Without the field whoever the traffic took out stays out."""
    world, _ = world_of(A)
    world.attempt(REFUSED)
    world.run(3600, step=60)
    assert world.attempt(WELL) is None
    assert not world.clock.getDelayedCalls()


def test_trials() -> None:
    """After the interval there is one request on trial; each that fails doubles the time to the next."""
    world, _ = world_of(A, recovery={"interval": 2, "limit": 7})
    world.attempt(REFUSED)
    for wait in (2, 4, 7, 7):
        world.run(wait - 0.1)
        assert world.attempt(WELL) is None
        world.run(0.1)
        assert world.attempt(REFUSED) == A
        assert world.attempt(WELL) is None
    world.run(7)
    assert world.attempt(WELL) == A
    assert world.healths() == {A: True}
    assert world.lent(3) == {A: 3}
    assert not world.clock.getDelayedCalls()


def test_one_at_a_time() -> None:
    """While a trial is under way its peer gets nothing else; others are not disturbed."""
    world, _ = world_of(A, B, recovery={"interval": 2})
    while world.attempt(REFUSED) != A:
        world.gateway.set_health(*by_hand(world, B))
    world.gateway.set_health(*by_hand(world, B))
    world.run(2)
    leases = [world.balancer().lease() for _ in range(6)]
    assert sorted(lease.peer.address for lease in leases if lease) == [A] + [B] * 5
    for lease in leases:
        assert lease is not None
        lease.release(WELL)
    assert world.lent(4) == {A: 2, B: 2}


def by_hand(world: HealthWorld, address: str) -> tuple[Any, Any, bool, None]:
    """What a person says to make it healthy."""
    (target,) = (one for one in world.snapshot.targets.values() if one.target == address)
    return target, world.snapshot.upstreams[target.upstream.id], True, None


def test_abandoned_trial() -> None:
    """A trial that teaches nothing, since its client went away, is followed by another."""
    world, _ = world_of(A, recovery={"interval": 2})
    world.attempt(REFUSED)
    world.run(2)
    assert world.attempt(Outcome()) == A
    assert world.attempt(WELL) is None
    world.run(2)
    assert world.attempt(WELL) == A
    assert world.healths() == {A: True}


@pytest.mark.parametrize("status", [500, 200, 404])
def test_verdict(status: int) -> None:
    """An answer acquits unless its status counts as a failure."""
    world, _ = world_of(A, recovery={"interval": 1})
    world.attempt(REFUSED)
    world.run(1)
    world.attempt(Outcome(None, status))
    assert world.healths() == {A: status != 500}


def test_relapse() -> None:
    """Who falls ill again soon after a trial waits longer than the first time; much later it does not."""
    world, _ = world_of(A, recovery={"interval": 4})
    world.attempt(REFUSED)
    world.run(4)
    assert world.attempt(WELL) == A
    world.run(1)
    world.attempt(REFUSED)
    world.run(7.9)
    assert world.attempt(WELL) is None
    world.run(0.1)
    assert world.attempt(WELL) == A
    world.run(60)
    world.attempt(REFUSED)
    world.run(4)
    assert world.attempt(WELL) == A


def test_by_a_person() -> None:
    """Whoever a person set unhealthy gets no trial."""
    world, _ = world_of(A, recovery={"interval": 1})
    target, upstream, _, _ = by_hand(world, A)
    world.gateway.set_health(target, upstream, False, None)
    world.run(60)
    assert world.attempt(WELL) is None


def test_turned_on_later() -> None:
    """Who is out already when the field is set gets trials; unset again, there are none, and no timers."""
    world, data = world_of(A)
    world.attempt(REFUSED)
    data["healthchecks"]["passive"]["recovery"] = {"interval": 3}
    world.upstream(**data)
    assert len(world.clock.getDelayedCalls()) == 1
    del data["healthchecks"]["passive"]["recovery"]
    world.upstream(**data)
    assert not world.clock.getDelayedCalls()
    data["healthchecks"]["passive"]["recovery"] = {"interval": 3}
    world.upstream(**data)
    world.run(3)
    assert world.attempt(WELL) == A
    world.attempt(REFUSED)
    world.delete(*world.snapshot.upstreams.values())
    assert not world.clock.getDelayedCalls()


# -- nobody is well --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "lent"), [(None, False), ("fail_closed", False), ("fail_open", True)])
def test_nobody_is_well(policy: str | None, lent: bool) -> None:
    """With ``fail_open`` everybody is lent when nobody is well, and only the well as soon as there is one."""
    world, _ = world_of(A, B, on_all_unhealthy=policy)
    while any(world.healths().values()):
        assert world.attempt(REFUSED)
    assert set(world.lent(4)) == ({A, B} if lent else {None})
    report = world.gateway.report(next(iter(world.snapshot.upstreams.values())))
    assert report is not None
    assert not report.healthy
    world.gateway.set_health(*by_hand(world, B))
    assert world.lent(4) == {B: 4}


# -- retries ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 100), st.integers(0, 5), st.lists(st.sampled_from(["request", "retry", "wait"]), max_size=60))
def test_budget(percent: int, minimum: int, events: list[str]) -> None:
    """In no window are there more retries than its share of the requests, or the minimum."""
    clock = Clock()
    budget = Budget(RetryBudget(percent=percent, minimum=minimum), clock.seconds)
    requests: list[float] = []
    retries: list[float] = []
    for event in events:
        now = clock.seconds()
        match event:
            case "request":
                budget.request()
                requests.append(now)
            case "wait":
                clock.advance(WINDOW / 10)
            case _:
                recent = [sum(now - WINDOW < when for when in each) for each in (requests, retries)]
                allowed = recent[1] < max(minimum, recent[0] * percent / 100)
                assert budget.allows() is allowed
                if allowed:
                    retries.append(now)


def test_budget_of_an_upstream() -> None:
    """Requests are counted, their further attempts are not; where the field is unset retries are free."""
    world, data = world_of(A, retry_budget={"percent": 50, "minimum": 0})
    for _ in range(10):
        lease = world.balancer().lease()
        assert lease is not None
        lease.release(WELL)
        again = world.balancer().lease((lease.peer,))
        assert again is not None
        again.release(WELL)
    assert [world.balancer().may_retry() for _ in range(7)] == [True] * 5 + [False] * 2
    world.upstream(**{**data, "slots": 50})
    assert not world.balancer().may_retry()
    del data["retry_budget"]
    world.upstream(**data)
    assert world.balancer().may_retry()


# -- bounds ----------------------------------------------------------------------------------------------------


def waits(world: HealthWorld) -> Any:
    """What a request has to wait for, None where it need not."""
    before = world.balancer().before
    return None if before is None else before()


def test_bound() -> None:
    """Nobody carries more than the bound; who has room again is lent again."""
    world, _ = world_of(A, B, max_connections=2)
    leases = [world.balancer().lease() for _ in range(5)]
    assert sorted(lease.peer.address for lease in leases if lease) == [A, A, B, B]
    assert leases[4] is None
    assert leases[1] is not None
    leases[1].release(WELL)
    again = world.balancer().lease()
    assert again is not None
    assert again.peer is leases[1].peer


def test_line() -> None:
    """Requests wait in their order while nobody has room: as many as the line holds, for as long as they may."""
    world, _ = world_of(A, max_connections=1, queue={"size": 2, "timeout": 3})
    lease = world.balancer().lease()
    assert lease is not None
    served: list[str] = []
    for name in ("first", "second", "third"):
        waiting = waits(world)
        waiting.addCallback(lambda _, name=name: served.append(name)).addErrback(
            lambda failure, name=name: served.append(f"{name}: {failure.value.why}")
        )
    assert served == ["third: queue-full"]
    lease.release(WELL)
    assert served == ["third: queue-full", "first"]
    world.run(3)
    assert served[2:] == ["second: waited-too-long"]
    assert waits(world) is None
    assert not world.clock.getDelayedCalls()


def test_cancelled() -> None:
    """Who goes away while waiting leaves its place to others, and no timer."""
    world, _ = world_of(A, max_connections=1, queue={"size": 1, "timeout": 3})
    lease = world.balancer().lease()
    assert lease is not None
    gone = waits(world).addErrback(lambda _: None)
    gone.cancel()
    assert not world.clock.getDelayedCalls()
    served: list[object] = []
    waits(world).addCallback(served.append)
    lease.release(WELL)
    assert served == [None]


def test_without_line() -> None:
    """Without a line who finds no room is refused at once."""
    world, _ = world_of(A, max_connections=1)
    assert world.balancer().lease() is not None
    failures: list[Any] = []
    waits(world).addErrback(failures.append)
    assert [failure.value.why for failure in failures] == ["queue-full"]


def test_bound_lifted() -> None:
    """When the bound goes everybody who waits may try; another change leaves bound and line alone."""
    world, data = world_of(A, max_connections=1, queue={"timeout": 60})
    assert world.balancer().lease() is not None
    served: list[object] = []
    for _ in range(2):
        waits(world).addCallback(served.append)
    world.upstream(**{**data, "slots": 50})
    assert (served, world.balancer().lease()) == ([], None)
    world.upstream(healthchecks=data["healthchecks"])
    assert served == [None, None]
    assert waits(world) is None
    assert world.balancer().lease() is not None
    assert not world.clock.getDelayedCalls()


def test_bound_below_the_load() -> None:
    """A bound that is less than what somebody carries already makes others wait, and lets them on in time."""
    world, data = world_of(A)
    leases = [world.balancer().lease() for _ in range(3)]
    world.upstream(**data, max_connections=2, queue={"timeout": 60})
    served: list[object] = []
    waits(world).addCallback(served.append)
    for lease, expected in zip(leases, ([], [None], [None]), strict=True):
        assert lease is not None
        lease.release(WELL)
        assert served == expected
    assert waits(world) is None
    assert world.balancer().lease() is not None
    assert not world.clock.getDelayedCalls()


def test_help_comes() -> None:
    """A target that joins while all others are full serves whoever waits, and whoever comes."""
    world, data = world_of(A, max_connections=1, queue={"timeout": 60})
    assert world.balancer().lease() is not None
    served: list[object] = []
    waits(world).addCallback(served.append)
    world.target(world.upstream(**data), B)
    assert served == [None]
    assert waits(world) is None
    assert world.attempt(WELL) == B


def test_help_recovers() -> None:
    """So does one that is well again; and where it falls ill, requests wait for those who are full."""
    world, data = world_of(A, B, max_connections=1, queue={"timeout": 60})
    upstream = world.upstream(**data)
    target = world.target(upstream, B)
    lease = world.balancer().lease()
    while lease is not None and lease.peer.address != A:
        lease.release(WELL)
        lease = world.balancer().lease()
    world.gateway.set_health(target, upstream, False, None)
    served: list[object] = []
    waits(world).addCallback(served.append)
    world.gateway.set_health(target, upstream, True, None)
    assert served == [None]
    assert waits(world) is None
    assert world.attempt(WELL) == B


def test_nobody_left_to_wait_for() -> None:
    """Nobody waits for the end of requests to targets that are gone."""
    world, data = world_of(A, max_connections=1, queue={"timeout": 60})
    upstream = world.upstream(**data)
    assert world.balancer().lease() is not None
    served: list[object] = []
    waits(world).addCallback(served.append)
    world.delete(world.target(upstream, A))
    assert served == [None]
    assert waits(world) is None
    assert not world.clock.getDelayedCalls()


def test_recovery_turned_off() -> None:
    """Who was about to be tried when trials were turned off is not lent after all."""
    world, data = world_of(A, B, recovery={"interval": 2, "limit": 8})
    ill = world.attempt(REFUSED)
    world.run(3)
    del data["healthchecks"]["passive"]["recovery"]
    world.upstream(**data)
    assert ill not in world.lent(4)


def test_kept_out_by_a_person() -> None:
    """Who is said to be unhealthy gets no trial, be it out by the traffic already, be its trial due."""
    world, data = world_of(A, recovery={"interval": 2, "limit": 8})
    upstream = world.upstream(**data)
    target = world.target(upstream, A)
    world.attempt(REFUSED)
    world.run(3)
    world.gateway.set_health(target, upstream, False, None)
    assert world.attempt(WELL) is None
    world.upstream(**data, slots=50)
    world.run(20)
    assert world.attempt(WELL) is None
    assert not world.clock.getDelayedCalls()


def test_wait_cut_short() -> None:
    """Whose patience ends in line is told that it waited too long."""
    world, _ = world_of(A, max_connections=1, queue={"size": 1, "timeout": 3})
    assert world.balancer().lease() is not None
    failures: list[Any] = []
    waiting = waits(world).addTimeout(1, world.clock).addErrback(failures.append)
    world.run(1)
    assert waiting.called
    assert [failure.value.why for failure in failures] == ["waited-too-long"]
    assert not world.clock.getDelayedCalls()


def test_why_nobody_has_room() -> None:
    """That all carry as many as they may is a reason of its own, whether health is checked or not."""
    for checks in ({}, {"passive": {"unhealthy": {"tcp_failures": 1}}}):
        world = HealthWorld()
        world.target(world.upstream(max_connections=1, healthchecks=checks), A)
        assert world.balancer().lease() is not None
        assert world.balancer().lease() is None
        assert world.balancer().nobody(retry=True).why == "all-busy"


def test_another_bound() -> None:
    """Whoever waits when the bound or its line changes goes on waiting, unless there is room now."""
    world, data = world_of(A, max_connections=2, queue={"timeout": 60})
    assert all(world.balancer().lease() for _ in range(2))
    served: list[object] = []
    waits(world).addCallback(served.append)
    world.upstream(**{**data, "max_connections": 1, "queue": {"timeout": 30}})
    assert served == []
    assert world.balancer().before is not None
    world.upstream(**{**data, "max_connections": 3})
    assert served == [None]
    assert waits(world) is None
