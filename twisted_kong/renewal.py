"""Settings that take the place of others while the gateway runs: first everything is read, then everything is changed.

Whoever holds something that follows from settings prepares the new of it, which may fail, and says how to put that in
force, which must not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted_kong.settings import Settings


def nothing() -> None:
    """Nothing is to be done."""


class Prepared(NamedTuple):
    """What is ready to be put in force with ``commit``, or to be let go of with ``abandon``; one of them is called."""

    commit: Callable[[], object] = nothing
    abandon: Callable[[], object] = nothing


Prepare = Callable[[Settings], Prepared]
"""Gets ready for settings; raises `twisted_kong.errors.StartupError` where something they name cannot be used."""


class Renewals:
    """All who have something to renew."""

    def __init__(self) -> None:
        self._prepares: list[Prepare] = []

    def add(self, prepare: Prepare) -> None:
        """Ask also this one."""
        self._prepares.append(prepare)

    def follow(self, renew: Callable[[Settings], object]) -> None:
        """Call ``renew``, which cannot fail, when settings come in force."""
        self.add(lambda settings: Prepared(lambda: renew(settings)))

    def prepare(self, settings: Settings) -> Prepared:
        """Get everybody ready, or nobody.

        :raise StartupError: somebody cannot; its message says why in one line.
        """
        ready: list[Prepared] = []

        def all_of(which: int) -> Callable[[], None]:
            def call() -> None:
                for each in ready:
                    each[which]()

            return call

        try:
            for prepare in self._prepares:
                ready.append(prepare(settings))
        except BaseException:
            all_of(1)()
            raise
        return Prepared(all_of(0), all_of(1))
