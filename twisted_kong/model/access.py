"""Who may ask: consumers, their keys, and the plugins that look at a request before it is passed on.

One plugin is known, ``key-auth``. What it does with a request is not decided here.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from typing import Annotated, Any

from twisted_kong.errors import SchemaViolation
from twisted_kong.model.checks import REQUIRED, SECRET, Auto, Between, OneOf, Spelling
from twisted_kong.model.entity import Entity
from twisted_kong.model.records import Foreign, Record, Reference
from twisted_kong.model.rules import Faults, Some, Values
from twisted_kong.model.values import Array, HeaderName, Integer, Name, Set, String

PLUGINS = ("key-auth",)
"""The plugins there are."""
KEY_LENGTH = 32
_KEY_CHARACTERS = string.ascii_letters + string.digits


def new_key() -> str:
    """A key nobody guesses."""
    return "".join(secrets.choice(_KEY_CHARACTERS) for _ in range(KEY_LENGTH))


class Consumer(Entity):
    """Somebody known, by a name of ours or of somebody else's."""

    collection = "consumers"
    endpoint_key = "username"
    unique = (("username",), ("custom_id",))
    rules = (Some("custom_id", "username"),)

    username: String | None = None
    custom_id: String | None = None


class KeyauthCredential(Entity):
    """A key that tells its consumer. ``ttl`` is the seconds it holds from its last change on."""

    collection = "keyauth_credentials"
    segment = "key-auths"
    segment_below = "key-auth"
    endpoint_key = "key"
    unique = (("key",),)

    consumer: Annotated[Reference, Foreign("consumers", on_delete="cascade")]
    key: Annotated[String, Auto(new_key), SECRET]
    ttl: Annotated[Integer, Between(0, 100_000_000)] | None = None


def _not_in_body(wanted: bool) -> bool:
    """Whoever asks is let in, or not, before the body of the request has been read."""
    if wanted:
        raise ValueError("keys in the bodies of requests are not supported")
    return wanted


class KeyAuthConfig(Record):
    """How ``key-auth`` finds the key of a request. ``anonymous`` is the consumer taken where there is none."""

    key_names: Array[HeaderName] = ("apikey",)
    hide_credentials: bool = False
    anonymous: String | None = None
    key_in_header: bool = True
    key_in_query: bool = True
    key_in_body: Annotated[bool, Spelling(_not_in_body)] = False
    run_on_preflight: bool = True
    realm: String | None = None


def _no_consumer(values: Values) -> Faults:
    """Who asks is what the plugin finds out: it cannot be meant for one consumer only."""
    if values["consumer"] is not None:
        yield "consumer", "value must be null"


class Plugin(Entity):
    """A plugin at work: for all requests, or for those of a route or a service."""

    collection = "plugins"
    endpoint_key = "instance_name"
    unique = (("instance_name",), ("name", "route", "service", "consumer"))
    rules = (_no_consumer,)

    instance_name: Name | None = None
    name: String
    route: Annotated[Reference | None, Foreign("routes", on_delete="cascade")] = None
    service: Annotated[Reference | None, Foreign("services", on_delete="cascade")] = None
    consumer: Annotated[Reference | None, Foreign("consumers", on_delete="cascade")] = None
    config: KeyAuthConfig = KeyAuthConfig()
    protocols: Set[Annotated[str, OneOf("grpc", "grpcs", "http", "https")]] = ("grpc", "grpcs", "http", "https")
    enabled: bool = True

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        """Without a known name nothing can be said of the rest."""
        name = whole.get("name")
        if name is None:
            raise SchemaViolation({"name": REQUIRED})
        if isinstance(name, str) and name not in PLUGINS:
            text = f"plugin '{name}' not enabled; add it to the 'plugins' configuration property"
            raise SchemaViolation({"name": text})
