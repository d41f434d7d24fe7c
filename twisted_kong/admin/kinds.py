"""How the Admin API deals with the kinds of entities: how one is found, told and written.

Nearly every kind is dealt with as `Kind` says. The server names of a certificate are entities of their own, and yet
its clients name it by them, and read and write them as if they were a field of it: `CertificateKind`. Which paths
lead to an entity is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from twisted_kong.admin.answers import Refused
from twisted_kong.admin.codec import Document
from twisted_kong.admin.configuration import Edit, View
from twisted_kong.errors import SchemaViolation
from twisted_kong.model.entities import COLLECTIONS, Certificate, Entity, Sni
from twisted_kong.model.values import is_id


class Kind:
    """Entities that are what their declaration says."""

    def __init__(self, entity: type[Entity]) -> None:
        self.entity = entity

    def find(self, view: View, key: str) -> Entity | None:
        """The entity that a path names.

        :raise AdminError: no such entity could ever have this key.
        """
        return view.find(self.entity, key)

    def document(self, view: View, entity: Entity) -> dict[str, Any]:
        """What clients are told of an entity."""
        return entity.document()

    def data(self, view: View, document: Document, **given: Any) -> dict[str, Any]:
        """What a client sent. See `View.data`."""
        return view.data(self.entity, document, **given)

    def insert(self, edit: Edit, data: Mapping[str, Any]) -> Entity:
        """See `Edit.insert`."""
        return edit.insert(self.entity, data)

    def replace(self, edit: Edit, found: Entity, data: Mapping[str, Any]) -> Entity:
        """See `Edit.replace`."""
        return edit.replace(found, data)

    def merge(self, edit: Edit, found: Entity, data: Mapping[str, Any]) -> Entity:
        """See `Edit.merge`."""
        return edit.merge(found, data)


class CertificateKind(Kind):
    """Certificates, with their server names under ``snis``: what that does not list is taken away from them."""

    FIELD = "snis"

    def find(self, view: View, key: str) -> Entity | None:
        """The certificate with this id or with this server name.

        :raise Refused: 404, nobody has this name.
        """
        if is_id(key):
            return super().find(view, key)
        found = self.named(view, key)
        if found is None:
            raise Refused(404, "SNI not found")
        return found

    def named(self, view: View, name: str) -> Entity | None:
        """The certificate with this server name.

        :raise InvalidUniqueKey: nobody could have such a name.
        """
        sni = view.find(Sni, name)
        return None if sni is None else view.referred(sni, "certificate")

    def document(self, view: View, entity: Entity) -> dict[str, Any]:
        return {**entity.document(), self.FIELD: sorted(sni.name for sni in _snis(view, entity))}

    def data(self, view: View, document: Document, **given: Any) -> dict[str, Any]:
        """What a client sent; in a form a single name is a list of one, as it is for the lists of the schema."""
        data = super().data(view, document, **given)
        if not document.typed and isinstance(data.get(self.FIELD), str):
            data[self.FIELD] = [data[self.FIELD]]
        return data

    def with_name(self, data: Mapping[str, Any], name: str) -> dict[str, Any]:
        """The data with ``name`` among the server names, whatever others it has."""
        names = self._names(data.get(self.FIELD))
        return {**data, self.FIELD: [*dict.fromkeys([*names, name])]}

    def insert(self, edit: Edit, data: Mapping[str, Any]) -> Entity:
        return self._with_names(edit, edit.insert(self.entity, self._own(data)), data)

    def replace(self, edit: Edit, found: Entity, data: Mapping[str, Any]) -> Entity:
        return self._with_names(edit, edit.replace(found, self._own(data)), data)

    def merge(self, edit: Edit, found: Entity, data: Mapping[str, Any]) -> Entity:
        return self._with_names(edit, edit.merge(found, self._own(data)), data)

    def _own(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What is the certificate's own."""
        return {field: value for field, value in data.items() if field != self.FIELD}

    def _with_names(self, edit: Edit, certificate: Entity, data: Mapping[str, Any]) -> Entity:
        """The certificate, and its names as ``data`` lists them; they stay where it says nothing of them.

        :raise SchemaViolation: what it lists are no names, or names of others.
        """
        if self.FIELD not in data:
            return certificate
        names = self._names(data[self.FIELD])
        had = {sni.name: sni for sni in _snis(edit, certificate)}
        for name in names:
            if name not in had:
                self._give(edit, certificate, name)
        for name, sni in had.items():
            if name not in names:
                edit.delete(sni)
        return certificate

    def _names(self, given: object) -> Collection[str]:
        """The names in what a client sent, in its order."""
        names: dict[str, None] = {}
        if given is not None and given != {} and not isinstance(given, list):
            raise SchemaViolation({self.FIELD: "expected a set"})
        for name in given or ():
            if not isinstance(name, str):
                raise SchemaViolation({self.FIELD: "expected a string"})
            if name in names:
                raise SchemaViolation({self.FIELD: f"{name} is duplicated"})
            names[name] = None
        return names

    def _give(self, edit: Edit, certificate: Entity, name: str) -> None:
        """Let the certificate have a name that it has not."""
        owner = cast(Sni | None, edit.snapshot.find(Sni.collection, name))
        if owner is not None:
            text = f"{name} already associated with existing certificate '{owner.certificate.id}'"
            raise SchemaViolation({self.FIELD: text})
        try:
            edit.insert(Sni, {"name": name, "certificate": {"id": certificate.id}})
        except SchemaViolation as refusal:
            raise SchemaViolation({self.FIELD: (refusal.fields or {})["name"]}) from None


def _snis(view: View, certificate: Entity) -> Sequence[Sni]:
    return cast(Sequence[Sni], view.snapshot.children(Sni.collection, "certificate", certificate.id))


KINDS: Mapping[str, Kind] = {
    **{collection: Kind(entity) for collection, entity in COLLECTIONS.items()},
    Certificate.collection: CertificateKind(Certificate),
}
"""By collection."""
