"""Components by kind and name, each verified to be what it says it is.

There are three sources: the built-in table below, entry points, and drop-in modules (`twisted_kong.discovery`). What
comes from any of them is verified in the same way, and what is wrong is told in one line that names where it came from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from twisted_kong import __version__
from twisted_kong.balancing.hashing import ConsistentHashingFactory
from twisted_kong.balancing.latency import LatencyFactory
from twisted_kong.balancing.leastconnections import LeastConnectionsFactory
from twisted_kong.balancing.poweroftwo import PowerOfTwoChoicesFactory
from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.balancing.sticky import StickySessionsFactory
from twisted_kong.discovery import GROUP, Candidate, drop_ins, entry_points
from twisted_kong.errors import ComponentError
from twisted_kong.health.checkers.grpc import GrpcCheckerFactory, GrpcsCheckerFactory
from twisted_kong.health.checkers.http import HttpCheckerFactory, HttpsCheckerFactory
from twisted_kong.health.checkers.tcp import TcpCheckerFactory
from twisted_kong.interfaces import IAlgorithmFactory, IHealthCheckerFactory, IResolverFactory
from twisted_kong.model.components import Component
from twisted_kong.resolving.dns import DnsResolverFactory
from twisted_kong.resolving.system import SystemResolverFactory

BUILT_IN: tuple[object, ...] = (
    RoundRobinFactory(),
    DnsResolverFactory(),
    ConsistentHashingFactory(),
    LeastConnectionsFactory(),
    LatencyFactory(),
    PowerOfTwoChoicesFactory(),
    StickySessionsFactory(),
    SystemResolverFactory(),
    TcpCheckerFactory(),
    HttpCheckerFactory(),
    HttpsCheckerFactory(),
    GrpcCheckerFactory(),
    GrpcsCheckerFactory(),
)
"""Our own components."""

KINDS: Mapping[str, type[Interface]] = MappingProxyType(
    {"algorithm": IAlgorithmFactory, "resolver": IResolverFactory, "checker": IHealthCheckerFactory}
)
"""What components there are, and what the factory of each provides."""

_PREAMBLE = re.compile(r"The object .* has failed to implement interface [\w.]+: ")
"""How zope.interface begins, which calls the factory by its address in memory."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Registry:
    """The components of a gateway: ``components`` tells of each, in the order they were found, kind by kind.

    :param candidates: what may be factories of components; our own, where nothing else is said.
    :raise ComponentError: one of them is no component, or two of a kind have the same name.
    """

    def __init__(self, candidates: Iterable[object] = BUILT_IN) -> None:
        self._found: dict[str, dict[str, tuple[Component, Any]]] = {kind: {} for kind in KINDS}
        for each in candidates:
            self._add(each if isinstance(each, Candidate) else Candidate(each, *_home(each)))
        self.components = tuple(component for named in self._found.values() for component, _ in named.values())
        self.algorithms: Mapping[str, IAlgorithmFactory] = self._factories("algorithm")
        self.resolvers: Mapping[str, IResolverFactory] = self._factories("resolver")
        self.checkers: Mapping[str, IHealthCheckerFactory] = self._factories("checker")

    @classmethod
    def installed(cls, plugin_dirs: Iterable[Path] = ()) -> Registry:
        """Everything there is: our own, what entry points name, what lies on ``sys.path`` and in ``plugin_dirs``.

        :raise ComponentError: something cannot be imported, or is no component, or has the name of another.
        """
        return cls(chain(BUILT_IN, entry_points(), drop_ins(plugin_dirs)))

    def homes(self) -> Iterator[tuple[Component, str]]:
        """Each component with the file that its code is in; a package, which is more than one, with its directory."""
        for named in self._found.values():
            for component, factory in named.values():
                module = type(factory).__module__
                parts = module.split(".")
                own = 1 if parts[0] != "twisted_kong" else 3 if module.startswith(f"{GROUP}.") else len(parts)
                file = getattr(sys.modules.get(".".join(parts[:own])), "__file__", None)
                if file is not None:
                    yield component, file.removesuffix("__init__.py")

    def resolver(self, name: str) -> IResolverFactory:
        """The resolver that ``dns_resolver_plugin`` names.

        :raise ComponentError: there is none of this name.
        """
        if name not in self.resolvers:
            raise ComponentError(f"dns_resolver_plugin: expected one of {_listed(self.resolvers)}, got {name!r}")
        return self.resolvers[name]

    def fallback(self, name: str | None) -> str | None:
        """The algorithm that ``algorithm_fallback`` names, if it names one.

        :raise ComponentError: there is none of this name.
        """
        if name is not None and name not in self.algorithms:
            raise ComponentError(f"algorithm_fallback: expected one of {_listed(self.algorithms)}, got {name!r}")
        return name

    def _factories(self, kind: str) -> Mapping[str, Any]:
        return MappingProxyType({name: factory for name, (_, factory) in self._found[kind].items()})

    def _add(self, candidate: Candidate) -> None:
        factory, origin, version = candidate
        kinds = [kind for kind, interface in KINDS.items() if interface.providedBy(factory)]
        if not kinds:
            raise ComponentError(f"{origin}: expected a factory of a component, got {_shown(factory)}")
        for kind in kinds:
            _verify(KINDS[kind], factory, origin)
            component = Component(kind, factory.name, origin, version)  # type: ignore[attr-defined]  # verified
            twin, other = self._found[kind].setdefault(component.name, (component, factory))
            if other is not factory:  # one that a module imported from another is still the same
                raise ComponentError(f"{origin}: expected a name of its own, got {component.name!r}, which is {twin}")


def _verify(interface: type[Interface], factory: object, origin: str) -> None:
    """:raise ComponentError: ``factory`` does not do what it says, or has a name that nobody could write."""
    try:
        verifyObject(interface, factory)
        name = factory.name  # type: ignore[attr-defined]  # just verified
    except Exception as error:
        what = str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"
        reason = _PREAMBLE.sub("", " ".join(what.split()))
        raise ComponentError(f"{origin}: {_shown(factory)} is no {interface.__name__}: {reason}") from None
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ComponentError(
            f"{origin}: {_shown(factory)}: expected a name of up to 64 letters, digits and -._, got {name!r}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _shown(factory: object) -> str:
    """How messages call what may be no component at all."""
    if isinstance(factory, type):
        return f"the class {factory.__qualname__}, not an instance of it"
    return f"an instance of {type(factory).__qualname__}"


def _home(factory: object) -> tuple[str, str | None]:
    """Origin and version of what was handed over by a program."""
    module = type(factory).__module__
    return ("built-in", __version__) if module.startswith("twisted_kong.") else (f"module {module}", None)
