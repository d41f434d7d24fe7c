"""When a peer is well: four counters and four states, after Kong. Pure: no time, no names, no I/O.

Probes and traffic share the counters of a peer and have thresholds of their own, its `Rules`. An outcome is *judged*
by the rules of its source: it adds to one counter, or it means nothing. What means nothing changes nothing, so that
a status in neither list can neither harm a peer nor keep it from recovering.

=========== ==================== ================= ============
counter     an outcome adds      it resets         at its limit
=========== ==================== ================= ============
SUCCESS     a good status        the three others  healthy
HTTP        a bad status         SUCCESS           unhealthy
TCP         refused, reset, …    SUCCESS           unhealthy
TIMEOUT     nothing in time      SUCCESS           unhealthy
=========== ==================== ================= ============
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from twisted_kong.model.records import ActiveChecks, HealthChecks, PassiveChecks
from twisted_kong.model.traffic import Outcome


class Counter(Enum):
    """What is counted of a peer; the values are Kong's words in the log."""

    SUCCESS = "SUCCESS"
    HTTP = "HTTP"
    TCP = "TCP"
    TIMEOUT = "TIMEOUT"


class State(Enum):
    """How a peer stands. It gets traffic in the first two; ``mostly`` means that something speaks against it."""

    HEALTHY = "healthy"
    MOSTLY_HEALTHY = "mostly_healthy"
    MOSTLY_UNHEALTHY = "mostly_unhealthy"
    UNHEALTHY = "unhealthy"


_WELL = frozenset([State.HEALTHY, State.MOSTLY_HEALTHY])


class Counters:
    """What is counted of one peer, and how it stands by that."""

    __slots__ = ("counts", "healthy", "state")

    def __init__(self) -> None:
        self.state = State.HEALTHY
        self.healthy = True
        """Whether the state is one of the two that get traffic."""
        self.counts: dict[Counter, int] = {}
        """The counters that are not zero."""

    def report(self, counter: Counter, limit: int) -> bool:
        """Something that adds to ``counter`` was seen, which is decisive at ``limit``. Whether it counted.

        A limit of 0 switches the rule off. Neither a success of whom nothing is held against nor a failure of whom
        nothing speaks for counts.
        """
        state, success = self.state, counter is Counter.SUCCESS
        if not limit or state is (State.HEALTHY if success else State.UNHEALTHY):
            return False
        count = self.counts.get(counter, 0) + 1
        if success:
            self.counts = {counter: count}
        else:
            self.counts.pop(Counter.SUCCESS, None)
            self.counts[counter] = count
        if count >= limit:
            self._stand(State.HEALTHY if success else State.UNHEALTHY)
        elif state is State.HEALTHY:
            self._stand(State.MOSTLY_HEALTHY)
        elif state is State.UNHEALTHY:
            self._stand(State.MOSTLY_UNHEALTHY)
        return True

    def reset(self, healthy: bool) -> None:
        """Somebody says how it is; what was counted is forgotten."""
        self.counts = {}
        self._stand(State.HEALTHY if healthy else State.UNHEALTHY)

    def restore(self, state: State, counts: Mapping[Counter, int]) -> None:
        """Be as it was known to be."""
        self.counts = dict(counts)
        self._stand(state)

    def _stand(self, state: State) -> None:
        self.state = state
        self.healthy = state in _WELL


@dataclass(frozen=True)
class Rules:
    """What the outcomes of one source mean: the limit of each counter that has one, and the statuses that count."""

    limits: Mapping[Counter, int]
    statuses: Mapping[int, Counter]
    telling: Mapping[State, frozenset[int]]
    """The statuses that could change anything about a peer in such a state. All others need not be reported."""

    def judge(self, outcome: Outcome) -> Counter | None:
        """The counter that ``outcome`` adds to, None where it means nothing."""
        counter = _FAILURES.get(outcome.failure) if outcome.failure else self._counter(outcome.status)
        return counter if counter in self.limits else None

    def _counter(self, status: int | None) -> Counter | None:
        return Counter.SUCCESS if status is None else self.statuses.get(status)


_FAILURES = {"tcp": Counter.TCP, "timeout": Counter.TIMEOUT, "http": Counter.HTTP}


def active_rules(checks: ActiveChecks) -> Rules:
    """The rules of probes. A status in both lists is good."""
    good, bad = checks.healthy, checks.unhealthy
    statuses = dict.fromkeys(bad.http_statuses, Counter.HTTP) | dict.fromkeys(good.http_statuses, Counter.SUCCESS)
    return _rules(good.successes, bad.http_failures, bad.tcp_failures, bad.timeouts, statuses)


def passive_rules(checks: PassiveChecks) -> Rules:
    """The rules of traffic. A 504 is a timeout, whoever waited (Kong); where timeouts do not count the lists decide."""
    good, bad = checks.healthy, checks.unhealthy
    statuses = dict.fromkeys(bad.http_statuses, Counter.HTTP) | dict.fromkeys(good.http_statuses, Counter.SUCCESS)
    if bad.timeouts:
        statuses[504] = Counter.TIMEOUT
    return _rules(good.successes, bad.http_failures, bad.tcp_failures, bad.timeouts, statuses)


def _rules(successes: int, http: int, tcp: int, timeouts: int, statuses: Mapping[int, Counter]) -> Rules:
    every = {Counter.SUCCESS: successes, Counter.HTTP: http, Counter.TCP: tcp, Counter.TIMEOUT: timeouts}
    limits = {counter: limit for counter, limit in every.items() if limit}
    counting = {status: counter for status, counter in statuses.items() if counter in limits}
    good = frozenset(status for status, counter in counting.items() if counter is Counter.SUCCESS)
    bad = frozenset(counting) - good
    telling = {
        State.HEALTHY: bad,
        State.MOSTLY_HEALTHY: bad | good,
        State.MOSTLY_UNHEALTHY: bad | good,
        State.UNHEALTHY: good,
    }
    return Rules(MappingProxyType(limits), MappingProxyType(counting), MappingProxyType(telling))


def checked(settings: HealthChecks) -> bool:
    """Whether anything can ever take a peer out: a probe that is sent, or a failure that is counted (Kong)."""
    active, failures = settings.active, settings.passive.unhealthy
    intervals = active.healthy.interval, active.unhealthy.interval
    return any((*intervals, failures.tcp_failures, failures.timeouts, failures.http_failures))
