"""Names against a real name server, Knot DNS: the examples of the load balancing reference, and an outage."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Service, Target, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.model.traffic import Outcome
from twisted_kong.proxy.lookups import Lookups
from twisted_kong.resolving.cache import Rules
from twisted_kong.resolving.dns import DnsResolver
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names

KNOT = shutil.which("knotd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.needs("knotd"),
    pytest.mark.skipif(KNOT is None, reason="needs knotd: as root on Debian, etc/apt-install knotd=knot"),
]

CONFIGURATION = """
server:
    rundir: {home}
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {home}
log:
  - target: stderr
    any: warning
zone:
  - domain: test
    storage: {home}
    file: test.zone
"""

ZONE = """
$ORIGIN test.
$TTL 60
@ SOA ns.test. host.test. 1 3600 600 86400 1
@ NS ns
ns A 127.0.0.1
api A 10.0.0.1
api A 10.0.0.2
www CNAME api
short 1 A 10.0.0.3
zero 0 A 10.0.1.1
zero 0 A 10.0.1.2
one A 10.0.2.1
two A 10.0.2.2
six AAAA 2001:db8::1
both A 10.0.3.1
both SRV 0 1 81 one
service SRV 1 10 8001 one
service SRV 1 20 8002 two
service SRV 2 50 8003 api
myhost SRV 1 1 456 one
"""


class Knot:
    """A name server for the zone ``test``, which comes and goes."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="knot-"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (self.home / "knot.conf").write_text(CONFIGURATION.format(home=self.home, port=self.port))
        (self.home / "test.zone").write_text(ZONE)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert KNOT is not None
        with (self.home / "log").open("ab") as log:
            command = [KNOT, "-c", str(self.home / "knot.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def written(name: str) -> str:
    """A target as the Admin API has it, of a name that Python could have."""
    return name.replace("__", ".").replace("_", ":")


class KnotTests(TestCase):
    """A gateway's balancers over the zone."""

    knot: Knot

    @classmethod
    def setUpClass(cls) -> None:
        cls.knot = Knot()
        cls.knot.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.knot.stop()
        shutil.rmtree(cls.knot.home)

    async def setUp(self) -> None:  # type: ignore[override] # trial awaits what it returns
        from twisted.internet import reactor  # the one that trial runs

        self.reactor: Any = reactor
        resolver = DnsResolver(
            reactor,
            servers=[("127.0.0.1", self.knot.port)],
            hosts_file=self.knot.home / "none",
            resolv_conf=self.knot.home / "none",
        )
        self.names = Names(resolver, self.reactor, Rules(not_found_ttl=0.2, error_ttl=0.2), random=Random(7))
        self.gateway = Gateway({"round-robin": RoundRobinFactory()}, "traditional_compatible", self.names)
        self.snapshot = EMPTY
        for _ in range(200):  # the server begins to listen when it likes
            try:
                found = self.names.get("api.test")
                await (found if isinstance(found, Deferred) else self.pause(0))
                break
            except Exception:
                await self.pause(0.1)

    async def tearDown(self) -> None:  # type: ignore[override] # the same
        self.change(deletes=tuple(("upstreams", id) for id in self.snapshot.upstreams))
        self.names.close()
        await self.pause(0.01)

    async def pause(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    def change(self, **fields: Any) -> None:
        old, self.snapshot = self.snapshot, self.snapshot.with_change(Change(**fields))
        self.gateway.apply(old, self.snapshot)

    def pool(self, **targets: int) -> Service:
        """A service on an upstream with these targets: host (``__`` for a dot) and port, and weight."""
        schema = Schema()
        upstream = schema.build(Upstream, {"name": "pool"}, now=1)
        made = [
            schema.build(
                Target,
                {
                    "target": written(name),
                    "weight": weight,
                    "upstream": {"id": upstream.id},
                },
                now=1,
            )
            for name, weight in targets.items()
        ]
        self.change(puts=(upstream, *made))
        return self.service("pool")

    def service(self, host: str, port: int = 123) -> Service:
        found: Service = Schema().build(Service, {"name": "s", "host": host, "port": port}, now=1)
        return found

    async def picked(self, service: Service, count: int) -> Counter[str]:
        """Where so many requests go, one after the other."""
        found: Counter[str] = Counter()
        for _ in range(count):
            balancer, _ = self.gateway.balancer(service)
            waiting = None if balancer.before is None else balancer.before()
            if waiting is not None:
                await waiting
            lease = balancer.lease()
            assert lease is not None
            peer = lease.peer if lease.peer.resolved else await Lookups(self.names).next(lease.peer)
            lease.release(Outcome(None, 200, 0.1))
            found[peer.address] += 1
        return found

    async def test_addresses_of_a_target(self) -> None:
        """A target's name with two addresses is two peers at its port, each with the whole weight."""
        service = self.pool(api__test_123=100, www__test_80=50)  # the second one is an alias
        expected = {"10.0.0.1:123": 20, "10.0.0.2:123": 20, "10.0.0.1:80": 10, "10.0.0.2:80": 10}
        self.assertEqual(await self.picked(service, 60), expected)

    async def test_services_of_a_target(self) -> None:
        """SRV records overrule port and weight; those of the lowest priority serve, by 1 to 2."""
        service = self.pool(service__test_123=100)
        self.assertEqual(await self.picked(service, 30), {"10.0.2.1:8001": 10, "10.0.2.2:8002": 20})

    async def test_weight_zero(self) -> None:
        """A target of weight 0 gets nothing, whatever its SRV records say."""
        service = self.pool(service__test_123=0, api__test_80=100)
        self.assertEqual(set(await self.picked(service, 10)), {"10.0.0.1:80", "10.0.0.2:80"})

    async def test_ttl_zero(self) -> None:
        """A target of TTL 0 is one peer with the target's weight, which is asked for with every request."""
        service = self.pool(zero__test_80=50, one__test_80=50)
        found = await self.picked(service, 80)
        name = self.names.look("zero.test")
        assert name is not None
        self.assertEqual(found["10.0.2.1:80"], 40)
        self.assertEqual(found["10.0.1.1:80"] + found["10.0.1.2:80"], 40)
        self.assertGreater(min(found.values()), 0)
        self.assertEqual(name.questions, 41)

    async def test_hosts_of_services(self) -> None:
        """A service's host is balanced by its records: addresses in turn, SRV by weight and with its own port."""
        for host, expected in (
            ("api.test", {"10.0.0.1:123": 15, "10.0.0.2:123": 15}),
            ("service.test", {"10.0.2.1:8001": 10, "10.0.2.2:8002": 20}),
            ("myhost.test", {"10.0.2.1:456": 30}),
            ("both.test", {"10.0.2.1:81": 30}),
            ("six.test", {"[2001:db8::1]:123": 30}),
        ):
            self.assertEqual(await self.picked(self.service(host), 30), expected)

    async def test_outage(self) -> None:
        """While the name server is gone every name once resolved serves; when it is back it is asked again."""
        services = [self.pool(short__test_80=1, zero__test_80=1), self.service("api.test"), self.service("zero.test")]
        for service in services:
            await self.picked(service, 4)
        self.knot.stop()
        try:
            for _ in range(15):
                for service in services:
                    await self.picked(service, 2)
                await self.pause(0.2)
            name = self.names.look("short.test")
            assert name is not None
            self.assertEqual(name.state(self.names.seconds()), "stale")
        finally:
            self.knot.start()
        for _ in range(300):
            if name.state(self.names.seconds()) == "fresh":
                break
            await self.pause(0.1)
        self.assertEqual(name.state(self.names.seconds()), "fresh")
