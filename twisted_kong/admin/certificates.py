"""Certificates, which clients may name by one of their server names, and those names."""

from __future__ import annotations

from collections.abc import Iterator

from twisted_kong.admin import collections
from twisted_kong.admin.answers import Answer
from twisted_kong.admin.collections import Item
from twisted_kong.admin.configuration import Configuration
from twisted_kong.admin.kinds import CertificateKind
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint
from twisted_kong.errors import EntityNotFound
from twisted_kong.model.entities import CaCertificate, Certificate, Sni
from twisted_kong.model.values import is_id


def endpoints(configuration: Configuration) -> Iterator[tuple[str, Endpoint]]:
    """The paths of certificates, of their names and of authorities. From a name none leads to its certificate."""
    for entity in (Certificate, CaCertificate, Sni):
        for path, endpoint in collections.endpoints(configuration, entity):
            if path != "/snis/{snis}/certificate":
                yield path, endpoint
    yield "/certificates/{certificates}", CertificateItem(configuration, Certificate)


class CertificateItem(Item):
    """One certificate, by its id or by a server name."""

    kind: CertificateKind

    async def get(self, call: Call) -> Answer:
        """Who is not there is told in detail, as Kong does here and nowhere else."""
        view = self.configuration.view()
        found = self.find(view, call)
        if found is None:
            raise EntityNotFound(self.key(call))
        return Answer(200, self.kind.document(view, found))

    async def put(self, call: Call) -> Answer:
        """Replace, or create; under a name that nobody has, this is then one of its names."""
        name = call.keys[Certificate.collection]
        if is_id(name):
            return await super().put(call)
        async with self.configuration.edit(call.author) as edit:
            found = self.kind.named(edit, name)
            data = self.data(edit, call)
            if found is None:
                made = self.kind.insert(edit, self.kind.with_name(data, name))
            else:
                made = self.kind.replace(edit, found, data)
        return Answer(200, self.kind.document(edit, made))
