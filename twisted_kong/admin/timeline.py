"""How targets came to be what they are: ``…/health/timeline``. Ours, not Kong's.

Times are seconds since the epoch, latencies are seconds. A target has an entry for each of its addresses: how it is
and since when, what is counted of it, the evidence that counted since its last transition, and its transitions, the
newest last, each with the evidence that led to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from twisted_kong.admin.answers import Answer
from twisted_kong.admin.configuration import Configuration
from twisted_kong.admin.paging import page_by_position
from twisted_kong.admin.request import Call
from twisted_kong.admin.targets import TargetScope
from twisted_kong.health.counters import Counter
from twisted_kong.model.entities import Target, Upstream
from twisted_kong.runtime.health import Evidence, PeerHealth, Transition
from twisted_kong.runtime.reports import History

_STATES = {True: "HEALTHY", False: "UNHEALTHY"}


class Histories(Protocol):
    """What is asked of the runtime."""

    def histories(self, upstream: Upstream) -> Sequence[History]:
        """What is known of the health of an upstream's targets, and how it came about."""


class Timeline(TargetScope):
    """The targets, the newest first, with the history of each."""

    def __init__(self, configuration: Configuration, histories: Histories, node_id: str) -> None:
        super().__init__(configuration, Target, "upstream")
        self._histories = histories
        self._node_id = node_id

    async def get(self, call: Call) -> Answer:
        view = self.configuration.view()
        upstream = cast(Upstream, self.parent(view, call))
        known = {history.target: history for history in self._histories.histories(upstream)}

        def row(target: Target) -> dict[str, Any]:
            history = known.get(target.id)
            addresses = () if history is None else history.addresses
            return {
                "id": target.id,
                "target": target.target,
                "addresses": [{"ip": host, "port": port, **_told(health)} for (host, port), health in addresses],
            }

        return page_by_position(self.newest_first(view, call), call, row, node_id=self._node_id)


def _told(health: PeerHealth) -> dict[str, Any]:
    counters = health.counters
    return {
        "health": _STATES[counters.healthy],
        "state": counters.state.value,
        "since": health.since,
        "counters": _counts(counters.counts),
        "evidence": [_evidence(each) for each in health.evidence or ()],
        "transitions": [_transition(each) for each in health.transitions or ()],
    }


def _transition(transition: Transition) -> dict[str, Any]:
    return {
        "at": transition.at,
        "health": _STATES[transition.healthy],
        "by": transition.source.value,
        "counters": _counts(transition.counts),
        "evidence": [_evidence(each) for each in transition.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    outcome = evidence.outcome
    return {
        "at": evidence.at,
        "by": evidence.source.value,
        "counter": None if evidence.counter is None else evidence.counter.value,
        "count": evidence.count,
        "limit": evidence.limit,
        "status": outcome.status,
        "latency": outcome.latency,
        "error": outcome.error,
    }


def _counts(counts: Mapping[Counter, int]) -> dict[str, int]:
    """Every counter, by its word in the log."""
    return {counter.value: counts.get(counter, 0) for counter in Counter}
