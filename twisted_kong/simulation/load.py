"""A load, described: how many requests, with which keys, how targets answer, and what changes meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from twisted_kong.errors import GatewayError

Seconds = Annotated[float, Field(ge=0)]


def _addressed(text: str) -> str:
    """:raise ValueError: that is no ``host:port``."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"expected host:port, got {text!r}")
    return text


class BadLoad(GatewayError):
    """The description of a load is not one."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Keys(_Part):
    """The keys that requests are hashed by: ``count`` different ones.

    With ``skew`` 0 all are as frequent; with s the n-th is asked for 1/n^s as often as the first (Zipf).
    """

    count: Annotated[int, Field(ge=0, le=10_000_000)] = 10_000
    skew: Annotated[float, Field(ge=0, le=5)] = 0.0


class Behaviour(_Part):
    """How a target answers.

    ``latency`` are the seconds it takes on average; ``jitter`` is the part of them that is exponentially distributed.
    ``workers`` of it work at a time, and what comes beyond has to wait; 0 is any number. ``failures`` is the part of
    its requests that fail, ``how`` tells in which way: ``refuse`` connections, answer ``error`` 500 at once, or be
    ``silent`` until the time is out.
    """

    latency: Seconds = 0.05
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.5
    workers: Annotated[int, Field(ge=0)] = 0
    failures: Annotated[float, Field(ge=0, le=1)] = 0.0
    how: Literal["refuse", "error", "silent"] = "refuse"


class Event(_Part):
    """A change at ``at`` seconds: a target gets another ``weight``, is ``healthy`` or not, ``behaves`` otherwise.

    A target that is not there yet joins, with its ``weight``; ``leaves`` takes it away.
    """

    at: Seconds
    target: Annotated[str, AfterValidator(_addressed)]
    weight: Annotated[int, Field(ge=0, le=65535)] | None = None
    healthy: bool | None = None
    behaves: Behaviour | None = None
    leaves: bool = False


class Load(_Part):
    """What is asked for: ``rate`` requests a second for ``duration`` seconds.

    ``retries`` and ``timeout`` are what a service says; ``targets`` are by ``host:port``, ``default`` for all others.
    """

    rate: Annotated[float, Field(gt=0, le=1_000_000)] = 100.0
    duration: Annotated[float, Field(gt=0, le=1_000_000)] = 60.0
    keys: Keys = Keys()
    retries: Annotated[int, Field(ge=0, le=32767)] = 5
    timeout: Annotated[float, Field(gt=0)] = 60.0
    default: Behaviour = Behaviour()
    targets: Mapping[str, Behaviour] = {}
    changes: tuple[Event, ...] = ()


def read_load(text: str, **given: Any) -> Load:
    """The load of a YAML or JSON document; what is ``given`` and not None takes the place of what it says.

    :raise BadLoad: it describes none; every fault is named.
    """
    try:
        tree = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as error:
        raise BadLoad(f"the load is no YAML: {error}") from None
    if not isinstance(tree, dict):
        raise BadLoad(f"the load: expected names and values, got {type(tree).__name__}")
    tree.update((name, value) for name, value in given.items() if value is not None)
    try:
        return Load.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise BadLoad(f"the load: {faults}") from None
