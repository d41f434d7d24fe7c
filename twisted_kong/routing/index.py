"""Where candidates are kept, so that a request meets only those whose host and plain path it fits.

An index never changes: a new one is made from the old, sharing everything that no changed route concerns. That is
how a router of thousands of routes can be replaced at every change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from twisted_kong.routing.candidates import Candidate
from twisted_kong.routing.names import split_port, wildcards

Group = tuple[Candidate, ...]
"""Candidates of one host and one plain path, the best first; what ranks alike keeps the order of its route."""

K = TypeVar("K")


class PathIndex:
    """The candidates of one host by plain path. Under None are all without one; they have to be tried one by one."""

    __slots__ = ("_groups", "_lengths", "_others")

    def __init__(self, groups: Mapping[bytes | None, Group]) -> None:
        self._groups = groups
        self._others = groups.get(None)
        self._lengths = sorted({len(prefix) for prefix in groups if prefix is not None}, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._groups)

    def collect(self, path: bytes, into: list[Group]) -> None:
        """Append the groups that ``path`` may be in. Takes one look-up for each length there is among the prefixes."""
        if self._others is not None:
            into.append(self._others)
        size = len(path)
        for length in self._lengths:
            if length <= size:
                group = self._groups.get(path[:length])
                if group is not None:
                    into.append(group)

    def changed(self, removed: Iterable[Candidate], added: Iterable[Candidate]) -> PathIndex:
        """This index without the ones and with the others."""
        groups = dict(self._groups)
        for prefix, (gone, come) in _parted(lambda candidate: candidate.prefix, removed, added).items():
            group = [*(candidate for candidate in groups.pop(prefix, ()) if candidate not in gone), *come]
            if group:
                groups[prefix] = tuple(sorted(group, key=lambda candidate: candidate.rank))
        return PathIndex(groups)


_NOTHING = PathIndex({})

_Hosts = Mapping[bytes | None, PathIndex]


class HostIndex:
    """All candidates, by host. Under None are those of any host."""

    __slots__ = ("_exact", "_wild")

    def __init__(self, exact: _Hosts, wild: _Hosts) -> None:
        self._exact = exact
        self._wild = wild

    def groups(self, host: bytes, path: bytes, https: bool) -> list[Group]:
        """The candidates that a request may match, in groups; the work does not depend on how many others there are.

        ``host`` may carry a port; without one it is that of the scheme.
        """
        name, port = split_port(host.lower())
        port = b":" + (port or (b"443" if https else b"80"))
        found: list[Group] = []
        for key in (name, name + port, None):
            paths = self._exact.get(key)
            if paths is not None:
                paths.collect(path, found)
        if self._wild:
            for pattern in wildcards(name):
                for key in (pattern, pattern + port):
                    paths = self._wild.get(key)
                    if paths is not None:
                        paths.collect(path, found)
        return found

    def changed(self, removed: Iterable[Candidate], added: Iterable[Candidate]) -> HostIndex:
        """This index without the ones and with the others."""
        exact, wild = dict(self._exact), dict(self._wild)
        for host, (gone, come) in _parted(lambda candidate: candidate.host, removed, added).items():
            hosts = exact if host is None or b"*" not in host else wild
            paths = hosts.pop(host, _NOTHING).changed(gone, come)
            if paths:
                hosts[host] = paths
        return HostIndex(exact, wild)


NO_CANDIDATES = HostIndex({}, {})


def _parted(
    key: Callable[[Candidate], K], removed: Iterable[Candidate], added: Iterable[Candidate]
) -> Mapping[K, tuple[set[Candidate], list[Candidate]]]:
    """Who goes and who comes, for each value of ``key``."""
    parts: dict[K, tuple[set[Candidate], list[Candidate]]] = defaultdict(lambda: (set(), []))
    for candidate in removed:
        parts[key(candidate)][0].add(candidate)
    for candidate in added:
        parts[key(candidate)][1].append(candidate)
    return parts
