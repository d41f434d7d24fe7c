"""Names of peers: asked once, shared by everybody who waits, remembered for as long as the answer holds."""

from __future__ import annotations

from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_kong.errors import NameNotFound, NameNotResolved, ProxyError
from twisted_kong.interfaces import IResolver
from twisted_kong.model.traffic import Answer
from twisted_kong.tasks import detach

log = Logger()


class _Name:
    """What is known of one name, and who waits to know more."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.expires = 0.0
        self.asking = False
        self.waiting: list[Deferred[str]] = []
        self.turns = count()

    def next(self) -> str:
        """The addresses of the answer, one after the other."""
        assert self.answer is not None
        addresses = self.answer.addresses
        return addresses[next(self.turns) % len(addresses)].host


class Names:
    """The addresses of names, through ``resolver``. Identical questions in flight are one."""

    def __init__(self, resolver: IResolver, clock: IReactorTime) -> None:
        self._resolver = resolver
        self._clock = clock
        self._names: dict[str, _Name] = {}

    def known(self, host: str) -> str | None:
        """An address of ``host`` if it is known and still holds."""
        name = self._names.get(host)
        if name is None or name.answer is None or name.expires < self._clock.seconds():
            return None
        return name.next()

    def find(self, host: str) -> Deferred[str]:
        """An address of ``host``.

        :raise NameNotFound: there is none.
        :raise NameNotResolved: nobody could tell.
        """
        name = self._names.setdefault(host, _Name())
        waiting: Deferred[str] = Deferred()
        name.waiting.append(waiting)
        if not name.asking:
            name.asking = True
            detach(self._ask(host, name), f"the resolution of {host}")
        return waiting

    async def _ask(self, host: str, name: _Name) -> None:
        error: ProxyError | None = None
        try:
            name.answer = await self._resolver.resolve(host)
            if not name.answer.addresses:
                raise NameNotFound(f"the resolver knows {host!r}, but no address of it")
            name.expires = self._clock.seconds() + name.answer.ttl
        except (NameNotFound, NameNotResolved) as failed:
            error = failed
            del self._names[host]
        except Exception:
            log.failure("the resolver failed on {host}", host=host)
            error = NameNotResolved(host, "the resolver failed")
            del self._names[host]
        name.asking = False
        waiting, name.waiting = name.waiting, []
        for one in waiting:
            if one.called:
                continue
            if error is None:
                one.callback(name.next())
            else:
                one.errback(error)
