"""Ten targets that fall ill, hang, refuse, break off and recover, while the configuration changes and clients ask.

Every run is decided by its seed and needs no time. A request's path is its nonce, which its answer has for a body.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

import pytest
import spoken
from loopback import Dial, Line, Network, Questions
from twisted.internet.address import IPv4Address

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.health.checkers.http import HttpCheckerFactory
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity, Route, Service, Target, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.listeners import ProxyListener
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.peers import Peer
from twisted_kong.settings import load

STEP = 0.05
STEPS = 800
TARGETS = [f"10.0.0.{number}:80" for number in range(10)]
MODES = ("well", "well", "ill", "odd", "refusing", "hanging", "resetting", "slow", "deaf")
SUCCESSES = 2
CHECKS: dict[str, Any] = {
    "active": {
        "http_path": "/probe",
        "timeout": 0.5,
        "healthy": {"interval": 1, "successes": SUCCESSES},
        "unhealthy": {"interval": 1, "http_failures": 2, "tcp_failures": 2, "timeouts": 1},
    },
    "passive": {"healthy": {"successes": 1}, "unhealthy": {"http_failures": 3, "tcp_failures": 2, "timeouts": 2}},
}
SERVICE = {"connect_timeout": 400, "read_timeout": 900, "write_timeout": 900, "retries": 3}


class Origin:
    """The far end of a connection to a target, which behaves as the target does at the time."""

    def __init__(self, line: Line, mode: Callable[[], str]) -> None:
        self.line = line
        self._mode = mode
        self._listener = spoken.RequestListener()
        self._answered = 0

    def act(self, network: Network) -> None:
        """Read, and answer what is complete."""
        if self.line.lost is not None:
            return
        self._listener.parser.feed_data(self.line.take())
        complete = [each for each in self._listener.messages if each.complete]
        for message in complete[self._answered :]:
            mode = self._mode()
            if mode == "hanging":
                return
            self._answered += 1
            if mode == "resetting":
                self.line.reset()
                return
            status = {"ill": 500, "odd": 403}.get(mode, 200)
            body = message.target
            answer = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
            if mode == "slow":
                network.callLater(0.3, self._send, answer)
            else:
                self.line.send(answer)

    def _send(self, answer: bytes) -> None:
        if self.line.lost is None:
            self.line.send(answer)


class Client:
    """Asks, one request after the other, on one connection."""

    def __init__(self, number: int, line: Line) -> None:
        self.line = line
        self.paths: list[bytes] = []
        self._number = number

    @property
    def answers(self) -> list[spoken.Message]:
        return [each for each in spoken.answers(self.line.received) if each.complete]

    def ask(self) -> None:
        path = b"/%d-%d" % (self._number, len(self.paths))
        self.paths.append(path)
        self.line.send(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % path)


class Chaos:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.network = Network()
        self.modes = dict.fromkeys(TARGETS, "well")
        self.origins: list[Origin] = []
        self.clients: list[Client] = []
        self.seen = 0
        settings = load(None, {}, {"upstream_keepalive_idle_timeout": "3", "nginx_http_keepalive_timeout": "4s"})
        names = Names(Questions(), self.network)
        checkers = cast(Any, {"http": HttpCheckerFactory()})
        self.monitor = Monitor(self.network, self.random, checkers, names, cast(Any, None), sockets=7)
        self.gateway = Gateway(
            {"round-robin": RoundRobinFactory()}, "traditional_compatible", names, monitor=self.monitor
        )
        self.core = ProxyCore(self.network, settings, self.gateway, names, self.random)
        self.listener = ProxyListener(self.core, settings, b"http")
        self.snapshot = EMPTY
        self.schema = Schema()
        self.upstream = self._build(Upstream, name="u.test", healthchecks=CHECKS)
        self.targets = {address: self._target(address) for address in TARGETS}
        service = self._build(Service, host="u.test", **SERVICE)
        route = self._build(Route, paths=["/"], service={"id": service.id})
        self._change(Change(puts=(self.upstream, *self.targets.values(), service, route)))
        self.peers: set[Peer] = set()

    def _build(self, kind: type[Any], **data: object) -> Any:
        return self.schema.build(kind, data, now=1)

    def _target(self, address: str, weight: int = 100) -> Target:
        target: Target = self._build(Target, target=address, weight=weight, upstream={"id": self.upstream.id})
        return target

    def _change(self, change: Change) -> None:
        old, self.snapshot = self.snapshot, self.snapshot.with_change(change)
        self.gateway.apply(old, self.snapshot)

    def _put(self, *entities: Entity) -> None:
        self._change(Change(puts=entities))

    @property
    def balancer(self) -> Any:
        (service,) = self.snapshot.services.values()
        return self.gateway.balancer(service)[0]

    # -- what happens ------------------------------------------------------------------------------------------

    def step(self) -> None:
        random = self.random
        if random.random() < 0.1:
            self.modes[random.choice(TARGETS)] = random.choice(MODES)
        if random.random() < 0.1:
            self.edit()
        for _ in range(random.randrange(4)):
            self.ask()
        self.go_on()

    def go_on(self) -> None:
        """Let a moment pass, in which origins do what they do."""
        for dial in self.network.dials[self.seen :]:
            self.decide(dial)
        self.seen = len(self.network.dials)
        for origin in self.origins:
            origin.act(self.network)
        self.origins = [origin for origin in self.origins if origin.line.lost is None]
        self.network.advance(STEP)
        self.peers.update(self.balancer.peers)

    def decide(self, dial: Dial) -> None:
        address = f"{dial.address.host}:{dial.address.port}"
        mode = self.modes[address]
        if not dial.waiting or mode == "deaf":
            return
        if mode == "refusing":
            dial.refuse()
        else:
            self.origins.append(Origin(dial.accept(), lambda: self.modes[address]))

    def ask(self) -> None:
        idle = [each for each in self.clients if each.line.lost is None and len(each.answers) == len(each.paths)]
        if not idle or self.random.random() < 0.1:
            line = Line(self.network, IPv4Address("TCP", "127.0.0.1", 8000), IPv4Address("TCP", "192.0.2.7", 40000))
            line.join(self.listener.buildProtocol(None))
            self.clients.append(Client(len(self.clients), line))
            idle = self.clients[-1:]
        client = self.random.choice(idle)
        client.ask()
        if self.random.random() < 0.03:
            client.line.reset()

    def edit(self) -> None:
        """Change the configuration, in one way or another."""
        random = self.random
        address = random.choice(TARGETS)
        match random.randrange(4):
            case 0:
                self.targets[address] = self.targets[address].model_copy(update={"weight": random.randrange(1, 200)})
                self._put(self.targets[address])
            case 1:
                self._change(Change(deletes=(("targets", self.targets[address].id),)))
                self.targets[address] = self._target(address)
                self._put(self.targets[address])
            case 2:
                self.upstream = self.upstream.model_copy(update={"slots": random.randrange(10, 1000)})
                self._put(self.upstream)
            case _:
                interval = random.choice([0.5, 1, 2])
                checks = {
                    **CHECKS,
                    "active": {**CHECKS["active"], "healthy": {"interval": interval, "successes": SUCCESSES}},
                }
                made = self._build(Upstream, id=self.upstream.id, name="u.test", healthchecks=checks)
                self.upstream = made
                self._put(made)

    # -- what must hold ----------------------------------------------------------------------------------------

    def end(self) -> None:
        """Everybody recovers, everything comes to its end, nothing is left."""
        for address in TARGETS:
            self.modes[address] = "well"
        for _ in range(int((SUCCESSES + 2 + 1) / STEP)):
            self.go_on()
        assert [peer.address for peer in self.balancer.peers if not peer.healthy] == []
        for _ in range(int(10 / STEP)):
            self.go_on()
        for client in self.clients:
            self.check(client)
        assert self.core.exchanges == 0
        assert [peer for peer in self.peers if peer.leases] == []
        assert self.monitor.watched == len(TARGETS)
        self._change(Change(deletes=(("upstreams", self.upstream.id),)))
        assert (self.monitor.watched, self.monitor.running) == (0, 0)
        self.network.advance(0)
        self.network.advance(60)
        assert [origin for origin in self.origins if origin.line.lost is None] == []
        assert [dial.address for dial in self.network.dials if dial.waiting] == []
        self.monitor.close()
        self.core.close()
        assert self.network.getDelayedCalls() == []

    def check(self, client: Client) -> None:
        answers = client.answers
        if client.line.lost is None or client.line.closed:
            assert len(answers) == len(client.paths)
        for path, answer in zip(client.paths, answers, strict=False):
            assert answer.status in (200, 403, 500, 502, 503, 504)
            if answer.status in (200, 403, 500):
                assert answer.body == path


@pytest.mark.parametrize("seed", range(4))
def test_chaos(seed: int) -> None:
    """No answer is another's, nobody who is well stays out, and nothing is left of any lease, connection or timer."""
    chaos = Chaos(seed)
    for _ in range(STEPS):
        chaos.step()
    assert chaos.monitor.sent > 200
    assert sum(len(peer.health.transitions or ()) for peer in chaos.peers) > 10
    chaos.end()
