"""What is known of names: ``/dns/{name}`` tells how one was found out, ``/status/dns`` counts for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted_kong.admin.answers import Answer, NotFound
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint
from twisted_kong.runtime.names import Name, Names
from twisted_kong.runtime.records import Entry


def endpoints(names: Names | None) -> Iterator[tuple[str, Endpoint]]:
    """The paths of names."""
    yield "/dns/{name}", DnsName(names)
    yield "/status/dns", DnsStatus(names)


class DnsName(Endpoint):
    """``/dns/{name}``: what was asked, of whom, what came, and until when it holds. Of names in use alone: asks nobody.

    Times are seconds from now; one that has passed is negative.
    """

    def __init__(self, names: Names | None) -> None:
        self._names = names

    async def get(self, call: Call) -> Answer:
        name = None if self._names is None else self._names.look(call.keys["name"])
        if self._names is None or name is None:
            raise NotFound
        return Answer(200, _told(name, self._names.seconds()))


class DnsStatus(Endpoint):
    """``/status/dns``: counts by name and type, in the shape of Kong's newer client."""

    def __init__(self, names: Names | None) -> None:
        self._names = names

    async def get(self, call: Call) -> Answer:
        stats = {} if self._names is None else {_key(name): _counted(name) for name in self._names.all()}
        return Answer(200, {"worker": {"id": 0, "count": 1}, "stats": stats})


def _told(name: Name, now: float) -> dict[str, Any]:
    memory, record, error = name.memory, name.record, name.memory.error
    answer = memory.answer
    failed = error is not None
    return {
        "name": name.text,
        "state": name.state(now),
        "type": None if record is None else record.type,
        "addresses": [] if record is None else [_address(entry) for entry in record.entries],
        "ttl": None if answer is None else answer.ttl,
        "expires_in": None if answer is None or memory.virtual else round(memory.expires - now, 3),
        "serves_for": None if answer is None else round(memory.ends - now, 3),
        "error": None if error is None else error.reason,
        "error_believed_for": round(memory.believed - now, 3) if failed else None,
        "asked": [
            {"name": asked, "type": type, "server": server, "result": result}
            for asked, type, server, result in (
                error.asked if error is not None else () if answer is None else answer.asked
            )
        ],
        "questions": name.questions,
        "kept": name.kept,
        "hosts": [_told(host, now) for host in name.hosts],
    }


def _address(entry: Entry) -> dict[str, Any]:
    return {"ip": entry.host, "port": entry.port, "weight": entry.weight, "host": entry.name}


def _key(name: Name) -> str:
    return f"{name.text}|{'A/AAAA' if name.record is None else name.record.type}"


def _counted(name: Name) -> dict[str, int]:
    counted = {
        "runs": name.runs,
        "miss": name.misses,
        "hit_lru": name.runs - name.misses - name.stale,
        "stale": name.stale,
        "query": name.questions,
        "query_succ": name.questions - sum(name.failures.values()),
        "query_last_time": round(name.lasted * 1000),
    }
    return counted | {f"query_fail:{reason}": count for reason, count in name.failures.items()}
