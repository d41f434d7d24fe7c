"""What the process in charge and its workers say to each other, as JSON has it. Pure.

A message is an object; ``is`` tells what it says. Those that must have had their effect before somebody is answered are
acknowledged by the worker, which tells how many of them it has dealt with.

From whoever is in charge, acknowledged: ``snapshot``, ``change``, ``standings``, ``renew`` (other settings); and not:
``settings``, ``serve``, ``tell`` (the counters), ``rotate``, ``stop``, ``drain``, ``close``. From a worker: ``hello``,
``acknowledged``, ``again`` (the change does not fit what there is), ``seen``, ``counted``, ``logged``, ``leaving``,
``drained``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from twisted_kong import VERSION
from twisted_kong.health.counters import State
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import COLLECTIONS, Entity
from twisted_kong.model.snapshot import EMPTY, Difference, Snapshot
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.follower import Standing
from twisted_kong.runtime.remembered import PeerKey

Message = dict[str, Any]
Seen = tuple[PeerKey, Outcome | None]

SPOKEN = f"1 {VERSION}"
"""What both sides must speak: what may be said, and the program that understands it."""


# -- the configuration -----------------------------------------------------------------------------------------


def snapshot(whole: Snapshot) -> Message:
    """The whole configuration."""
    entities = (entity for collection in COLLECTIONS for entity in whole.all(collection).values())
    return {"is": "snapshot", "generation": whole.generation, "puts": _written(entities)}


def change(old: Snapshot, new: Snapshot, difference: Difference) -> Message:
    """What leads from ``old`` to ``new``."""
    order = [*COLLECTIONS]  # parents come before their children
    return {
        "is": "change",
        "base": old.generation,
        "generation": new.generation,
        "puts": _written(
            entity
            for collection in order
            for entity in (*difference[collection].added, *difference[collection].changed)
        ),
        "deletes": [
            [collection, entity.id] for collection in reversed(order) for entity in difference[collection].removed
        ],
    }


def whole(message: Message) -> Snapshot:
    """The configuration that a ``snapshot`` tells."""
    made = EMPTY.with_change(Change(_read(message["puts"])))
    made.generation = message["generation"]  # nobody else has seen it yet
    return made


def changed(old: Snapshot, message: Message) -> Snapshot | None:
    """The configuration after a ``change``; None where that does not fit.

    :raise twisted_kong.errors.AdminError: nor does this.
    """
    if message["base"] != old.generation:
        return None
    deletes = tuple((collection, id) for collection, id in message["deletes"])
    made = old.with_change(Change(_read(message["puts"]), deletes))
    made.generation = message["generation"]
    return made


def _written(entities: Iterable[Entity]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(entity.collection, entity.document()) for entity in entities]


def _read(rows: Sequence[Sequence[Any]]) -> tuple[Entity, ...]:
    return tuple(COLLECTIONS[collection].from_document(document) for collection, document in rows)


# -- health ----------------------------------------------------------------------------------------------------


def standings(told: Mapping[PeerKey, Standing]) -> Message:
    """How these peers stand."""
    return {"is": "standings", "peers": [[*key, each.state.value, each.on_trial] for key, each in told.items()]}


def told(message: Message) -> dict[PeerKey, Standing]:
    """How peers stand, as ``standings`` tells it."""
    return {
        (upstream, target, host, port): Standing(State(state), on_trial)
        for upstream, target, host, port, state, on_trial in message["peers"]
    }


def seen(found: Iterable[Seen]) -> Message:
    """What was seen of peers, in its order; what follows upon its like is only counted."""
    rows: list[list[Any]] = []
    last = None
    for one in found:
        alike = _alike(one)
        if alike == last:
            rows[-1][-1] += 1
        else:
            rows.append([*one[0], one[1], 1])
            last = alike
    return {"is": "seen", "peers": rows}


def _alike(one: Seen) -> tuple[PeerKey, Outcome | None]:
    """What is the same of two outcomes that count alike: all but how long they took, and in what words they failed."""
    key, outcome = one
    return key, None if outcome is None else outcome._replace(latency=None, error=None)


def outcomes(message: Message) -> Iterator[Seen]:
    """What was seen, one by one."""
    for upstream, target, host, port, outcome, count in message["peers"]:
        for _ in range(count):
            yield (upstream, target, host, port), None if outcome is None else Outcome(*outcome)
