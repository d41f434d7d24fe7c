"""Consumers and plugins, where they differ from what all entities have in common."""

from __future__ import annotations

from collections.abc import Iterator

from twisted_kong.admin import collections
from twisted_kong.admin.answers import Answer, Refused
from twisted_kong.admin.collections import Collection
from twisted_kong.admin.configuration import Configuration
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint
from twisted_kong.model.access import PLUGINS
from twisted_kong.model.entities import Consumer, KeyauthCredential, Plugin
from twisted_kong.model.published import describe_plugin


def endpoints(configuration: Configuration) -> Iterator[tuple[str, Endpoint]]:
    """The paths of consumers, of their keys, and of plugins."""
    for entity in (Consumer, KeyauthCredential, Plugin):
        yield from collections.endpoints(configuration, entity)
    yield "/consumers", Consumers(configuration, Consumer)
    yield "/plugins/enabled", EnabledPlugins()
    yield "/plugins/schema/{name}", PluginConfig()


class Consumers(Collection):
    """Consumers; with ``custom_id`` in the query, the one that has it."""

    async def get(self, call: Call) -> Answer:
        if "custom_id" not in call.query:
            return await super().get(call)
        custom_id = call.query["custom_id"]
        if not isinstance(custom_id, str) or not custom_id:
            raise Refused(400, "custom_id: expected one text that is not empty")
        found = self.configuration.view().snapshot.find_unique("consumers", custom_id=custom_id)
        return Answer(200, {"data": [found.document()] if found else [], "next": None})


class EnabledPlugins(Endpoint):
    """``/plugins/enabled``: the plugins that may be put to work."""

    async def get(self, call: Call) -> Answer:
        return Answer(200, {"enabled_plugins": [*PLUGINS]})


class PluginConfig(Endpoint):
    """``/plugins/schema/{name}``: the fields of a plugin's configuration."""

    async def get(self, call: Call) -> Answer:
        found = describe_plugin(call.keys["name"])
        if found is None:
            raise Refused(404, f"No plugin named '{call.keys['name']}'")
        (config,) = (field["config"] for field in found["fields"] if "config" in field)
        return Answer(200, {"fields": config["fields"]})
