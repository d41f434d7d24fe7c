"""What clients of the soak saw: what was right, what can be explained, and what must not be."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.soak.origins import Faults, content

EXPLAINED = {502, 503, 504}
"""Statuses with which the gateway tells of an origin that failed."""


@dataclass
class Answer:
    """An answer; names of fields in lower case. ``complete`` says that nothing of its body is missing."""

    status: int
    fields: dict[str, str]
    body: bytes
    complete: bool = True


@dataclass
class Request:
    """A request to be judged: ``rough`` says that its origins may fail, ``size`` what its answer is to have."""

    kind: str
    token: str
    rough: bool = False
    method: str = "GET"
    size: int = 100
    sent: bytes = b""
    began: float = field(default_factory=time.monotonic)


class Score:
    """Judges answers. ``counts`` are by kind and outcome, ``faults`` what cannot be explained, in words."""

    def __init__(self, injected: Faults) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.crossed: list[str] = []
        self.unexplained: list[str] = []
        self._injected = injected

    def answered(self, request: Request, answer: Answer) -> None:
        """``answer`` is what the client got for ``request``."""
        token = answer.fields.get("x-token", request.token)
        expected = content(request.token, request.size)
        if token != request.token or (answer.status == 200 and not expected.startswith(answer.body)):
            self.crossed.append(f"{request} got {answer.fields} {answer.body[:100]!r}")
        elif answer.status == 200 and answer.complete:
            self._whole(request, answer, expected)
        else:
            self.failed(request, f"{answer.status}, {len(answer.body)} bytes {answer.body[:200]!r}", answer.status)

    def _whole(self, request: Request, answer: Answer, expected: bytes) -> None:
        digest = hashlib.sha1(request.sent, usedforsecurity=False).hexdigest()
        if request.method != "HEAD" and answer.body != expected:
            self.failed(request, f"{len(answer.body)} bytes, as if they were all")
        elif answer.fields.get("x-digest") != digest:
            self.unexplained.append(f"{request.kind} {request.token}: its body arrived as another one")
        else:
            self.counts[request.kind, "right"] += 1

    def failed(self, request: Request, how: str, status: int = 0) -> None:
        """There was no whole answer."""
        injected = self._injected
        fault = injected.tokens.get(request.token, "")
        if request.rough and not fault and request.method == "POST" and injected.recently_killed(request.began):
            fault = "killed"  # on a kept connection, before the origin has seen any of it; and a POST is not repeated
        if request.rough and fault and status in {0, 200, *EXPLAINED}:
            self.counts[request.kind, fault] += 1
        else:
            where = "rough" if request.rough else "steady"
            what = f"{request.kind} {request.token} ({request.method}, {where}, {fault or 'no fault'}): {how}"
            self.unexplained.append(f"{what}; {injected.since_kill():.1f} s after a kill")

    def noted(self, kind: str, what: str) -> None:
        """Something was done that is not to be judged."""
        self.counts[kind, what] += 1

    def total(self) -> int:
        """Everything that was counted."""
        return sum(self.counts.values())
