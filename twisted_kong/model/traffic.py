"""The values that components and the core exchange about traffic: what is asked of them, what they are told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from twisted_kong.interfaces import IPeer


class Pick(NamedTuple):
    """What an algorithm needs to know of a request: its hash key, if any, and the peers already tried for it."""

    key: bytes | None = None
    tried: Collection[IPeer] = ()


class Outcome(NamedTuple):
    """What an attempt taught us about a peer.

    ``failure`` is None, ``"tcp"`` (refused, reset, closed, not HTTP), ``"timeout"`` or ``"dns"`` (no address was
    found, which says nothing of the peer itself); of a probe also ``"http"``, an answer that makes no sense. ``status``
    is the status of the answer, None without one; ``latency`` the seconds from the attempt's pick to the head of its
    answer; ``error`` what a person is told of a failure.

    Without any of them nothing was learnt: the attempt was given up for reasons that are not the peer's.
    """

    failure: str | None = None
    status: int | None = None
    latency: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """One place a name stands for.

    ``host`` is an IP address, or a name that the core resolves in turn, as SRV records have it. ``port`` and ``weight``
    are None where the record names none.
    """

    host: str
    port: int | None = None
    weight: int | None = None


class Asked(NamedTuple):
    """One question to a name server, for people: what was asked, of whom, and what came of it."""

    name: str
    type: str
    server: str
    result: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The addresses of a name, and for how many seconds they hold: 0 for this once.

    ``type`` tells of which records they are, empty where nobody knows; ``asked`` how they were found out.
    """

    addresses: tuple[Address, ...]
    ttl: float
    type: str = ""
    asked: tuple[Asked, ...] = ()
