"""What the gateway tells of itself: ``/``, ``/status``, ``/components``, ``/endpoints``, ``/cluster``.

Clients look here before anything else: what they take the gateway for, and whether it is alive, is decided by these
documents. Kong's names stay where they mean nothing here (there is no Lua); their values are then ours.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime

from twisted_kong import KONG_VERSION, VERSION
from twisted_kong.admin.answers import Answer, Refused
from twisted_kong.admin.configuration import Configuration
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import WITH_BODY, Endpoint
from twisted_kong.model.access import PLUGINS
from twisted_kong.model.components import Component
from twisted_kong.model.entities import Plugin
from twisted_kong.runtime.names import Names
from twisted_kong.settings import Listener, Settings, TrustedPeers
from twisted_kong.settings.declared import DECLARED
from twisted_kong.telemetry.measurements import Measurements, at_hand
from twisted_kong.telemetry.node import resident_memory

UNITS = {"b": 0, "k": 10, "m": 20, "g": 30}
"""By the letter in a query, the power of two."""

AVAILABLE = {"key-auth": {"version": KONG_VERSION, "priority": 1250}}
"""The plugins there are, with Kong's numbers: the higher the priority, the earlier in a request."""


async def _always() -> bool:
    return True


@dataclass
class Node:
    """What ``/`` and ``/status`` are told by whoever runs the gateway.

    ``connections`` counts, by Kong's names, the connections and requests of all listeners. ``configuration_hash`` is
    asked only without a database: 32 hexadecimal digits, zeros while nothing was loaded. ``components`` are all that
    are installed, at work or not; ``metrics`` is all that is measured. ``unready``
    says why the gateway should get no traffic for now, or None. ``names`` are the names in use; ``reachable`` finds out
    whether the configuration's database is there. ``processes`` are those that serve clients, by their ids, and the
    bytes of memory that each occupies; ``gather`` brings up to date what is told of them, and when ``settled`` answers
    they know by themselves what they have been told.
    """

    id: str
    settings: Settings
    connections: Callable[[], Mapping[str, int]]
    configuration_hash: Callable[[], str] = lambda: "0" * 32
    components: Sequence[Component] = ()
    metrics: Measurements = field(default_factory=Measurements)
    unready: Callable[[], str | None] = lambda: None
    names: Names | None = None
    reachable: Callable[[], Awaitable[bool]] = _always
    processes: Callable[[], Mapping[int, int]] = lambda: {os.getpid(): resident_memory()}
    gather: Callable[[], Awaitable[None]] = at_hand
    settled: Callable[[], Awaitable[None]] = at_hand

    def renew(self, settings: Settings) -> None:
        """These are in force from now on."""
        self.settings = settings


class Root(Endpoint):
    """``/``: name, version, settings, plugins."""

    def __init__(self, node: Node, configuration: Configuration, reactor: IReactorTime) -> None:
        self._node = node
        self._configuration = configuration
        self._reactor = reactor
        self._fixed = {
            "tagline": "Welcome to kong",
            "version": VERSION,
            "edition": "community",
            "hostname": socket.gethostname(),
            "node_id": node.id,
            "lua_version": f"python {platform.python_version()}",
        }

    async def get(self, call: Call) -> Answer:
        timers = {"running": 0, "pending": len(self._reactor.getDelayedCalls())}
        at_work = self._configuration.view().snapshot.all(Plugin.collection).values()
        names = sorted({cast(Plugin, plugin).name for plugin in at_work})
        plugins = {"available_on_server": AVAILABLE, "enabled_in_cluster": names}
        told = {
            "configuration": describe(self._node.settings),
            "plugins": plugins,
            "timers": timers,
            "pids": {"master": os.getpid(), "workers": [*self._node.processes()]},
        }
        return Answer(200, {**self._fixed, **told})


class Status(Endpoint):
    """``/status``: counters, memory, and whether the configuration is there."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def get(self, call: Call) -> Answer:
        """``unit`` is that of sizes, ``scale`` the number of their decimals; bytes are numbers, others text.

        :raise Refused: neither can be understood.
        """
        size = _printer(call.query.get("unit", "m"), call.query.get("scale", "2"))
        await self._node.gather()
        workers = [{"pid": pid, "http_allocated_gc": size(bytes)} for pid, bytes in self._node.processes().items()]
        status: dict[str, Any] = {
            "server": dict(self._node.connections()),
            "memory": {"lua_shared_dicts": {}, "workers_lua_vms": workers},
        }
        if self._node.settings.database == "off":
            return Answer(200, {**status, "configuration_hash": self._node.configuration_hash()})
        return Answer(200, {**status, "database": {"reachable": await self._node.reachable()}})


class Ready(Endpoint):
    """``/status/ready``: whether the gateway should get traffic, for whoever spreads it over several of them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def get(self, call: Call) -> Answer:
        unready = self._node.unready()
        return Answer(200, {"message": "ready"}) if unready is None else Answer(503, {"message": unready})


class Components(Endpoint):
    """``/components``: the algorithms, resolvers and so on that are installed, and where each comes from."""

    def __init__(self, node: Node) -> None:
        self._found = [asdict(component) for component in node.components]

    async def get(self, call: Call) -> Answer:
        return Answer(200, {"data": self._found, "next": None})


class Cluster(Endpoint):
    """``/cluster`` of Kong 0.10: the nodes that know one another. There is one."""

    with_body = (*WITH_BODY, "DELETE")

    def __init__(self, node: Node) -> None:
        self._name = f"{socket.gethostname()}_{node.id}"
        self._address = ", ".join(map(str, node.settings.proxy_listen))

    async def get(self, call: Call) -> Answer:
        """The nodes with the ``status`` asked for, if any is: alive, leaving, left or failed."""
        itself = {"name": self._name, "address": self._address, "status": "alive"}
        found = [itself] if call.query.get("status", "alive") == "alive" else []
        return Answer(200, {"data": found, "total": len(found)})

    async def post(self, call: Call) -> Answer:
        """A node shall join. Nothing comes of it: nodes share what they know through their database alone."""
        return _noted(call, "address")

    async def delete(self, call: Call) -> Answer:
        """A node shall leave, and as far as we know it has."""
        return _noted(call, "name")


class Robots(Endpoint):
    """``/robots.txt``: nothing here is for crawlers."""

    async def get(self, call: Call) -> Answer:
        return Answer(200, "User-agent: *\nDisallow: /")


class Endpoints(Endpoint):
    """``/endpoints``: every path there is, in the order of their segments."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = sorted(paths, key=lambda path: path.split("/"))

    async def get(self, call: Call) -> Answer:
        return Answer(200, {"data": self._paths})


def _noted(call: Call, argument: str) -> Answer:
    """A wish that needs an ``argument``, in the body or in the query."""
    if not (call.document.tree.get(argument) or call.query.get(argument)):
        raise Refused(400, f'Missing node "{argument}"')
    return Answer(200)


def _printer(unit: Any, scale: Any) -> Callable[[int], int | str]:
    """How sizes are printed."""
    power = UNITS.get(unit.lower()) if isinstance(unit, str) else None
    if power is None:
        raise Refused(400, f"invalid unit '{unit}' (expected 'k/K', 'm/M', or 'g/G')")
    if not (isinstance(scale, str) and re.fullmatch("[0-9]|1[0-5]", scale)):
        raise Refused(400, f"invalid scale '{scale}' (expected a whole number from 0 to 15)")
    if power == 0:
        return lambda size: size
    return lambda size: f"{size / (1 << power):.{int(scale)}f} {unit.upper()}iB"


def describe(settings: Settings) -> dict[str, Any]:
    """The settings as ``/`` tells them, with what Kong adds to its own."""
    return {name: _shown(name, getattr(settings, name)) for name in DECLARED} | {
        "role": "traditional",
        "admin_listeners": [_listener(listener) for listener in settings.admin_listen],
        "proxy_listeners": [_listener(listener) for listener in settings.proxy_listen],
        "admin_gui_listeners": [],
        "plugins": [*PLUGINS],
        "loaded_plugins": dict.fromkeys(PLUGINS, True),
    }


def _shown(name: str, value: Any) -> Any:
    """A setting's value, or Kong's stars for one that is a secret."""
    return "******" if DECLARED[name].secret and value is not None else _plain(value)


def _plain(value: Any) -> Any:
    """A setting's value as JSON has it; what JSON has no type for is told as one would write it."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, TrustedPeers):
        return [*map(str, value.networks), *(["unix:"] if value.unix else [])]
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return str(value)


def _listener(listener: Listener) -> dict[str, Any]:
    """A listener in its parts."""
    parts = ("port", "ssl", "http2", "proxy_protocol", "reuseport", "backlog")
    return {"ip": listener.host, **{part: getattr(listener, part) for part in parts}, "listener": str(listener)}
