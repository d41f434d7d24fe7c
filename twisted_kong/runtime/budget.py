"""How many retries an upstream may have: a share of its requests, so that failures do not multiply its load. Pure."""

from __future__ import annotations

from collections.abc import Callable

from twisted_kong.model.records import RetryBudget

WINDOW = 10.0
"""Seconds of which requests and retries are compared."""


class Budget:
    """Requests and retries of the last `WINDOW` seconds, give or take a tenth of it. ``seconds`` is any clock."""

    PARTS = 10

    def __init__(self, settings: RetryBudget, seconds: Callable[[], float]) -> None:
        self.settings = settings
        self._seconds = seconds
        self._parts: dict[int, list[int]] = {}  # by the number of the part: requests, retries

    def request(self) -> None:
        """A request has come."""
        self._part()[0] += 1

    def allows(self) -> bool:
        """Whether there may be one more retry; if so, it is counted."""
        part = self._part()
        requests, retries = map(sum, zip(*self._parts.values(), strict=True))
        settings = self.settings
        if retries >= max(settings.minimum, requests * settings.percent / 100):
            return False
        part[1] += 1
        return True

    def _part(self) -> list[int]:
        number = int(self._seconds() * self.PARTS / WINDOW)
        part = self._parts.get(number)
        if part is None:
            for old in [each for each in self._parts if each <= number - self.PARTS]:
                del self._parts[old]
            part = self._parts[number] = [0, 0]
        return part
