"""The resolver ``dns``, the default: the hosts file, then name servers, by the rules of Kong (3.9).

The types of ``dns_order`` are tried one after the other, each with every name that the search list makes of the one
asked for. ``LAST`` is the type that was found last. A name that does not exist, has no such records, or makes a server
fail leads on to the next; a server that keeps silent ends it all. Aliases are followed, by the server or by us, and
records hold no longer than the aliases that led to them. Of SRV records those of the lowest priority count; their hosts
are left to the core, which asks for them with `DnsResolver.resolve_host`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, NamedTuple

from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_kong.errors import NameFailure, NameNotFound, NameNotResolved
from twisted_kong.interfaces import IHostResolver, IResolver, IResolverFactory
from twisted_kong.model.traffic import Address, Answer, Asked
from twisted_kong.resolving.client import Client, Unanswered, told
from twisted_kong.resolving.files import Watched
from twisted_kong.resolving.hosts import Family, parse_hosts
from twisted_kong.resolving.messages import MOST_ALIASES, BadName, Question, Reply, address_of
from twisted_kong.resolving.resolvconf import Config, Server, parse_resolv_conf
from twisted_kong.settings import Settings

LOCAL_TTL = 5.0
"""Seconds that what the hosts file says holds, before the file is looked at again."""

MOST_NAMES = 20_000
"""Names of which something is remembered to save work; then it is all forgotten and found anew."""

NAME_ERROR = 3
RCODES = {1: "format error", 2: "server failure", 3: "name error", 4: "not implemented", 5: "refused"}

RESOLV_CONF = Path("/etc/resolv.conf")


@dataclass(slots=True)
class _Search:
    """One search for a name: what was asked, and which absolute names it was not.

    Those ``missing`` do not exist, those ``empty`` do, and of those ``failed`` nobody could tell, for a reason.
    """

    name: str
    config: Config
    asked: list[Asked] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def failure(self) -> NameFailure:
        """Why nothing was found. That a name does not exist is certain, whatever became of its other types."""
        asked = tuple(self.asked)
        for name, reason in self.failed.items():
            if name not in self.missing:
                return NameNotResolved(self.name, reason, asked)
        return NameNotFound(asked=asked, empty=bool(self.empty - self.missing))

    def give_up(self, reason: str) -> NameFailure:
        return NameNotResolved(self.name, reason, tuple(self.asked))


class _Usual(NamedTuple):
    """The one question that was enough to find a name, while the configuration is this."""

    question: Question
    server: Server
    config: Config


@implementer(IHostResolver)
class DnsResolver:
    """Asks name servers.

    ``servers`` and ``timeout``, in seconds, replace those of resolv.conf, whose other options hold in any case;
    ``order`` is ``dns_order``.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        servers: Sequence[Server] = (),
        order: Sequence[str] = ("LAST", "SRV", "A", "AAAA", "CNAME"),
        hosts_file: Path = Path("/etc/hosts"),
        resolv_conf: Path = RESOLV_CONF,
        timeout: float | None = None,
        random: Random | None = None,
    ) -> None:
        self._order = tuple(order)
        self._random = random or SystemRandom()
        self._client = Client(reactor, self._random)
        self._hosts = Watched(hosts_file, parse_hosts, reactor)
        self._hosts_file = str(hosts_file)
        self._config = Watched(resolv_conf, partial(_configured, tuple(servers), timeout), reactor)
        self._types = tuple(type for type in self._order if type != "LAST")
        self._host_types = tuple(type for type in self._types if type != "SRV") or ("A", "AAAA")
        self._six_first = "AAAA" in self._types and "A" not in self._types[: self._types.index("AAAA")]
        self._last: dict[tuple[str, bool], str] = {}
        self._usual: dict[tuple[str, bool], _Usual] = {}
        self._questions: dict[tuple[str, str], Question] = {}

    def resolve(self, name: str) -> Awaitable[Answer]:
        return self._resolve(name, self._types, host=False)

    def resolve_host(self, name: str) -> Awaitable[Answer]:
        return self._resolve(name, self._host_types, host=True)

    def close(self) -> None:
        """Ask nobody any more."""
        self._client.close()

    # -- the search --------------------------------------------------------------------------------------------

    async def _resolve(self, name: str, types: Sequence[str], *, host: bool) -> Answer:
        name = name.lower()
        local = self._local(name)
        if local is not None:
            return local
        config = self._config.value()
        usual = self._usual.get((name, host))
        if usual is not None and usual.config is config:
            answer = await self._ask_as_usual(usual)
            if answer is not None:
                return answer
            self._usual.pop((name, host), None)  # somebody else may have asked the same in vain
        search = _Search(name, config)
        last = self._last.get((name, host))
        for type in self._in_order(types, last):
            for candidate in search.config.candidates(name):
                answer = await self._look_up(candidate, type, search, types)
                if answer is not None:
                    if type != last:
                        _remember(self._last, (name, host), type)
                    elif len(search.asked) == 1 and len(config.servers) == 1:
                        question = self._question(candidate, type)
                        _remember(self._usual, (name, host), _Usual(question, config.servers[0], config))
                    return answer
        raise search.failure()

    async def _ask_as_usual(self, usual: _Usual) -> Answer | None:
        """The answer, where it is found by the same single question again; most of all questions are such."""
        server = usual.server
        try:
            reply = await self._client.ask(usual.question, server, usual.config.timeout)
            if reply.truncated:
                reply = await self._client.ask(usual.question, server, usual.config.timeout, by_stream=True)
        except Unanswered:
            return None
        answer = reply.answers.get(server)
        if answer is None and not reply.truncated and not reply.rcode and (addresses := _addresses(reply)):
            answer = self._answer(reply, addresses, usual.question, server, _Search("", usual.config))
        return answer

    def _in_order(self, types: Sequence[str], last: str | None) -> Iterator[str]:
        """The types, in order, with the last one found where ``LAST`` stands; each of them once."""
        if last is None or "LAST" not in self._order:
            yield from types
            return
        done = set()
        for type in self._order:
            type = last if type == "LAST" else type
            if type not in done and type in types:
                done.add(type)
                yield type

    def _local(self, name: str) -> Answer | None:
        """What the hosts file says."""
        found = self._hosts.value().get(name.removesuffix("."))
        if found is None:
            return None
        families: list[Family] = ["AAAA", "A"] if self._six_first else ["A", "AAAA"]
        family = next(family for family in families if family in found)
        asked = Asked(name, family, self._hosts_file, found[family])
        return Answer((Address(found[family]),), LOCAL_TTL, family, (asked,))

    async def _look_up(
        self, name: str, type: str, search: _Search, types: Sequence[str], seen: tuple[str, ...] = ()
    ) -> Answer | None:
        """The answer that the records of ``type`` of one absolute name make, None where there are none.

        ``seen`` are the aliases that led to the name.
        """
        try:
            question = self._question(name, type)
        except BadName as error:
            search.failed.setdefault(name, f"no name that can be asked for: {error}")
            return None
        server, reply = await self._ask(question, search)
        if reply.rcode:
            reason = f"dns server error: {reply.rcode} {RCODES.get(reply.rcode, 'unknown')}"
            _note(search, question, server, RCODES.get(reply.rcode, f"rcode {reply.rcode}"))
            if reply.rcode == NAME_ERROR:
                search.missing.add(name)
            else:
                search.failed.setdefault(name, reason)
            return None
        addresses = _addresses(reply)
        if addresses:
            return self._answer(reply, addresses, question, server, search)
        if len(reply.names) == 1:
            _note(search, question, server, "nothing")
            search.empty.add(name)
            return None
        _note(search, question, server, f"alias of {reply.names[-1]}")
        return await self._follow(reply, type, search, types, seen)

    async def _follow(
        self, reply: Reply, type: str, search: _Search, types: Sequence[str], seen: tuple[str, ...]
    ) -> Answer | None:
        """The server knows an alias, and did not look behind it.

        :raise NameNotResolved: it leads in a circle, or too far.
        """
        *led, alias = reply.names
        seen += tuple(led)
        if alias in seen or len(seen) > MOST_ALIASES:
            raise search.give_up(f"dns client error: recursion detected at {alias}")
        for behind in types if type == "CNAME" else (type,):
            answer = await self._look_up(alias, behind, search, types, seen)
            if answer is not None:
                return replace(answer, ttl=min(answer.ttl, reply.ttl), asked=tuple(search.asked))
        search.empty.add(reply.names[0])
        return None

    def _answer(
        self, reply: Reply, addresses: tuple[Address, ...], question: Question, server: Server, search: _Search
    ) -> Answer:
        """The answer; the same one for the same reply, if nothing else was asked."""
        told_before = not search.asked
        answer = reply.answers.get(server) if told_before else None
        if answer is None:
            _note(search, question, server, f"{len(addresses)} records")
            answer = Answer(addresses, float(reply.ttl), question.type, tuple(search.asked))
            if told_before:
                reply.answers[server] = answer
        return answer

    # -- questions ---------------------------------------------------------------------------------------------

    def _question(self, name: str, type: str) -> Question:
        question = self._questions.get((name, type))
        if question is None:
            question = Question(name, type)
            _remember(self._questions, (name, type), question)
        return question

    async def _ask(self, question: Question, search: _Search) -> tuple[Server, Reply]:
        """The first good reply of any server, or else the last bad one: servers that fail are asked once.

        :raise NameNotResolved: none replied.
        """
        config = search.config
        waiting = list(config.servers)
        if not waiting:
            raise search.give_up("no name server is known")
        if config.rotate:
            start = self._random.randrange(len(waiting))
            waiting = waiting[start:] + waiting[:start]
        bad: tuple[Server, Reply] | None = None
        reason = ""
        for _ in range(max(config.attempts, len(waiting))):
            if not waiting:
                break
            server = waiting.pop(0)
            try:
                reply = await self._client.ask(question, server, config.timeout)
                if reply.truncated:
                    reply = await self._client.ask(question, server, config.timeout, by_stream=True)
            except Unanswered as error:
                reason = str(error)
                _note(search, question, server, reason)
                if not error.gone:
                    waiting.append(server)
                continue
            if reply.truncated:
                reason = f"{told(server)} cut its reply short, over a connection as well"
                _note(search, question, server, reason)
                continue
            if reply.rcode in (0, NAME_ERROR):
                return server, reply
            bad = server, reply
        if bad is None:
            raise search.give_up(f"dns client error: {reason}")
        return bad


def _addresses(reply: Reply) -> tuple[Address, ...]:
    """What a reply stands for. SRV records that lead back to themselves are none (Kubernetes has such), nor are those
    that say there is no such service (RFC 2782)."""
    if not reply.services:
        return tuple(Address(address) for address in reply.addresses)
    services = [each for each in reply.services if each.target != "." and each.target not in reply.names]
    lowest = min((each.priority for each in services), default=0)
    return tuple(address_of(each) for each in services if each.priority == lowest)


def _note(search: _Search, question: Question, server: Server, result: str) -> None:
    search.asked.append(Asked(question.name, question.type, told(server), result))


def _remember(memory: dict[Any, Any], key: object, value: object) -> None:
    if len(memory) >= MOST_NAMES:
        memory.clear()
    memory[key] = value


def _configured(servers: Sequence[Server], timeout: float | None, text: str) -> Config:
    config = parse_resolv_conf(text, os.environ)
    return replace(config, servers=servers or config.servers, timeout=timeout or config.timeout)


@implementer(IPlugin, IResolverFactory)
class DnsResolverFactory:
    """Makes ``dns_resolver_plugin=dns``."""

    name = "dns"

    def build(self, reactor: object, settings: object) -> IResolver:
        assert isinstance(settings, Settings)
        return DnsResolver(
            reactor, servers=settings.dns_resolver, order=settings.dns_order, hosts_file=settings.dns_hostsfile
        )
