"""What clients ask about entities as such: how they are declared, whether a document would do, who bears a tag."""

from __future__ import annotations

from collections.abc import Iterator

from twisted_kong.admin.answers import Answer, Refused
from twisted_kong.admin.configuration import Configuration
from twisted_kong.admin.kinds import KINDS, Kind
from twisted_kong.admin.paging import Span, page_by_key
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import SAFE, Endpoint
from twisted_kong.errors import SchemaViolation
from twisted_kong.model.entities import Plugin, TargetEntry
from twisted_kong.model.published import describe, describe_plugin, without_optional_records
from twisted_kong.model.tags import Tagged, tagged


def endpoints(configuration: Configuration) -> Iterator[tuple[str, Endpoint]]:
    """The paths of schemas and tags."""
    yield "/schemas/{entity}", EntitySchema(configuration)
    yield "/schemas/{entity}/validate", Validation(configuration)
    # Below the plugins' own segment there are names of plugins, so that it is no {entity}.
    yield "/schemas/plugins", EntitySchema(configuration, Plugin.collection)
    yield "/schemas/plugins/validate", Validation(configuration, Plugin.collection)
    yield "/schemas/plugins/{name}", PluginSchema()
    yield "/tags", Tags(configuration)
    yield "/tags/{tags}", Tag(configuration)


class _OfOneKind(Endpoint):
    """A path that names a kind of entities; or one for the kind of ``collection`` alone."""

    def __init__(self, configuration: Configuration, collection: str | None = None) -> None:
        self._configuration = configuration
        self._collection = collection

    def kind(self, call: Call) -> Kind:
        """The kind that is meant. Nobody writes the history of targets, which thus is none.

        :raise Refused: there is no such kind.
        """
        collection = self._collection or call.keys["entity"]
        if collection not in KINDS or collection == TargetEntry.collection:
            raise Refused(404, f"No entity named '{collection}'")
        return KINDS[collection]


class EntitySchema(_OfOneKind):
    """``/schemas/{entity}``: its fields and the rules between them."""

    async def get(self, call: Call) -> Answer:
        return Answer(200, without_optional_records(describe(self.kind(call).entity, self._configuration.names)))


class PluginSchema(Endpoint):
    """``/schemas/plugins/{name}``: what one plugin says beyond what all plugins have in common."""

    async def get(self, call: Call) -> Answer:
        found = describe_plugin(call.keys["name"])
        if found is None:
            raise Refused(404, f"No plugin named '{call.keys['name']}'")
        return Answer(200, found)


class Validation(_OfOneKind):
    """``/schemas/{entity}/validate``: whether a document is sound by itself, whatever else there is."""

    safe = (*SAFE, "POST")

    async def post(self, call: Call) -> Answer:
        kind = self.kind(call)
        trial = self._configuration.trial()
        kind.insert(trial, trial.typed(kind.entity, call.document))
        return Answer(200, {"message": "schema validation successful"})


class Tag(Endpoint):
    """``/tags/{tags}``: who bears a tag."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    async def get(self, call: Call) -> Answer:
        asked = Span.of(call.query)
        # of the entity that the last page ended with there may be tags left, and one more tells of another page
        rows = tagged(self._configuration.view().snapshot, call.keys.get("tags"), asked.id, asked.size + 2)
        return page_by_key(rows, lambda row: (row.entity_id, row.entity_name, row.tag), call, Tagged._asdict)


class Tags(Tag):
    """``/tags``: every tag of every entity."""

    async def post(self, call: Call) -> Answer:
        """Tags are written with their entities."""
        raise SchemaViolation({"tags": "does not support insert/upsert/update/delete operations"})
