from __future__ import annotations

from typing import Any

import pytest
from entity_making import NOW, SCHEMA, fields_of, make_id

from twisted_kong.model.entities import Consumer, Entity, KeyauthCredential, Plugin

SOMEBODY = {"id": make_id(1)}


@pytest.mark.parametrize("data", [{"username": "a b/c"}, {"custom_id": "日本"}, {"username": "a", "custom_id": "a"}])
def test_consumers(data: dict[str, str]) -> None:
    """A consumer has a name of any characters, or one that somebody else gave it, or both."""
    made = SCHEMA.build(Consumer, data, now=NOW)
    assert (made.username, made.custom_id) == (data.get("username"), data.get("custom_id"))


@pytest.mark.parametrize("data", [{}, {"username": None}])
def test_nobody(data: dict[str, Any]) -> None:
    """A consumer without any name is refused."""
    text = "at least one of these fields must be non-empty: 'custom_id', 'username'"
    assert fields_of(Consumer, **data) == {"@entity": [text]}


def test_keys_are_made() -> None:
    """Who gives no key gets one of 32 letters and digits, never the same twice; a key that is there stays."""
    made = [SCHEMA.build(KeyauthCredential, {"consumer": SOMEBODY}, now=NOW) for _ in range(3)]
    keys = {credential.key for credential in made}
    assert len(keys) == 3
    assert all(len(key) == 32 and key.isascii() and key.isalnum() for key in keys)
    assert SCHEMA.merge(made[0], {"ttl": 9}, now=NOW).key == made[0].key
    assert SCHEMA.build(KeyauthCredential, {"consumer": SOMEBODY, "key": "k"}, now=NOW).key == "k"


@pytest.mark.parametrize(
    ("entity", "data", "found"),
    [
        (KeyauthCredential, {}, {"consumer": "required field missing"}),
        (KeyauthCredential, {"consumer": SOMEBODY, "key": ""}, {"key": "length must be at least 1"}),
        (KeyauthCredential, {"consumer": SOMEBODY, "ttl": -1}, {"ttl": "value should be between 0 and 100000000"}),
        (Plugin, {"enabled": 1, "config": {"foo": 1}}, {"name": "required field missing"}),
        (
            Plugin,
            {"name": "foo", "enabled": 1},
            {"name": "plugin 'foo' not enabled; add it to the 'plugins' configuration property"},
        ),
        (Plugin, {"name": 1}, {"name": "expected a string"}),
        (Plugin, {"name": "key-auth", "consumer": SOMEBODY}, {"consumer": "value must be null"}),
        (Plugin, {"name": "key-auth", "config": {"foo": 1}}, {"config": {"foo": "unknown field"}}),
        (
            Plugin,
            {"name": "key-auth", "config": {"key_names": ["a b"]}},
            {"config": {"key_names": ["bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"]}},
        ),
        (
            Plugin,
            {"name": "key-auth", "config": {"key_in_body": True}},
            {"config": {"key_in_body": "keys in the bodies of requests are not supported"}},
        ),
        (
            Plugin,
            {"name": "key-auth", "protocols": ["tcp"]},
            {"protocols": ["expected one of: grpc, grpcs, http, https"]},
        ),
    ],
)
def test_refused(entity: type[Entity], data: dict[str, Any], found: dict[str, Any]) -> None:
    """What keys and plugins cannot be; a plugin without a name we know is told of its name only."""
    assert fields_of(entity, **data) == found


def test_plugin_config() -> None:
    """The configuration of a plugin is filled in, and merges."""
    made = SCHEMA.build(Plugin, {"name": "key-auth", "config": {"hide_credentials": True}}, now=NOW)
    assert made.document()["config"] == {
        "key_names": ["apikey"],
        "hide_credentials": True,
        "anonymous": None,
        "key_in_header": True,
        "key_in_query": True,
        "key_in_body": False,
        "run_on_preflight": True,
        "realm": None,
    }
    merged = SCHEMA.merge(made, {"config": {"key_names": ["k"]}}, now=NOW)
    assert (merged.config.key_names, merged.config.hide_credentials) == (("k",), True)


def test_plugin_by_form() -> None:
    """A form's texts become what the configuration of a plugin holds."""
    data = SCHEMA.coerce(Plugin, {"name": "key-auth", "config": {"key_names": "k", "key_in_query": "false"}})
    assert isinstance(data, dict)
    config = SCHEMA.build(Plugin, data, now=NOW).config
    assert (config.key_names, config.key_in_query) == (("k",), False)
