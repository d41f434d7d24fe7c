"""The half of a gateway that is in charge: store, health, and the Admin and Status APIs.

It has the configuration alive, probes its peers and judges them; who serves clients by it is the other half, of which
it knows what `twisted_kong.serving.IServing` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from prometheus_client import ProcessCollector
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool

from twisted_kong import VERSION
from twisted_kong.admin.node import Node
from twisted_kong.admin.request import AdminSite
from twisted_kong.admin.site import make_admin_site, make_status_site
from twisted_kong.certified import over_tls, status_context
from twisted_kong.expiry import Expiries
from twisted_kong.guarded import check_doors, listen_for_admin, make_doorkeeper, prepare_callers
from twisted_kong.interfaces import IConfigStore
from twisted_kong.listening import at_once, listen
from twisted_kong.model.changes import Change
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.prefix import node_id
from twisted_kong.registry import Registry
from twisted_kong.renewal import Prepared, Renewals
from twisted_kong.runtime.checkers import guarded_checkers
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.guard import Guards
from twisted_kong.runtime.healthfile import HealthFile
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.probetls import ProbeTls
from twisted_kong.serving import IServing, named, stopped
from twisted_kong.settings import Settings
from twisted_kong.store.declarative import NOTHING_LOADED, Loader, text_of
from twisted_kong.store.memory import MemoryStore
from twisted_kong.telemetry.certificates import CertificateMetrics
from twisted_kong.telemetry.health import TargetHealth
from twisted_kong.telemetry.measurements import Asked, Measurements
from twisted_kong.telemetry.names import NameMetrics
from twisted_kong.telemetry.node import Garbage, NodeMetrics
from twisted_kong.tls import client_defaults
from twisted_kong.workers.store import StoreInForce

T = TypeVar("T")


class Control:
    """What is in charge of one gateway.

    :raise StartupError: something cannot be read, or made.
    """

    def __init__(self, reactor: Any, settings: Settings, registry: Registry) -> None:
        self._reactor = reactor
        self._settings = settings
        self._registry = registry
        check_doors(settings)
        self.doorkeeper = make_doorkeeper(settings, reactor)
        guards = Guards(registry.components, reactor.seconds)
        self.names = named(reactor, settings, registry, guards)
        self._serving: IServing | None = None
        self.store: IConfigStore = StoreInForce(open_store(settings, reactor), self._settled)
        store = self.store
        self._schema = make_schema(registry)
        self.loader: Loader | None = None
        if settings.database == "off":
            self.loader = Loader(store, self._schema, now=time.time, aside=self.aside)
            at_once(Deferred.fromCoroutine(load_declared(self.loader, settings)))
        checkers = guarded_checkers(registry.checkers, guards)
        tls = ProbeTls(store.snapshot, client_defaults(settings))
        self.renewals = Renewals()
        self.renewals.add(lambda settings: Prepared(partial(tls.renew, client_defaults(settings))))
        self.renewals.add(partial(prepare_callers, self.doorkeeper))
        self.renewals.follow(self._renew)
        self.monitor = Monitor(reactor, Random(), checkers, self.names, tls)
        fallback = registry.fallback(settings.algorithm_fallback)
        self.gateway = Gateway(registry.algorithms, settings.router_flavor, self.names, guards, fallback, self.monitor)
        self._health_file = HealthFile(reactor, settings.prefix / "health.json", self.gateway.peers, self.aside)
        self._health_file.open()
        self.gateway.apply(EMPTY, store.snapshot())
        store.subscribe(self.gateway.apply)
        self._expiries = Expiries(reactor, store.snapshot, time.time)
        self.renewals.add(self._expiries.prepare)
        store.subscribe(self._expiries.changed)
        self._node: Node
        self._admin: AdminSite
        self.ports: list[IListeningPort] = []
        self._status_ports: list[IListeningPort] = []

    # -- the APIs ----------------------------------------------------------------------------------------------

    def tell_of(self, serving: IServing, unready: Callable[[], str | None], more: Sequence[Collector] = ()) -> None:
        """Make the APIs.

        ``unready`` says why there should be no traffic for now, or None; ``more`` is measured than what others tell.
        """
        settings, names, gateway = self._settings, self.names, self.gateway
        self._serving = serving
        id = node_id(settings.prefix)
        collectors: list[Collector] = [
            NodeMetrics(id, VERSION, self.connections),
            NameMetrics(names.states, self._questions),
            CertificateMetrics(self._expiries.found),
            ProcessCollector(registry=None),
            Garbage(),
            Asked(serving.measured),
            *more,
        ]
        if settings.upstream_health_metrics:
            collectors.append(TargetHealth(gateway.target_states))
        self._node = Node(
            id,
            settings,
            self.connections,
            lambda: self.loader.hash if self.loader else NOTHING_LOADED,
            self._registry.components,
            Measurements(serving.traffic, collectors, self.aside, serving.gather),
            unready,
            names,
            self.store.reachable,
            serving.processes,
            serving.gather,
            serving.settled,
        )
        self._admin = make_admin_site(
            self.store,
            self._schema,
            self._node,
            gateway,
            self.loader,
            now=time.time,
            reactor=self._reactor,
            doorkeeper=self.doorkeeper,
        )

    def listen(self) -> None:
        """Answer at the Status API, and be about to at the Admin API.

        :raise StartupError: that is not possible where the settings say.
        """
        reactor, settings = self._reactor, self._settings
        for port in listen_for_admin(reactor, self._admin, settings, self.renewals):
            port.stopReading()  # type: ignore[attr-defined]  # it is one of Twisted's ports
            self.ports.append(port)
        if settings.status_listen:
            status = make_status_site(self._node, reactor)
            self.renewals.follow(status.renew_headers)
            secured = over_tls(status, settings.status_listen, settings, self.renewals, status_context)
            for listener in settings.status_listen:
                port = listen(reactor, listener, secured if listener.ssl else status, "status_listen")
                self._status_ports.append(port)
        self._expiries.prepare(settings).commit()

    def answer(self) -> None:
        """Answer at the Admin API as well: what is written there comes into force."""
        for port in self.ports:
            port.startReading()  # type: ignore[attr-defined]  # it is one of Twisted's ports

    def connections(self) -> Mapping[str, int]:
        """The counters of ``GET /status``."""
        assert self._serving is not None
        counted = self._serving.counted()
        accepted = self._admin.accepted + counted.accepted
        return {
            "connections_active": counted.active,
            "connections_reading": 0,
            "connections_writing": counted.busy,
            "connections_waiting": max(counted.active - counted.busy, 0),
            "connections_accepted": accepted,
            "connections_handled": accepted,
            "total_requests": counted.requests + self._admin.requests,
        }

    def _questions(self) -> tuple[int, int]:
        assert self._serving is not None
        asked, failed = self._serving.questions()
        return self.names.questions + asked, self.names.failures + failed

    async def _settled(self) -> None:
        if self._serving is not None:
            await self._serving.settled()

    # -- the configuration -------------------------------------------------------------------------------------

    def _renew(self, settings: Settings) -> None:
        self._settings = settings
        self._admin.renew(settings)
        self._node.renew(settings)

    async def reload(self, settings: Settings) -> None:
        """Read the configuration anew, from where these settings say.

        :raise StartupError: it cannot be read; the one there is stays in force.
        """
        if self.loader is None:
            await self.store.apply(Change())  # the store notices what others wrote
        else:
            await load_declared(self.loader, settings)

    def aside(self, work: Callable[[], T]) -> Deferred[T]:
        """``work`` in a thread, or before the reactor runs at once: nobody waits yet."""
        if not self._reactor.running:
            return maybeDeferred(work)
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)

    # -- the end -----------------------------------------------------------------------------------------------

    async def stop_listening(self) -> None:
        """Take no more orders, and probe nobody any more. The Status API goes on telling how things are."""
        await gatherResults([Deferred.fromCoroutine(stopped(port)) for port in self.ports])
        self.monitor.close()
        self._health_file.close()

    async def stop_telling(self) -> None:
        """Nor does the Status API any more."""
        await gatherResults([Deferred.fromCoroutine(stopped(port)) for port in self._status_ports])

    async def close(self) -> None:
        """Let go of everything."""
        self._expiries.close()
        self.names.close()
        await self.store.close()


def open_store(settings: Settings, reactor: Any, now: Callable[[], float] = time.time) -> IConfigStore:
    """The store that ``database`` names."""
    if settings.database == "off":
        return MemoryStore()
    from twisted_kong.store.sql import SqlStore  # SQLAlchemy is slow to import, and nobody needs it without a database

    return SqlStore.open(database_file(settings), reactor=reactor, now=now)


def database_file(settings: Settings) -> Path:
    """Where the database is, if there is one."""
    return settings.prefix / "kong.sqlite"


def make_schema(registry: Registry) -> Schema:
    """What entities may say where these components are installed."""
    return Schema(registry.algorithms, registry.checkers)


async def load_declared(loader: Loader, settings: Settings) -> None:
    """Make the document that the settings name the configuration, if they name one.

    :raise StartupError: it cannot be loaded.
    """
    if settings.declarative_config is not None:
        path = str(settings.declarative_config)
        text = text_of(settings.declarative_config, "declarative_config")
        await loader.load_named(text, path, path)
    elif settings.declarative_config_string is not None:
        await loader.load_named(settings.declarative_config_string, None, "declarative_config_string")
