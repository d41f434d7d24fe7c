"""What a balancer does to the peers of an algorithm, and what it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from twisted_kong.interfaces import IAlgorithm, IPeer
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.testing import PlainPeer

OK = Outcome(None, 200, 0.01)


def open_request(algorithm: IAlgorithm, key: bytes | None = None, tried: Sequence[IPeer] = ()) -> PlainPeer | None:
    """One more request, under way."""
    peer = algorithm.pick(Pick(key, tried))
    if peer is not None:
        peer.leases += 1
    return peer  # type: ignore[return-value]  # what came out is what the tests put in


def end_request(algorithm: IAlgorithm, peer: IPeer, outcome: Outcome = OK) -> None:
    """One less."""
    peer.leases -= 1
    algorithm.done(peer, outcome)


def request(algorithm: IAlgorithm, key: bytes | None = None, outcome: Outcome = OK) -> PlainPeer:
    """A request that ends before the next begins."""
    peer = open_request(algorithm, key)
    assert peer is not None
    end_request(algorithm, peer, outcome)
    return peer


def events(work: Callable[[], object]) -> int:
    """How many lines of Python ``work`` runs, and how many functions it calls."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event in ("line", "call")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
