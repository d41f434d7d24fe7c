"""Counters and states: when a peer falls ill, and when it recovers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.health.counters import Counter, Counters, Rules, State, active_rules, checked, passive_rules
from twisted_kong.model.records import ActiveChecks, HealthChecks, PassiveChecks
from twisted_kong.model.traffic import Outcome

FAILURES = (Counter.HTTP, Counter.TCP, Counter.TIMEOUT)
reports = st.lists(st.tuples(st.sampled_from(Counter), st.integers(0, 4)), max_size=40)


class Plain:
    """The rules as they are told to people: a mark for ill, a mark for doubt, four numbers."""

    def __init__(self) -> None:
        self.ill = False
        self.doubt = False
        self.numbers = dict.fromkeys(Counter, 0)

    def report(self, counter: Counter, limit: int) -> None:
        success = counter is Counter.SUCCESS
        if limit == 0 or (success != self.ill and not self.doubt):
            return
        self.numbers[counter] += 1
        for other in FAILURES if success else (Counter.SUCCESS,):
            self.numbers[other] = 0
        if self.numbers[counter] >= limit:
            self.ill, self.doubt = not success, False
        elif success == self.ill:
            self.doubt = True

    @property
    def state(self) -> State:
        if self.ill:
            return State.MOSTLY_UNHEALTHY if self.doubt else State.UNHEALTHY
        return State.MOSTLY_HEALTHY if self.doubt else State.HEALTHY


@given(reports)
def test_as_told(made: list[tuple[Counter, int]]) -> None:
    """Whatever is reported, state and counters are those of the rules as people tell them."""
    counters, plain = Counters(), Plain()
    for counter, limit in made:
        before = (counters.state, dict(counters.counts))
        counted = counters.report(counter, limit)
        plain.report(counter, limit)
        assert counters.state is plain.state
        assert {each: counters.counts.get(each, 0) for each in Counter} == plain.numbers
        assert counters.healthy is not plain.ill
        assert counted or (counters.state, counters.counts) == before


@given(reports, st.integers(1, 5))
def test_recovers(made: list[tuple[Counter, int]], limit: int) -> None:
    """Whatever came before, so many successes in a row make anybody healthy."""
    counters = Counters()
    for counter, other in made:
        counters.report(counter, other)
    for _ in range(limit):
        counters.report(Counter.SUCCESS, limit)
    assert counters.healthy


@given(reports, st.sampled_from(FAILURES), st.integers(1, 5))
def test_falls_ill(made: list[tuple[Counter, int]], failure: Counter, limit: int) -> None:
    """Whatever came before, so many failures of one kind in a row make anybody unhealthy."""
    counters = Counters()
    for counter, other in made:
        counters.report(counter, other)
    for _ in range(limit):
        counters.report(failure, limit)
    assert not counters.healthy


def test_kinds_are_not_summed() -> None:
    """One refused connection and one bad status are not two of anything."""
    counters = Counters()
    counters.report(Counter.TCP, 2)
    counters.report(Counter.HTTP, 2)
    assert counters.state is State.MOSTLY_HEALTHY


@pytest.mark.parametrize("healthy", [True, False])
@given(reports)
def test_reset(healthy: bool, made: list[tuple[Counter, int]]) -> None:
    """What a person says holds, and nothing of before is counted any more."""
    counters = Counters()
    for counter, limit in made:
        counters.report(counter, limit)
    counters.reset(healthy)
    assert counters.state is (State.HEALTHY if healthy else State.UNHEALTHY)
    assert not counters.counts


# -- rules -----------------------------------------------------------------------------------------------------


def active(**parts: Any) -> Rules:
    return active_rules(ActiveChecks.model_validate(parts))


def passive(**parts: Any) -> Rules:
    return passive_rules(PassiveChecks.model_validate(parts))


ALL = {"http_failures": 1, "tcp_failures": 1, "timeouts": 1}


@pytest.mark.parametrize(
    ("outcome", "counter"),
    [
        (Outcome(None, 200), Counter.SUCCESS),
        (Outcome(None, 302), Counter.SUCCESS),
        (Outcome(None, 500), Counter.HTTP),
        (Outcome(None, 301), None),
        (Outcome(None, 403), None),
        (Outcome("http"), Counter.HTTP),
        (Outcome("tcp"), Counter.TCP),
        (Outcome("tcp", 200), Counter.TCP),
        (Outcome("timeout"), Counter.TIMEOUT),
        (Outcome(), Counter.SUCCESS),
    ],
)
def test_probes(outcome: Outcome, counter: Counter | None) -> None:
    """What the outcome of a probe adds to by default."""
    assert active(healthy={"successes": 1}, unhealthy=ALL).judge(outcome) is counter


@pytest.mark.parametrize(
    ("outcome", "counter"),
    [
        (Outcome(None, 301), Counter.SUCCESS),
        (Outcome(None, 429), Counter.HTTP),
        (Outcome(None, 404), None),
        (Outcome(None, 502), None),
        (Outcome(None, 504), Counter.TIMEOUT),
        (Outcome("dns"), None),
    ],
)
def test_traffic(outcome: Outcome, counter: Counter | None) -> None:
    """What the outcome of an attempt adds to by default; a name without an address is not its bearer's fault."""
    assert passive(healthy={"successes": 1}, unhealthy=ALL).judge(outcome) is counter


def test_gateway_timeout_in_a_list() -> None:
    """Where timeouts do not count a 504 is a status like any other."""
    assert passive(unhealthy={"http_failures": 1, "http_statuses": [504]}).judge(Outcome(None, 504)) is Counter.HTTP


@given(st.integers(100, 999), st.sampled_from(["", "tcp", "timeout", "http", "dns"]))
def test_switched_off(status: int, failure: str) -> None:
    """Without limits nothing means anything."""
    assert active().judge(Outcome(failure or None, status)) is None
    assert passive().judge(Outcome(failure or None, status)) is None


@given(st.integers(100, 999), reports, st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_telling(status: int, made: list[tuple[Counter, int]], good: int, bad: int, timeouts: int) -> None:
    """A status that is not telling in a state would change nothing if it were reported."""
    rules = passive(healthy={"successes": good}, unhealthy={"http_failures": bad, "timeouts": timeouts})
    counters = Counters()
    for counter, limit in made:
        counters.report(counter, limit)
    telling = status in rules.telling[counters.state]
    judged = rules.judge(Outcome(None, status))
    assert telling == (judged is not None and counters.report(judged, rules.limits[judged]))


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({}, False),
        ({"active": {"healthy": {"interval": 0.5}}}, True),
        ({"passive": {"unhealthy": {"timeouts": 1}}}, True),
        ({"passive": {"healthy": {"successes": 1}}}, False),
    ],
)
def test_checked(settings: Any, on: bool) -> None:
    """Only what could take a peer out turns checks on."""
    assert checked(HealthChecks.model_validate(settings)) is on
