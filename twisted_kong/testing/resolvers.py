"""A resolver in memory, and the contract of `IResolver`."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_kong.errors import NameNotFound
from twisted_kong.interfaces import IResolver, IResolverFactory
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.runtime.resolvers import checked
from twisted_kong.settings import Settings


@implementer(IResolver)
class KnownNames:
    """A resolver that knows the addresses of these names, at once and for an hour, and no others."""

    def __init__(self, known: Mapping[str, Sequence[str]] | None = None) -> None:
        self.known = known or {}

    async def resolve(self, name: str) -> Answer:
        if name not in self.known:
            raise NameNotFound
        return Answer(tuple(Address(host) for host in self.known[name]), 3600.0)


@implementer(IResolverFactory)
class KnownNamesFactory:
    """Makes resolvers that know these names."""

    name = "known-names"

    def __init__(self, known: Mapping[str, Sequence[str]] | None = None) -> None:
        self._known = known or {}

    def build(self, reactor: object, settings: object) -> IResolver:
        return KnownNames(self._known)


def resolver_contract(
    make_factory: Callable[[], IResolverFactory],
    known: str,
    unknown: str,
    *,
    make_reactor: Callable[[], object] = Clock,
    make_settings: Callable[[], Settings] = Settings,
) -> type[TestCase]:
    """What every `IResolverFactory` and the resolvers it builds must do; ``make_factory()`` makes one.

    A resolver that is built with ``make_reactor()`` and ``make_settings()`` has to know the name ``known``, and to know
    that there is no name ``unknown``. Both are in lower case.
    """

    class ResolverContract(TestCase):
        """The behaviour that the gateway relies on."""

        resolver: IResolver

        def setUp(self) -> None:
            self.factory = make_factory()
            self.resolver = self.build()

        def build(self) -> IResolver:
            resolver = self.factory.build(make_reactor(), make_settings())
            close = getattr(resolver, "close", None)
            if close is not None:
                self.addCleanup(close)
            return resolver

        def ask(self, name: str) -> Deferred[Answer]:
            """A question under way."""

            async def wait(asked: Awaitable[Answer]) -> Answer:
                return await asked

            return Deferred.fromCoroutine(wait(self.resolver.resolve(name)))

        def test_interface(self) -> None:
            """Factory and resolver provide their interfaces, and the name is one word, as settings have it."""
            verifyObject(IResolverFactory, self.factory)
            verifyObject(IResolver, self.resolver)
            self.assertRegex(self.factory.name, r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")

        async def test_known(self) -> None:
            """A name that is there has addresses that one can dial, and a time for which they hold."""
            answer = checked(await self.resolver.resolve(known))
            self.assertGreater(len(answer.addresses), 0)

        async def test_unknown(self) -> None:
            """A name that is not there is told so, and by nothing else than `NameNotFound`."""
            with self.assertRaises(NameNotFound):
                await self.resolver.resolve(unknown)

        async def test_after_a_refusal(self) -> None:
            """That one name is not there says nothing of the next."""
            with self.assertRaises(NameNotFound):
                await self.resolver.resolve(unknown)
            checked(await self.resolver.resolve(known))

        async def test_again(self) -> None:
            """Asked again, it finds the same addresses, in whatever order."""
            first, second = await self.resolver.resolve(known), await self.resolver.resolve(known)
            self.assertEqual(set(first.addresses), set(second.addresses))

        async def test_many_at_once(self) -> None:
            """Questions under way at the same time are each answered, the equal ones as well."""
            questions = [self.ask(name) for name in (known, unknown, known, unknown, known)]
            for number, question in enumerate(questions):
                if number % 2:
                    with self.assertRaises(NameNotFound):
                        await question
                else:
                    self.assertGreater(len(checked(await question).addresses), 0)

        async def test_two_are_strangers(self) -> None:
            """A resolver needs no other of its kind to have been asked."""
            checked(await self.build().resolve(known))

    return ResolverContract
