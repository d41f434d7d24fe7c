"""The names of targets and services: asked when it is time, shared by all who use them, forgotten when nobody does.

A `Name` is what is known of one name: its `Record`, or why there is none. Whoever uses it is told when that changes.
Where it is *kept*, it is asked anew whenever its record has run out, traffic or not: so targets are. Elsewhere it is
asked when somebody wants it: so the hosts of services are. Of one name there is at most one question under way, and
while a record is out of date but serves, nobody waits for the next one.

What to believe and for how long is decided by `twisted_kong.resolving.cache`; the questions are answered by the
resolver that the settings name. Names in its answers, as SRV records have them, are names themselves, asked for by
their own time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_kong.errors import NameFailure, NameNotFound, NameNotResolved
from twisted_kong.interfaces import IHostResolver, IResolver
from twisted_kong.model.traffic import Answer
from twisted_kong.resolving.cache import Remembered, Rules
from twisted_kong.runtime.peers import is_address
from twisted_kong.runtime.records import MOST, Entry, Record, make_record
from twisted_kong.runtime.reminders import TICK, Reminders
from twisted_kong.settings import Settings
from twisted_kong.tasks import detach

log = Logger()

PATIENCE = 1.0
"""Seconds that a request waits for a name of TTL 0 while an older answer would do."""

AGAIN = 60.0
"""Seconds after which a kept name of TTL 0 is asked whether it still is one."""

MOST_REASONS = 8
"""Reasons of failures that are counted apart for one name."""

SLOWEST = 16.0
"""Seconds between two questions for a kept name that fails, at most, where ``dns_error_ttl`` is not longer."""


Listener = Callable[[], None]
"""Called when the record of a name, or whether there is any, has changed."""


class Name:
    """One name. Made by `Names.use` and nobody else.

    ``record`` is what it stands for now; where that is None, ``error`` is why, and where that is None as well,
    nobody knows yet. ``expires`` is when the record is to be asked for anew.
    """

    def __init__(self, names: Names, text: str, *, inner: bool) -> None:
        self.text = text
        self.memory = Remembered(names.rules)
        self.record: Record | None = None
        self.error: NameFailure | None = None
        self.expires = 0.0
        self.questions = 0
        """How often the resolver was asked; ``failures`` by reason, ``lasted`` the seconds that it took last."""
        self.failures: dict[str, int] = {}
        self.lasted = 0.0
        self.runs = 0
        """How often requests wanted it; ``misses`` had to wait or to fail, ``stale`` took what was out of date."""
        self.misses = 0
        self.stale = 0
        self.due = 0.0
        self.asking = 0
        self.asked_at = 0.0
        self.inner = inner
        self._names = names
        self._hosts: dict[str, Name] = {}
        self._parents: dict[Name, None] = {}
        self._listeners: list[tuple[Listener, bool]] = []
        self._keepers = 0
        self._waiting: list[Deferred[Record]] = []
        self._made_of: tuple[object, ...] = ()
        self._made_from: Answer | None = None  # where the record follows from one answer alone
        self._patience: IDelayedCall | None = None
        self._overdue = False

    # -- who uses it -------------------------------------------------------------------------------------------

    def use(self, listener: Listener, *, keep: bool) -> None:
        """Tell ``listener`` of every change; ask in time if it is to be kept."""
        self._listeners.append((listener, keep))
        if keep:
            self._keepers += 1
            self._names.reminders.remind(self)
            for host in self._hosts.values():
                self._names.reminders.remind(host)
            self.want()

    def leave(self, listener: Listener) -> None:
        """``listener`` uses it no more. A name nobody uses is forgotten."""
        self._listeners = [used for used in self._listeners if used[0] != listener]
        self._keepers = sum(keep for _, keep in self._listeners)
        if not self.used:
            self._names.forget(self)

    @property
    def used(self) -> bool:
        return bool(self._listeners or self._parents)

    @property
    def kept(self) -> bool:
        """Whether it is asked without anybody wanting it."""
        return self._keepers > 0 or (bool(self._parents) and any(parent.kept for parent in self._parents))

    @property
    def settled(self) -> bool:
        """Whether anything is known of it, be it a failure."""
        return self.record is not None or self.error is not None

    # -- what is known -----------------------------------------------------------------------------------------

    def state(self, now: float) -> str:
        """In a word: unknown, failed, virtual, fresh or stale."""
        if self.record is None:
            return "unknown" if self.error is None else "failed"
        return "virtual" if self.record.virtual else "fresh" if now < self.expires else "stale"

    def get(self) -> Record | Deferred[Record]:
        """The record for a request: at once where one serves, else when it has come.

        :raise NameFailure: there is none; so may the Deferred.
        """
        now = self._names.seconds()
        self.runs += 1
        if now < self.expires and self.record is not None:
            return self.record
        if self.record is not None and not self.record.virtual and self.memory.serves(now) is None:
            self._renew()
        self.want()
        record, blocked = self.record, self._blocked()
        if record is not None and (not record.virtual or self._overdue or not blocked):
            self.stale += now >= self.expires
            return record
        self.misses += 1
        if not blocked:
            raise (self.error or NameNotResolved(self.text, "the resolver failed")).with_traceback(None)
        if record is not None and self._patience is None and self.memory.serves(now) is not None:
            self._patience = self._names.clock.callLater(PATIENCE, self._impatient)
        waiting: Deferred[Record] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def want(self) -> None:
        """Ask for whatever of it does not hold, unless somebody asks already or has just failed to answer."""
        now = self._names.seconds()
        memory = self.memory
        if memory.fresh(now) or memory.refuses(now) is not None:
            for host in list(self._hosts.values()):
                host.want()
        elif not self.asking or self._names.no_sync:
            self.asking += 1
            self.questions += 1
            self._names.questions += 1
            self.asked_at = now
            detach(self._asked(), f"the resolution of {self.text}")

    async def _asked(self) -> None:
        names, memory = self._names, self.memory
        try:
            answer = await names.resolve(self.text, inner=self.inner)
            if not answer.addresses:
                raise NameNotFound(asked=answer.asked, empty=True)
        except NameFailure as error:
            self._failed(error)
        except Exception:
            log.failure("the resolver failed on {name}", name=self.text)
            self._failed(NameNotResolved(self.text, "the resolver failed"))
        else:
            same = answer is memory.answer
            memory.answered(answer, names.seconds())
            if self._hosts or not same:
                self._follow(answer)
        finally:
            self.asking -= 1
        self.lasted = names.seconds() - self.asked_at
        self._finish()

    def _failed(self, error: NameFailure) -> None:
        self.memory.failed(error, self._names.seconds())
        self._names.failures += 1
        if error.reason in self.failures or len(self.failures) < MOST_REASONS:
            self.failures[error.reason] = self.failures.get(error.reason, 0) + 1

    def _follow(self, answer: Answer) -> None:
        """Use the names in ``answer``, and no others."""
        if self.inner or not (self._hosts or any(not is_address(each.host) for each in answer.addresses)):
            return
        wanted = {each.host.lower() for each in answer.addresses[:MOST] if not is_address(each.host)}
        for text in self._hosts.keys() - wanted:
            self._hosts.pop(text).abandon(self)
        for text in sorted(wanted - self._hosts.keys()):
            self._hosts[text] = self._names.host(text)
            self._hosts[text]._parents[self] = None
        for host in list(self._hosts.values()):
            host.want()

    def abandon(self, parent: Name) -> None:
        """``parent`` leads here no more."""
        del self._parents[parent]
        if not self.used:
            self._names.forget(self)

    def let_go(self) -> None:
        """It is forgotten: use no other names, as soon as nothing is under way any more."""
        if not self._blocked():
            hosts, self._hosts = self._hosts, {}
            for host in hosts.values():
                host.abandon(self)

    def _blocked(self) -> bool:
        """Whether there is a question under way without whose answer nothing can be said."""
        return self.asking > 0 or self._hosts_block()

    def _hosts_block(self) -> bool:
        for host in self._hosts.values():
            if host.asking and (not host.settled or (host.record is not None and host.record.virtual)):
                return True
        return False

    def _finish(self) -> None:
        """A question has been answered, here or of a host: tell everybody, unless there is more to come."""
        if self._hosts_block() or (self.asking and not self._names.no_sync):
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._overdue = False
        self._renew()
        self._names.reminders.remind(self)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._tell(one)
        for parent in list(self._parents):
            parent._finish()
        if not self._names.remembers(self):
            self.let_go()

    def _renew(self) -> None:
        """Put together what is known now, and tell who uses it if that is news."""
        if self._make_record():
            for listener, _ in list(self._listeners):
                with log.failuresHandled("telling of a change of {name}", name=self.text):
                    listener()

    def _impatient(self) -> None:
        """Who has waited this long takes the older answer."""
        self._patience = None
        self._overdue = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._tell(one)

    def _tell(self, waiting: Deferred[Record]) -> None:
        if waiting.called:  # it was cancelled: nobody waits
            return
        if self.record is not None:
            waiting.callback(self.record)
        else:
            waiting.errback(self.error or NameNotResolved(self.text, "the resolver failed"))

    def _make_record(self) -> bool:
        """Put together what is known; whether that is news."""
        now = self._names.seconds()
        memory = self.memory
        if memory.answer is self._made_from and self.record is not None and not memory.virtual and memory.fresh(now):
            self.expires = memory.expires  # the same answer again, as it mostly is
            return False
        self._made_from = None
        answer = memory.answer if memory.virtual and memory.error is None else memory.serves(now)
        record, error = None, memory.error
        self.expires = 0.0
        if answer is not None:
            hosts = list(self._hosts.values())
            virtual = memory.virtual or any(host.record is not None and host.record.virtual for host in hosts)
            made_of = (answer.addresses, answer.type, virtual, *(host.record for host in hosts))
            if made_of == self._made_of and self.record is not None:
                record = self.record
            else:
                records = {text: host.record for text, host in self._hosts.items()}
                record = make_record(self.text, answer, records, virtual=virtual)
                self._made_of = made_of
            if record is None:
                error = next((host.error for host in hosts if host.error is not None), None) or NameNotFound(empty=True)
            elif not virtual:
                self._made_from = None if hosts else answer
                self.expires = min([memory.expires, *(host.expires for host in hosts)])
        before = self.record, None if self.error is None else self.error.reason
        self.record, self.error = record, None if record is not None else error
        return before != (record, None if self.error is None else self.error.reason)

    def next_question(self) -> float:
        """When a kept name is to be asked, at the earliest."""
        memory = self.memory
        now = self._names.seconds()
        if memory.error is None:
            return now + AGAIN if memory.virtual else max(memory.expires, now)
        when = memory.believed
        if not isinstance(memory.error, NameNotFound):
            pause = max(self._names.rules.error_ttl, 1.0)
            when += min(pause * 2.0 ** min(memory.errors - 1, 8), max(SLOWEST, pause)) - self._names.rules.error_ttl
        return max(when, now + TICK)

    @property
    def hosts(self) -> Sequence[Name]:
        """The names its answer led to."""
        return list(self._hosts.values())


class Names:
    """All names in use, through ``resolver``.

    At most ``size`` of those that nobody keeps are remembered. With ``no_sync`` equal questions are all asked.
    """

    def __init__(
        self,
        resolver: IResolver,
        clock: IReactorTime,
        rules: Rules | None = None,
        *,
        random: Random | None = None,
        size: int = 10000,
        no_sync: bool = False,
    ) -> None:
        self.rules = rules or Rules()
        self.clock = clock
        self.seconds = clock.seconds
        self.no_sync = no_sync
        self.questions = 0
        """How often the resolver was asked, for whatever name; ``failures`` how often in vain."""
        self.failures = 0
        self._size = size
        self._random = random or Random()
        self._resolver = resolver
        self._resolve_host = resolver.resolve_host if IHostResolver.providedBy(resolver) else resolver.resolve
        self._names: dict[tuple[str, bool], Name] = {}
        self._idle: dict[Name, None] = {}  # used by nobody; who was wanted last comes last
        self.reminders = Reminders(clock, self._random)

    # -- for everybody -----------------------------------------------------------------------------------------

    def use(self, text: str, listener: Listener, *, keep: bool) -> Name:
        """The name, used from now on by ``listener``: it is called when the record changes. See `Name.leave`."""
        name = self._name(text.lower())
        self._idle.pop(name, None)
        name.use(listener, keep=keep)
        return name

    def get(self, text: str) -> Record | Deferred[Record]:
        """As `Name.get`, whoever uses the name, and be it nobody."""
        name = self._name(text.lower())
        if not name.used:
            self._idle.pop(name, None)
            self._idle[name] = None
            while len(self._idle) > max(self._size, 1):
                self.forget(next(iter(self._idle)))
        return name.get()

    def look(self, text: str) -> Name | None:
        """What is known of a name, asking nobody; None for nothing."""
        return self._names.get((text.lower(), False))

    def all(self) -> Iterator[Name]:
        """Every name there is."""
        return iter(list(self._names.values()))

    def states(self) -> Counter[str]:
        """How many names are in which state."""
        now = self.seconds()
        return Counter(name.state(now) for name in self._names.values())

    def walk(self, record: Record) -> list[Entry]:
        """The entries in the order in which one request tries them: the first by weight and chance, then in turn."""
        entries = record.entries
        weights = [1 if entry.weight is None else entry.weight for entry in entries]
        start = self._random.choices(range(len(entries)), weights)[0]
        return [*entries[start:], *entries[:start]]

    def below(self, bound: int) -> int:
        """A number from 0 up to ``bound``, by chance."""
        return self._random.randrange(bound)

    def close(self) -> None:
        """Ask nobody any more."""
        self.reminders.close()
        close = getattr(self._resolver, "close", None)
        if close is not None:
            close()

    # -- for names ---------------------------------------------------------------------------------------------

    def resolve(self, text: str, *, inner: bool) -> Awaitable[Answer]:
        return self._resolve_host(text) if inner else self._resolver.resolve(text)

    def _name(self, text: str, *, inner: bool = False) -> Name:
        key = text, inner
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = Name(self, text, inner=inner)
        return name

    def host(self, text: str) -> Name:
        """The name of a host in an answer; those in its own answer are not followed, so there are no circles."""
        return self._name(text, inner=True)

    def forget(self, name: Name) -> None:
        """Nobody uses ``name``."""
        self._idle.pop(name, None)
        for key in ((name.text, False), (name.text, True)):
            if self._names.get(key) is name:
                del self._names[key]
        name.let_go()

    def remembers(self, name: Name) -> bool:
        """Whether ``name`` has not been forgotten."""
        return self._names.get((name.text, name.inner)) is name


def make_names(reactor: Any, settings: Settings, resolver: IResolver) -> Names:
    """All names, asked through ``resolver``, under the ``dns_*`` settings."""
    rules = Rules(settings.dns_valid_ttl, settings.dns_stale_ttl, settings.dns_not_found_ttl, settings.dns_error_ttl)
    return Names(resolver, reactor, rules, size=settings.dns_cache_size, no_sync=settings.dns_no_sync)
