"""``twistd kong-gateway``: the only place that wires, and the order in which things start and stop.

Start: settings, components, store, configuration in force, then the listeners, the proxy's before the Admin API's, so
that whoever can ask the Admin API finds the rest at work. All of it happens before the reactor runs; whatever is
wrong ends the process with one line. Stop: no new connections, requests under way are answered, then the store
is closed. At SIGHUP the configuration is read anew, from the declarative file or from the database.
"""

from __future__ import annotations

import gc
import os
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, TypeVar

from prometheus_client import ProcessCollector
from prometheus_client.registry import Collector
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python import usage

from twisted_kong import VERSION
from twisted_kong.admin.node import Node
from twisted_kong.admin.request import AdminSite
from twisted_kong.admin.site import make_admin_site, make_status_site
from twisted_kong.certified import over_tls, server_names
from twisted_kong.errors import StartupError
from twisted_kong.interfaces import IConfigStore
from twisted_kong.listening import at_once, listen
from twisted_kong.model.changes import Change
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.prefix import PrefixLock, make_prefix, node_id
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.listeners import Door
from twisted_kong.proxy.recording import Recorder
from twisted_kong.registry import Registry
from twisted_kong.runtime.checkers import guarded_checkers
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.guard import Guards
from twisted_kong.runtime.healthfile import HealthFile
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.names import Names, make_names
from twisted_kong.runtime.probetls import ProbeTls
from twisted_kong.runtime.resolvers import make_resolver
from twisted_kong.settings import Settings, load
from twisted_kong.store.declarative import NOTHING_LOADED, Loader, text_of
from twisted_kong.store.memory import MemoryStore
from twisted_kong.systemd import Supervisor
from twisted_kong.tasks import detach
from twisted_kong.telemetry.accesslog import FORMATS, AccessLog
from twisted_kong.telemetry.health import TargetHealth
from twisted_kong.telemetry.measurements import Measurements
from twisted_kong.telemetry.names import NameMetrics
from twisted_kong.telemetry.node import NodeMetrics
from twisted_kong.telemetry.traffic import Traffic
from twisted_kong.terminal import has_terminal
from twisted_kong.tls import client_defaults

T = TypeVar("T")

log = Logger()


LAST_CALL = 0.25
"""Seconds in which a client whose connection is idle when the gateway stops may still ask, and is answered: it may have
asked already, and would otherwise see its connection end in place of an answer."""


class Options(usage.Options):
    """The command line. Everything else is a setting of the file or of the environment."""

    synopsis = "[options]"
    longdesc = (
        "A gateway that speaks Kong's Admin API. Settings are Kong's: from --conf, then KONG_* of the environment,"
        " then these options; see etc/kong.conf."
    )
    optParameters = [
        ["conf", "c", None, "Settings file in kong.conf syntax."],
        ["prefix", "p", None, "Directory of everything the gateway keeps."],
        ["proxy-listen", None, None, "Where the proxy listens, e.g. 0.0.0.0:8000."],
        ["admin-listen", None, None, "Where the Admin API listens, e.g. 127.0.0.1:8001."],
        ["database", None, None, "sqlite, or off for a declarative configuration."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self.settings: Settings
        self.given: dict[str, str] = {}
        self.given_by_set: dict[str, str] = {}

    def opt_set(self, text: str) -> None:
        """Any setting: --set name=value; may be repeated."""
        name, equals, value = text.partition("=")
        if not equals:
            raise usage.UsageError(f"--set: expected name=value, got {text!r}")
        self.given_by_set[name.strip()] = value.strip()

    def opt_plugin_dir(self, directory: str) -> None:
        """A directory of drop-in components; may be repeated. In the place of the setting plugin_dirs."""
        self.given["plugin_dirs"] = ",".join(filter(None, (self.given.get("plugin_dirs"), directory)))

    def parseArgs(self, *words: str) -> None:
        """There are options alone."""
        if words:
            raise usage.UsageError(f"expected options alone, got {shlex.join(words)!r}")

    def postOptions(self) -> None:
        """Turn everything into settings, or end with one line."""
        for option in ("prefix", "proxy-listen", "admin-listen", "database"):
            if self[option] is not None:
                self.given[option.replace("-", "_")] = self[option]
        with one_line():
            self.settings = load(self["conf"], os.environ, self.given, self.given_by_set)


class one_line:  # noqa: N801  # reads as what it does
    """Ends the process with the one line of a `StartupError`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StartupError):
            raise SystemExit(f"kong-gateway: {error}")


def makeService(options: Options) -> Service:
    """The service of ``options``, for twistd."""
    return GatewayService(the_reactor(), options.settings)


def the_reactor() -> Any:
    """The reactor ``twistd --reactor`` has installed; without one our own, where the system has epoll."""
    if "twisted.internet.reactor" not in sys.modules and hasattr(select, "epoll"):
        from twisted_kong.reactor import install

        install()
    from twisted.internet import reactor

    return reactor


class GatewayService(Service):
    """A whole gateway."""

    name = "kong-gateway"

    def __init__(self, reactor: Any, settings: Settings, registry: Registry | None = None) -> None:
        self._reactor = reactor
        self._settings = settings
        self._registry = registry
        self._lock: PrefixLock | None = None
        self._store: IConfigStore
        self._loader: Loader | None = None
        self._access_log: AccessLog | None = None
        self._supervisor = Supervisor(os.environ, reactor)
        self._unready: str | None = "starting"
        self._terminal = False
        self._before: Any = signal.SIG_DFL
        self._monitor: Monitor
        self._health_file: HealthFile
        self._core: ProxyCore
        self._names: Names
        self._admin: AdminSite
        self._doors: list[Door] = []
        self._ports: list[IListeningPort] = []
        self._status_ports: list[IListeningPort] = []

    def startService(self) -> None:
        """Start everything.

        :raise SystemExit: something is wrong; its text is one line.
        """
        with one_line():
            make_prefix(self._settings.prefix)
            self._lock = PrefixLock(self._settings.prefix)
            try:
                self._start(self._registry or Registry.installed(self._settings.plugin_dirs))
            except BaseException:
                self._lock.release()
                raise
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's

    def _start(self, registry: Registry) -> None:
        settings = self._settings
        reactor = self._reactor
        guards = Guards(registry.components, reactor.seconds)
        fallback = registry.fallback(settings.algorithm_fallback)
        factory = registry.resolver(settings.dns_resolver_plugin)
        resolver = make_resolver(factory, reactor, settings, guards.of("resolver", factory.name))
        self._names = names = make_names(reactor, settings, resolver)
        self._store = store = open_store(settings, reactor)
        schema = make_schema(registry)
        if settings.database == "off":
            self._loader = Loader(store, schema, now=time.time, aside=self._aside)
            at_once(Deferred.fromCoroutine(load_declared(self._loader, settings)))
        checkers = guarded_checkers(registry.checkers, guards)
        self._monitor = Monitor(reactor, Random(), checkers, names, ProbeTls(store.snapshot, client_defaults(settings)))
        gateway = Gateway(registry.algorithms, settings.router_flavor, names, guards, fallback, self._monitor)
        self._health_file = HealthFile(reactor, settings.prefix / "health.json", gateway.peers, self._aside)
        self._health_file.open()
        gateway.apply(EMPTY, store.snapshot())
        store.subscribe(gateway.apply)
        traffic = Traffic()
        self._access_log = open_access_log(settings, reactor)
        self._core = ProxyCore(reactor, settings, gateway, names, Random(), Recorder(traffic, self._access_log))
        id = node_id(settings.prefix)
        collectors: list[Collector] = [
            NodeMetrics(id, VERSION, self._connections),
            NameMetrics(names.states, lambda: (names.questions, names.failures)),
            ProcessCollector(registry=None),
        ]
        if settings.upstream_health_metrics:
            collectors.append(TargetHealth(gateway.target_states))
        node = Node(
            id,
            settings,
            self._connections,
            self._configuration_hash,
            registry.components,
            Measurements(traffic, collectors, self._aside),
            lambda: self._unready,
            names,
            store.reachable,
        )
        self._admin = make_admin_site(store, schema, node, gateway, self._loader, now=time.time, reactor=reactor)
        self._before = signal.signal(signal.SIGHUP, self._hung_up) or signal.SIG_DFL
        signal.signal(signal.SIGUSR1, self._rotated)
        signal.signal(signal.SIGQUIT, self._quit)
        self._terminal = self._before != signal.SIG_IGN and has_terminal()
        shown = server_names(gateway, settings)
        for listener in settings.proxy_listen:
            door = Door(self._core, settings, listener, shown)
            self._doors.append(door)
            self._ports.append(listen(reactor, listener, door.factory, "proxy_listen"))
        secured = over_tls(self._admin, settings.admin_listen, settings)
        for listener in settings.admin_listen:
            self._ports.append(listen(reactor, listener, secured if listener.ssl else self._admin, "admin_listen"))
        if settings.status_listen:
            status = make_status_site(node, reactor)
            secured = over_tls(status, settings.status_listen, settings)
            for listener in settings.status_listen:
                port = listen(reactor, listener, secured if listener.ssl else status, "status_listen")
                self._status_ports.append(port)
        gc.collect()
        gc.freeze()  # a collection that walks the whole configuration stops all traffic meanwhile
        self._unready = None
        reactor.callWhenRunning(self._supervisor.ready)
        log.info("ready: {prefix}", prefix=settings.prefix)
        if settings.inert:
            log.info("settings without effect here: {names}", names=", ".join(settings.inert))

    def _connections(self) -> Mapping[str, int]:
        """The counters of ``GET /status``."""
        active = sum(len(door.proxy.connections) for door in self._doors)
        accepted = self._admin.accepted + sum(door.proxy.accepted for door in self._doors)
        busy = self._core.exchanges
        return {
            "connections_active": active,
            "connections_reading": 0,
            "connections_writing": busy,
            "connections_waiting": max(active - busy, 0),
            "connections_accepted": accepted,
            "connections_handled": accepted,
            "total_requests": self._core.requests + self._admin.requests,
        }

    def _configuration_hash(self) -> str:
        """The hash of ``GET /status``."""
        return self._loader.hash if self._loader else NOTHING_LOADED

    def _aside(self, work: Callable[[], T]) -> Deferred[T]:
        """``work`` in a thread, or before the reactor runs at once: nobody waits yet."""
        if not self._reactor.running:
            return maybeDeferred(work)
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        """SIGHUP came, in the middle of anything: somebody sent it, or our terminal was closed and we go with it."""
        if self._terminal and not has_terminal():
            self._reactor.callFromThread(self._reactor.stop)
        else:
            self._reactor.callFromThread(lambda: detach(self._reload(), "reading the configuration anew"))

    def _rotated(self, number: int, frame: FrameType | None) -> None:
        """SIGUSR1 came: somebody has moved the log away."""
        if self._access_log is not None:
            self._reactor.callFromThread(self._access_log.reopen)

    def _quit(self, number: int, frame: FrameType | None) -> None:
        """SIGQUIT came, with which nginx is told to stop gracefully; we do not stop in any other way."""
        self._reactor.callFromThread(self._reactor.stop)

    async def _reload(self) -> None:
        """Read the configuration anew. What cannot be read leaves the one there is in force."""
        if not self.running:
            return
        self._supervisor.reloading()
        try:
            if self._loader is None:
                await self._store.apply(Change())  # the store notices what others wrote
            else:
                await load_declared(self._loader, self._settings)
        except StartupError as error:
            log.error("the configuration stays as it is: {error}", error=error)
        else:
            log.info("read the configuration anew")
        finally:
            self._supervisor.ready()  # as before, if nothing came of it

    def stopService(self) -> Deferred[None]:
        """Stop everything; fires when it has stopped."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._unready = "draining"
        busy = self._core.exchanges
        self._supervisor.stopping(f"finishing {busy} requests")
        if self._settings.drain_delay:
            await deferLater(self._reactor, self._settings.drain_delay)
        await gatherResults([Deferred.fromCoroutine(stopped(port)) for port in self._ports])
        self._monitor.close()
        self._health_file.close()
        for door in self._doors:
            door.proxy.drain()
        await self._until(lambda: not any(each.proxy.connections for each in self._doors), LAST_CALL)
        for door in self._doors:
            door.close_idle()
        await self._until(
            lambda: not self._core.exchanges and not any(each.proxy.busy() for each in self._doors),
            self._settings.nginx_main_worker_shutdown_timeout,
        )
        await gatherResults([Deferred.fromCoroutine(stopped(port)) for port in self._status_ports])
        if self._core.exchanges:
            log.warn("{count} requests were cut off", count=self._core.exchanges)
        for door in self._doors:
            door.proxy.abort()
        self._core.close()
        self._names.close()
        await self._store.close()
        if self._access_log is not None:
            await deferLater(self._reactor, 0)  # what was aborted ends in the next turn, and has a line as well
            self._access_log.close()
        for number in (signal.SIGUSR1, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        if self._lock is not None:
            self._lock.release()
        signal.signal(signal.SIGHUP, self._before)
        self._supervisor.close()

    async def _until(self, there: Callable[[], bool], patience: float) -> None:
        """Wait until ``there()``, but no longer than so many seconds."""
        end = self._reactor.seconds() + patience
        while not there() and self._reactor.seconds() < end:
            await deferLater(self._reactor, 0.02)


async def stopped(port: IListeningPort) -> None:
    """Listen no more."""
    done = port.stopListening()
    if done is not None:
        await done


def open_store(settings: Settings, reactor: Any, now: Callable[[], float] = time.time) -> IConfigStore:
    """The store that ``database`` names."""
    if settings.database == "off":
        return MemoryStore()
    from twisted_kong.store.sql import SqlStore  # SQLAlchemy is slow to import, and nobody needs it without a database

    return SqlStore.open(database_file(settings), reactor=reactor, now=now)


def open_access_log(settings: Settings, reactor: Any) -> AccessLog | None:
    """The access log that the settings ask for."""
    wanted = settings.proxy_access_log
    if wanted is None:
        return None
    path = settings.prefix / wanted.path
    try:
        return AccessLog(path, FORMATS[wanted.format](), reactor)
    except OSError as error:
        raise StartupError(f"proxy_access_log: expected a file to write to, got {path}: {error.strerror}") from None


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
        await loader.load_named(text_of(settings.declarative_config), path, path)
    elif settings.declarative_config_string is not None:
        await loader.load_named(settings.declarative_config_string, None, "declarative_config_string")
