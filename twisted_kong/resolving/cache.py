"""What is remembered of one name, for how long, and when to ask again. Pure: the time is an argument.

The rules are Kong's (3.9), with what its users suffered from taken out. Four times are four settings: how long an
answer holds (its TTL, or ``dns_valid_ttl``), how long it serves beyond that while nobody knows better
(``dns_stale_ttl``), how long it is believed that there is no such name (``dns_not_found_ttl``), and that nobody can
tell (``dns_error_ttl``).

- That a name does not exist replaces whatever was known of it. A name server that fails, keeps silent or has nothing
  of what was asked does not: the last answer serves on.
- An answer whose TTL is 0 holds for the request that asked. One such answer after others is taken for the last second
  of a cache's entry, and holds for a second; only the next one in a row is taken at its word.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted_kong.errors import NameFailure, NameNotFound
from twisted_kong.model.traffic import Answer

LAST_SECOND = 1.0
"""Seconds that a first answer of TTL 0 after others holds."""

FOREVER = 10.0 * 365 * 86400
"""Seconds; no answer holds for longer."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The four times, in seconds. Without a ``valid_ttl`` answers hold for what they say."""

    valid_ttl: float | None = None
    stale_ttl: float = 3600.0
    not_found_ttl: float = 30.0
    error_ttl: float = 1.0


class Remembered:
    """What is known of one name.

    ``answer`` is the last good one, None where there was none or it serves no longer; it holds until ``expires``.
    ``error`` is what came instead since, if anything, believed until ``believed``; ``errors`` counts them in a row.
    """

    __slots__ = ("_ends", "_rules", "_zero", "answer", "believed", "error", "errors", "expires")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._ends = 0.0
        self._zero = False
        self.answer: Answer | None = None
        self.expires = 0.0
        self.error: NameFailure | None = None
        self.believed = 0.0
        self.errors = 0

    @property
    def virtual(self) -> bool:
        """Whether the answer holds for nobody but who asked, so that everybody has to ask."""
        return self._zero and self.expires == 0.0 and self.answer is not None

    @property
    def ends(self) -> float:
        """Until when the answer serves, if nothing else comes."""
        return self._ends

    def answered(self, answer: Answer, now: float) -> None:
        """``answer`` has come."""
        rules = self._rules
        ttl = answer.ttl if rules.valid_ttl is None else rules.valid_ttl
        ttl = min(max(ttl, 0.0), FOREVER)
        if ttl == 0.0:
            if self.answer is not None and not self._zero:
                ttl = LAST_SECOND
            self._zero = True
        else:
            self._zero = False
        self.answer = answer
        self.expires = now + ttl if ttl else 0.0
        self._ends = now + ttl + rules.stale_ttl
        self.error = None
        self.errors = 0

    def failed(self, error: NameFailure, now: float) -> None:
        """``error`` has come instead of an answer."""
        missing = isinstance(error, NameNotFound)
        if isinstance(error, NameNotFound) and not error.empty:
            self.answer = None
        self.error = error
        self.errors += 1
        self.believed = now + (self._rules.not_found_ttl if missing else self._rules.error_ttl)

    def serves(self, now: float) -> Answer | None:
        """The answer that serves now, stale or not."""
        if self.answer is not None and now >= self._ends and now >= self.expires:
            self.answer = None
        return self.answer

    def fresh(self, now: float) -> bool:
        """Whether there is an answer that holds."""
        return self.answer is not None and now < self.expires

    def refuses(self, now: float) -> NameFailure | None:
        """The failure that is believed now, so that nobody needs to ask."""
        return self.error if now < self.believed else None
