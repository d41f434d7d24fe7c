"""The values that components and the core exchange about traffic: what is asked of them, what they are told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from twisted_kong.interfaces import IPeer


@dataclass(frozen=True, slots=True)
class Pick:
    """What an algorithm needs to know of a request: its hash key, if any, and the peers already tried for it."""

    key: bytes | None = None
    tried: Collection[IPeer] = ()


class Outcome(NamedTuple):
    """What an attempt taught us about a peer.

    ``failure`` is None, ``"tcp"`` (refused, reset, closed, not HTTP) or ``"timeout"``; ``status`` the status of
    the answer, None without one; ``latency`` the seconds from the pick to the head of the answer.
    """

    failure: str | None = None
    status: int | None = None
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """One address a name stands for; ``port`` is None where the record names none."""

    host: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The addresses of a name, and for how many seconds they hold."""

    addresses: tuple[Address, ...]
    ttl: float
