"""Components by name: the built-in ones, each verified to be what it says it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from twisted_kong.balancing.roundrobin import RoundRobinFactory
from twisted_kong.errors import ComponentError
from twisted_kong.interfaces import IAlgorithmFactory, IResolverFactory
from twisted_kong.resolving.system import SystemResolverFactory

BUILT_IN: tuple[object, ...] = (RoundRobinFactory(), SystemResolverFactory())


class Registry:
    """The components of a gateway.

    :raise ComponentError: one of ``components`` is no component, or two have the same name.
    """

    def __init__(self, components: Iterable[object] = BUILT_IN) -> None:
        self.algorithms: Mapping[str, IAlgorithmFactory]
        self.resolvers: Mapping[str, IResolverFactory]
        found: dict[type[Interface], dict[str, Any]] = {IAlgorithmFactory: {}, IResolverFactory: {}}
        for component in components:
            kinds = [kind for kind in found if kind.providedBy(component)]
            if not kinds:
                raise ComponentError(f"{component!r}: expected a factory of a component, got {type(component)!r}")
            for kind in kinds:
                _add(found[kind], kind, component)
        self.algorithms = found[IAlgorithmFactory]
        self.resolvers = found[IResolverFactory]

    def resolver(self, name: str) -> IResolverFactory:
        """The resolver that ``dns_resolver_plugin`` names.

        :raise ComponentError: there is none of this name.
        """
        if name not in self.resolvers:
            known = ", ".join(sorted(self.resolvers))
            raise ComponentError(f"dns_resolver_plugin: expected one of {known}, got {name!r}")
        return self.resolvers[name]


def _add(named: dict[str, Any], kind: type[Interface], component: object) -> None:
    try:
        verifyObject(kind, component)
    except Invalid as error:
        raise ComponentError(f"{component!r} is no {kind.__name__}: {error}") from None
    name = cast(Any, component).name
    if name in named:
        raise ComponentError(f"two components are called {name!r}: {named[name]!r} and {component!r}")
    named[name] = component
