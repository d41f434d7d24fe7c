"""What changes during the soak: the configuration through the Admin API, and who of the origins is there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import trustme

from benchmarks.soak.multiplexed import Echo
from benchmarks.soak.origins import Faults, Origin
from benchmarks.soak.process import GatewayProcess

ORIGINS = 4
"""Of each sort; so many more come and go as targets of the steady ones."""
SPARE = 2
HANG_UP_EVERY = 40
"""Changes between two SIGHUPs."""


class Changes:
    """Sets everything up, then changes it all the while."""

    def __init__(self, gateway: GatewayProcess, faults: Faults, random: Random) -> None:
        self._gateway = gateway
        self._random = random
        self.made: Counter[str] = Counter()
        self.steady = [Origin(faults, random, rough=False) for _ in range(ORIGINS + SPARE)]
        self.rough = [Origin(faults, random, rough=True) for _ in range(ORIGINS)]
        self.echo = Echo()
        self._spare: set[str] = set()
        self._certificates: list[dict[str, str]] = []
        self._certificate = ""
        self._others = 0

    async def _admin(self, method: str, path: str, **document: Any) -> Any:
        return await asyncio.to_thread(self._gateway.admin, method, path, document or None)

    async def set_up(self) -> None:
        """Origins, and a configuration that leads to them."""
        for origin in (*self.steady, *self.rough):
            await origin.start()
        await self.echo.start()
        checks = {"active": {"http_path": "/health", "healthy": {"interval": 2}, "unhealthy": {"interval": 2}}}
        await self._upstream("steady", self.steady[:ORIGINS], {}, read_timeout=25_000)
        await self._upstream("rough", self.rough, checks, read_timeout=1000, connect_timeout=1000)
        await self._admin("PATCH", "/routes/rough", request_buffering=False)
        await self._admin("POST", "/services", name="echo", url=f"http://127.0.0.1:{self.echo.port}")
        await self._admin("POST", "/services/echo/routes", name="echo", paths=["/echo"])
        authority = trustme.CA()
        for _ in range(2):
            leaf = authority.issue_cert("a.test", "b.test")
            chain = "".join(pem.bytes().decode() for pem in leaf.cert_chain_pems)
            self._certificates.append({"cert": chain, "key": leaf.private_key_pem.bytes().decode()})
        made = await self._admin("POST", "/certificates", snis=["a.test", "b.test"], **self._certificates[0])
        self._certificate = made["id"]

    async def _upstream(self, name: str, origins: list[Origin], checks: dict[str, Any], **timeouts: int) -> None:
        await self._admin("POST", "/upstreams", name=name, healthchecks=checks)
        for origin in origins:
            await self._admin("POST", f"/upstreams/{name}/targets", target=f"127.0.0.1:{origin.port}")
        await self._admin("POST", "/services", name=name, host=name, retries=6, **timeouts)
        await self._admin("POST", f"/services/{name}/routes", name=name, paths=[f"/{name}"])

    async def go_on(self, pause: float) -> None:
        """Change one thing after the other, with such pauses between them."""
        kinds: list[Callable[[], Awaitable[object]]] = [
            self._spare_target, self._weight, self._algorithm, self._other_route, self._certify, self._consumer,
            self._buffer,
        ]  # fmt: skip
        while True:
            await asyncio.sleep(self._random.expovariate(1 / pause))
            change = self._random.choice(kinds)
            await change()
            self.made[change.__name__.strip("_").replace("_", " ")] += 1
            if not self.made.total() % HANG_UP_EVERY:
                self._gateway.hang_up()
                self.made["SIGHUP"] += 1

    async def fail(self, pause: float) -> None:
        """Kill one rough origin after the other; each is back a while later."""
        while True:
            await asyncio.sleep(self._random.expovariate(1 / pause))
            origin = self._random.choice(self.rough)
            origin.kill()
            self.made["origin killed"] += 1
            await asyncio.sleep(self._random.uniform(0.1, 1))
            await origin.start()

    async def _spare_target(self) -> None:
        origin = self._random.choice(self.steady[ORIGINS:])
        target = f"127.0.0.1:{origin.port}"
        if target in self._spare:
            self._spare.discard(target)
            await self._admin("DELETE", f"/upstreams/steady/targets/{target}")
        else:
            self._spare.add(target)
            await self._admin("POST", "/upstreams/steady/targets", target=target, weight=self._random.randint(1, 200))

    async def _weight(self) -> None:
        target = f"127.0.0.1:{self._random.choice(self.steady[:ORIGINS]).port}"
        await self._admin("PATCH", f"/upstreams/steady/targets/{target}", weight=self._random.randint(1, 200))

    async def _algorithm(self) -> None:
        name = self._random.choice(["round-robin", "least-connections", "latency"])
        await self._admin("PATCH", "/upstreams/steady", algorithm=name)

    async def _other_route(self) -> None:
        if self._others:
            await self._admin("DELETE", f"/routes/other-{self._others}")
        self._others += 1
        paths = [f"/other/{self._others}", "/steady/~nobody"]
        await self._admin("POST", "/services/rough/routes", name=f"other-{self._others}", paths=paths)

    async def _certify(self) -> None:
        certificate = self._random.choice(self._certificates)
        await self._admin("PATCH", f"/certificates/{self._certificate}", **certificate)

    async def _consumer(self) -> None:
        await self._admin("PUT", "/consumers/somebody", custom_id=str(self._random.randrange(10)))
        await self._admin("DELETE", "/consumers/somebody")

    async def _buffer(self) -> None:
        await self._admin("PATCH", "/routes/rough", request_buffering=self._random.random() < 0.5)

    async def tear_down(self) -> None:
        """Every origin is gone."""
        for origin in (*self.steady, *self.rough):
            origin.kill()
        await self.echo.stop()
