"""A resolver: names and addresses come from a file ``names`` in the gateway's prefix, which looks like /etc/hosts.

    echo '10.0.0.1 orders.internal orders' >> .run/names
    twistd kong-gateway --plugin-dir plugins --set dns_resolver_plugin=static-names

It neither caches nor shares questions, and it knows nothing of time: that is all done for it.
"""

from __future__ import annotations

from pathlib import Path

from zope.interface import implementer

from twisted_kong.errors import NameNotFound, NameNotResolved
from twisted_kong.interfaces import IResolver, IResolverFactory
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.settings import Settings

__version__ = "1.0"

LIFETIME = 5.0
"""Seconds that an answer holds: the gateway asks again after that, so a change of the file is seen by then."""


@implementer(IResolver)
class StaticNames:
    """The names in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def resolve(self, name: str) -> Answer:
        """Every address of ``name``. May await whatever it has to; a small file is there at once."""
        try:
            lines = self._file.read_text().splitlines()
        except OSError as error:
            # nobody can tell, which is another thing than that there is no such name: what was known serves on
            raise NameNotResolved(name, f"{self._file}: {error.strerror}") from None
        rows = [line.partition("#")[0].split() for line in lines]
        found = tuple(Address(row[0]) for row in rows if name in row[1:])
        if not found:
            raise NameNotFound
        return Answer(found, LIFETIME)


@implementer(IResolverFactory)
class StaticNamesFactory:
    """What the gateway looks for. It makes one resolver, if the setting ``dns_resolver_plugin`` names it."""

    name = "static-names"

    def build(self, reactor: object, settings: Settings) -> IResolver:
        return StaticNames(settings.prefix / "names")


factory = StaticNamesFactory()
