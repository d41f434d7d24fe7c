"""The resolver that the settings name, kept from doing harm.

A resolver may be anybody's. Whatever it raises but a `NameFailure`, and whatever it answers but an `Answer` that one
can dial, counts as nobody being able to tell: what was known of the name serves on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import isfinite
from typing import Any

from zope.interface import implementer

from twisted_kong.errors import ComponentError, NameFailure, NameNotResolved
from twisted_kong.interfaces import IHostResolver, IResolver, IResolverFactory
from twisted_kong.model.components import Component
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.runtime.guard import Guard
from twisted_kong.settings import Settings

LAST_PORT = 65535


@implementer(IHostResolver)
class GuardedResolver:
    """Answers what ``resolver`` does, or raises a `NameFailure`."""

    def __init__(self, resolver: IResolver, guard: Guard) -> None:
        self._resolver = resolver
        self._guard = guard
        self._resolve_host = resolver.resolve_host if IHostResolver.providedBy(resolver) else resolver.resolve

    async def resolve(self, name: str) -> Answer:
        return await self._asked(self._resolver.resolve, name)

    async def resolve_host(self, name: str) -> Answer:
        return await self._asked(self._resolve_host, name)

    async def _asked(self, ask: Callable[[str], Awaitable[Answer]], name: str) -> Answer:
        try:
            return checked(await ask(name))
        except NameFailure:
            raise
        except Exception:
            self._guard.failed(f"find the addresses of {name}")
            raise NameNotResolved(name, "the resolver failed") from None

    def close(self) -> None:
        """Let the resolver let go of what it has, if it has anything."""
        close = getattr(self._resolver, "close", None)
        if close is not None:
            try:
                close()
            except Exception:
                self._guard.failed("close")


def checked(answer: object) -> Answer:
    """``answer``, which is one.

    :raise TypeError: it is none, or it holds what nobody could dial.
    """
    if not isinstance(answer, Answer):
        raise TypeError(f"expected an Answer, got {answer!r}")
    if not (_is_number(answer.ttl) and isfinite(answer.ttl) and answer.ttl >= 0):
        raise TypeError(f"expected a ttl of 0 seconds or more, got {answer.ttl!r}")
    if not (isinstance(answer.addresses, tuple) and all(map(_is_address, answer.addresses))):
        raise TypeError(f"expected a tuple of Address with hosts, ports and weights, got {answer.addresses!r}")
    return answer


def _is_address(address: object) -> bool:
    return (
        isinstance(address, Address)
        and isinstance(address.host, str)
        and address.host != ""
        and _is_whole(address.port, LAST_PORT)
        and _is_whole(address.weight, float("inf"))
    )


def _is_whole(value: Any, most: float) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def make_resolver(
    factory: IResolverFactory, reactor: Any, settings: Settings, guard: Guard | None = None
) -> GuardedResolver:
    """What ``factory`` makes, guarded.

    :raise ComponentError: it makes nothing of use.
    """
    guard = guard or Guard(Component("resolver", factory.name, "origin unknown"))
    try:
        resolver = factory.build(reactor, settings)
    except Exception as error:
        raise ComponentError(f"{guard.component} cannot be made: {type(error).__name__}: {error}") from error
    if not IResolver.providedBy(resolver):
        raise ComponentError(f"{guard.component} cannot be made: expected a resolver, got {resolver!r}")
    return GuardedResolver(resolver, guard)
