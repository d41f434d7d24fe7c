"""One soak: everything at once for a while, then everything over, and the verdict."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from statistics import median

from benchmarks.soak.changes import Changes
from benchmarks.soak.clients import Clients
from benchmarks.soak.multiplexed import conversation, several_streams
from benchmarks.soak.origins import Faults
from benchmarks.soak.process import GatewayProcess
from benchmarks.soak.score import Score

WARM_UP = 0.25
"""The part of the time after which memory has to be flat."""
GROWTH = 4 << 20
"""Bytes that resident memory may grow by, from the first quarter after the warm-up to the last."""
SETTLING = 40
"""Seconds within which everything that is idle has been closed."""
CHANGES, FAILURES = 0.5, 3.0
"""Seconds between two changes and between two failures, on average."""
LASTING = 25.0
"""Seconds that a WebSocket lives."""

Turn = Callable[[], Awaitable[None]]


class Soak:
    """A gateway that keeps all it has below ``directory``; ``rate`` is in turns of clients a second."""

    def __init__(self, directory: Path, rate: float, seed: int) -> None:
        self._random = Random(seed)
        self._rate = rate
        self._faults = Faults()
        self._score = Score(self._faults)
        self._gateway = GatewayProcess(directory)
        self._changes = Changes(self._gateway, self._faults, self._random)
        self._clients: list[Clients] = []
        self._memory: list[int] = []
        self._before: Counter[str] = Counter()
        self._after: Counter[str] = Counter()
        self._broken: list[str] = []
        self._cpu = 0.0
        self._over = False

    async def run(self, seconds: float) -> None:
        """All of it."""
        try:
            await asyncio.to_thread(self._gateway.wait)
            await self._changes.set_up()
            await self._touch_everything()
            self._before = await self._settled(None)
            await self._traffic(seconds)
            await self._touch_everything()
            self._after = await self._settled(self._before)
        finally:
            await self._changes.tear_down()
            self._gateway.stop()

    def _turns(self) -> list[Turn]:
        """Whose turns there are: each is done again and again, beside the others."""
        clients = [Clients(self._gateway.port, self._gateway.tls_port, self._score, self._random) for _ in range(3)]
        self._clients += clients
        one, two, three = clients

        async def http2() -> None:
            await several_streams(self._gateway.tls_port, self._score, self._random)

        async def websocket() -> None:
            await conversation(self._gateway.port, self._score, self._random, lasting=LASTING)

        return [
            *(each.keep_alive for each in clients), *(each.encrypted for each in clients), one.pipeline, two.pipeline,
            one.post, two.post, one.post_chunks, three.post_chunks, one.dawdle, one.depart, two.depart, http2, http2,
            websocket, websocket,
        ]  # fmt: skip

    async def _again_and_again(self, turn: Turn, pause: float) -> None:
        while not self._over:
            await asyncio.sleep(self._random.expovariate(1 / pause))
            await turn()

    async def _traffic(self, seconds: float) -> None:
        turns = self._turns()
        pause = len(turns) / self._rate
        clients = [asyncio.create_task(self._again_and_again(turn, pause)) for turn in turns]
        others = [
            asyncio.create_task(self._changes.go_on(CHANGES)),
            asyncio.create_task(self._changes.fail(FAILURES)),
        ]
        began, used = time.monotonic(), self._gateway.seconds()
        while time.monotonic() - began < seconds and self._gateway.running:
            await asyncio.sleep(1)
            self._memory.append(self._gateway.memory())
            self._notice(task for task in (*clients, *others) if task.done())
            if self._broken:
                break
        self._cpu = self._gateway.seconds() - used
        self._over = True
        for task in others:
            task.cancel()
        done, pending = await asyncio.wait([*clients, *others], timeout=LASTING + 60)
        self._notice(done)
        self._broken += [f"a client is still at it: {task}" for task in pending]
        for each in self._clients:
            await each.close()

    def _notice(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Whoever of these has ended by an error."""
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                self._broken.append(f"the soak itself: {task.exception()!r}")

    async def _touch_everything(self) -> None:
        """Have the gateway do once whatever makes it open what it keeps open."""
        for turn in self._turns()[:13]:
            await turn()
        for each in self._clients:
            await each.close()

    async def _settled(self, expected: Counter[str] | None) -> Counter[str]:
        """The descriptors once they do not change any more, or are those expected."""
        found = self._gateway.descriptors()
        same = 0
        for _ in range(SETTLING * 2):
            await asyncio.sleep(0.5)
            now = self._gateway.descriptors()
            same = same + 1 if now == found else 0
            found = now
            if found == expected or (expected is None and same >= 14):
                break
        return found

    # -- the verdict -------------------------------------------------------------------------------------------

    def _levels(self) -> tuple[int, int]:
        """Resident bytes in the first and in the last quarter after the warm-up."""
        samples = self._memory[int(len(self._memory) * WARM_UP) :]
        quarter = max(1, len(samples) // 4)
        return int(median(samples[:quarter])), int(median(samples[-quarter:]))

    def faults(self) -> list[str]:
        """What has not held, in words."""
        score = self._score
        found = [*self._broken, *(f"crossed: {each}" for each in score.crossed)]
        for each in score.unexplained:
            ids = set(re.findall(r"[0-9a-f]{32}", each))
            told = [line for line in self._gateway.printed().splitlines() if any(id in line for id in ids)]
            found.append("\n    ".join([f"unexplained: {each}", *told]))
        leaked = self._after - self._before
        found += [f"{count} descriptors leaked: {what}" for what, count in leaked.items()]
        first, last = self._levels()
        if last - first > GROWTH:
            found.append(f"resident memory grew from {first} to {last} bytes")
        found += [f"in the log: {line}" for line in self._gateway.faulty_lines()]
        if not all(self._score.counts[kind, "right"] for kind in KINDS):
            found.append(f"not every kind of traffic was there: {dict(score.counts)}")
        return found

    def report(self) -> str:
        """What there was, in numbers."""
        first, last = self._levels()
        samples = self._memory[:: len(self._memory) // 12 or 1]
        kinds: dict[str, list[str]] = {}
        for (kind, outcome), count in sorted(self._score.counts.items()):
            kinds.setdefault(kind, []).append(f"{count} {outcome}")
        changes = ", ".join(f"{count} × {what}" for what, count in self._changes.made.most_common())
        return "\n".join(
            [
                f"{self._score.total()} turns in {len(self._memory)} s, for {self._cpu:.1f} s of the gateway's CPU",
                *(f"  {kind}: {', '.join(outcomes)}" for kind, outcomes in kinds.items()),
                f"changes: {changes}",
                f"crossed: {len(self._score.crossed)}, unexplained: {len(self._score.unexplained)}",
                f"descriptors before {dict(self._before)}, after {dict(self._after)}",
                f"resident memory: {first / 2**20:.1f} MiB after the warm-up, {last / 2**20:.1f} MiB in the end",
                f"  on the way: {', '.join(f'{each / 2**20:.1f}' for each in samples)}",
            ]
        )


KINDS = ("keep-alive", "TLS", "pipelining", "POST", "chunks", "slow", "HTTP/2", "WebSocket")
