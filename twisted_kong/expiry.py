"""When the certificates in force cease to hold: kept for whoever asks, and told to the log while there is time.

They are those that the settings name or that were made in their place, and those of the configuration, which are shown
to clients or to origins. Whoever issues them anew is somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_kong.certified import identities_in_force
from twisted_kong.model.certificates import Certificate, expiry
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.renewal import Prepared
from twisted_kong.settings import Settings

log = Logger()

DAY = 86400.0
SOON = 14 * DAY
"""Seconds before its end from which on a certificate is warned of."""
AGAIN = DAY
"""Seconds until the log is told again of the same."""
INTERVAL = 3600.0
"""Seconds between two looks at all of them; what is new is looked at when it comes."""

Found = tuple[str, str, float]
"""Where a certificate is from (a setting, or ``certificates``), its name there (its place in the setting from 1 on, or
its id), and when it ceases to hold, in seconds since 1970."""


class Expiries:
    """``now`` is the time of day, in seconds since 1970."""

    def __init__(self, reactor: IReactorTime, snapshot: Callable[[], Snapshot], now: Callable[[], float]) -> None:
        self._reactor = reactor
        self._snapshot = snapshot
        self._now = now
        self._of_settings: tuple[Found, ...] = ()
        self._told: dict[Found, float] = {}
        self._timer: IDelayedCall | None = None
        self._closed = False

    def prepare(self, settings: Settings) -> Prepared:
        """What settings name, ready to be looked at.

        :raise StartupError: it cannot be used.
        """
        found = [
            (source, str(number), expiry(identity.chain))
            for source, identities in identities_in_force(settings).items()
            for number, identity in enumerate(identities, 1)
        ]
        return Prepared(partial(self._renew, tuple(found)))

    def _renew(self, found: tuple[Found, ...]) -> None:
        self._of_settings = found
        self.look()

    def changed(self, old: Snapshot, new: Snapshot) -> None:
        """The configuration is another."""
        if old.all("certificates") is not new.all("certificates"):
            self.look()

    def found(self) -> Iterator[Found]:
        """All that are in force."""
        yield from self._of_settings
        for entity in self._snapshot().all("certificates").values():
            yield "certificates", entity.id, cast(Certificate, entity).expires

    def look(self) -> None:
        """Tell the log of those that hold no more, or not for long; of each once a day."""
        if self._closed:
            return
        now = self._now()
        told = {}
        for each in self.found():
            source, name, ends = each
            if ends - now > SOON:
                continue
            last = self._told.get(each)
            if last is not None and now - last < AGAIN:
                told[each] = last
                continue
            told[each] = now
            log.warn(
                "certificate {name} of {source} {what} {when:%Y-%m-%d %H:%M} UTC",
                name=name,
                source=source,
                what="has expired:" if ends <= now else "expires soon:",
                when=datetime.fromtimestamp(ends, UTC),
            )
        self._told = told
        if self._timer is not None and self._timer.active():
            self._timer.reset(INTERVAL)
        else:
            self._timer = self._reactor.callLater(INTERVAL, self.look)

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
