"""The health of one peer, and how it came about: counters, the evidence that counted, the transitions so far.

Plain bookkeeping, without Twisted: what becomes of a transition is decided in `twisted_kong.runtime.upstreams`. A peer
of which nothing was ever counted carries next to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from twisted_kong.health.counters import Counter, Counters, State
from twisted_kong.model.traffic import Outcome

EVIDENCE = 8
"""Pieces of evidence that are kept of a peer: the last ones."""
TRANSITIONS = 32
"""Transitions that are kept of a peer: the last ones."""


class Source(Enum):
    """Who or what says how a peer is."""

    PROBE = "probe"
    TRAFFIC = "traffic"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Evidence:
    """An outcome that counted, or what a person said (then ``counter`` is None). ``at`` is seconds since the epoch."""

    at: float
    source: Source
    counter: Counter | None
    count: int
    limit: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Transition:
    """A peer became ``healthy`` or not, by what the last of ``evidence`` says; ``counts`` as it did."""

    at: float
    healthy: bool
    source: Source
    counts: Mapping[Counter, int]
    evidence: tuple[Evidence, ...]


class PeerHealth:
    """What is known of the health of one peer."""

    __slots__ = ("counters", "evidence", "transitions")

    def __init__(self) -> None:
        self.counters = Counters()
        self.evidence: deque[Evidence] | None = None
        self.transitions: deque[Transition] | None = None

    @property
    def since(self) -> float | None:
        """When it became what it is, None where it has never been anything else."""
        return self.transitions[-1].at if self.transitions else None

    def report(self, now: float, source: Source, counter: Counter, limit: int, outcome: Outcome) -> Evidence | None:
        """``outcome`` adds to ``counter``; None where that does not count."""
        before = self.counters.healthy
        if not self.counters.report(counter, limit):
            return None
        found = Evidence(now, source, counter, self.counters.counts[counter], limit, outcome)
        self._keep(found, before)
        return found

    def reset(self, now: float, healthy: bool) -> None:
        """A person says so."""
        before = self.counters.healthy
        self.counters.reset(healthy)
        self._keep(Evidence(now, Source.PERSON, None, 0, 0, Outcome()), before)

    def acquit(self, now: float, outcome: Outcome) -> None:
        """A request on trial went well."""
        before = self.counters.healthy
        self.counters.reset(True)
        self._keep(Evidence(now, Source.TRAFFIC, Counter.SUCCESS, 1, 1, outcome), before)

    def restore(self, state: State, counts: Mapping[Counter, int], transitions: tuple[Transition, ...]) -> None:
        """Be as it was known to be."""
        self.counters.restore(state, counts)
        self.transitions = deque(transitions, TRANSITIONS) if transitions else None

    def _keep(self, evidence: Evidence, before: bool) -> None:
        if self.evidence is None:
            self.evidence = deque(maxlen=EVIDENCE)
        self.evidence.append(evidence)
        healthy = self.counters.healthy
        if healthy is not before:
            if self.transitions is None:
                self.transitions = deque(maxlen=TRANSITIONS)
            counts = dict(self.counters.counts)
            self.transitions.append(Transition(evidence.at, healthy, evidence.source, counts, tuple(self.evidence)))
            self.evidence.clear()
