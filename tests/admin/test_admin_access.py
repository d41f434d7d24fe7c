"""Consumers, their keys, and plugins."""

from __future__ import annotations

from typing import Any

import pytest
from admin_api import NOBODY, NOT_FOUND, AdminApi

from twisted_kong.admin.node import AVAILABLE
from twisted_kong.model.access import PLUGINS


@pytest.fixture
def bob(api: AdminApi) -> Any:
    """A consumer called bob."""
    return api.create("/consumers", username="bob", custom_id="b-1")


# Consumers


def test_consumer_by_custom_id(api: AdminApi, bob: Any) -> None:
    """A list may be asked for the one consumer with a custom_id, which is then on no page."""
    api.create("/consumers", username="eve", custom_id="e-1")
    assert api.get("/consumers?custom_id=b-1&size=x") == {"data": [bob], "next": None}
    assert api.get("/consumers?custom_id=bob") == {"data": [], "next": None}


@pytest.mark.parametrize("query", ["custom_id", "custom_id=", "custom_id=a&custom_id=b"])
def test_custom_id_that_cannot_be(api: AdminApi, query: str) -> None:
    """What could be nobody's custom_id is refused."""
    answer = api.request("GET", f"/consumers?{query}")
    assert (answer.status, answer.json["message"].split(":")[0]) == (400, "custom_id")


# Keys


def test_key(api: AdminApi, bob: Any) -> None:
    """A key is made if none is given; it is found by itself and by its id, below its consumer and among all."""
    key = api.create("/consumers/bob/key-auth")
    assert len(key["key"]) == 32
    assert key["consumer"] == {"id": bob["id"]}
    for path in ("/key-auths", "/consumers/bob/key-auth", f"/consumers/{bob['id']}/key-auth"):
        assert api.get(path)["data"] == [key]
        assert api.get(f"{path}/{key['id']}") == api.get(f"{path}/{key['key']}") == key


def test_consumer_of_a_key(api: AdminApi, bob: Any) -> None:
    """A key leads to its consumer."""
    api.create("/key-auths", key="secret", consumer={"username": "bob"})
    assert api.get("/key-auths/secret/consumer") == bob
    assert api.form("PATCH", "/key-auths/secret/consumer", "username=robert").json["id"] == bob["id"]
    assert api.request("DELETE", "/key-auths/secret/consumer").status == 405


def test_key_put_below_its_consumer(api: AdminApi, bob: Any) -> None:
    """A key may be put under itself, and not be taken from somebody else."""
    api.create("/consumers", username="eve")
    made = api.json("PUT", "/consumers/bob/key-auth/secret", {})
    assert (made.status, made.json["key"], made.json["consumer"]) == (200, "secret", {"id": bob["id"]})
    assert api.json("PUT", "/consumers/eve/key-auth/secret", {}).json == NOT_FOUND
    assert api.json("POST", "/consumers/eve/key-auth", {"key": "secret"}).status == 409


def test_keys_go_with_their_consumer(api: AdminApi, bob: Any) -> None:
    """Keys go with their consumer."""
    api.create("/consumers/bob/key-auth")
    assert api.request("DELETE", "/consumers/bob").status == 204
    assert api.get("/key-auths")["data"] == []


# Plugins


@pytest.fixture
def r(api: AdminApi) -> Any:
    """A route called r, of a service called s."""
    api.create("/services", name="s", host="a.test")
    return api.create("/services/s/routes", name="r", paths=["/a"])


@pytest.mark.parametrize(("path", "field"), [("/services/s", "service"), ("/routes/r", "route")])
def test_plugin_below(api: AdminApi, r: Any, path: str, field: str) -> None:
    """A plugin belongs to whom its path names, and leads there."""
    plugin = api.create(f"{path}/plugins", name="key-auth", instance_name="p")
    parent = api.get(path)
    assert plugin[field] == {"id": parent["id"]}
    assert api.get(f"{path}/plugins")["data"] == [plugin]
    assert api.get(f"{path}/plugins/p") == api.get(f"/plugins/{plugin['id']}") == plugin
    assert api.get(f"/plugins/p/{field}") == parent


@pytest.mark.parametrize("field", ["service", "route", "consumer"])
def test_plugin_of_nobody(api: AdminApi, field: str) -> None:
    """A plugin for everybody leads to nobody."""
    plugin = api.create("/plugins", name="key-auth")
    assert api.request("GET", f"/plugins/{plugin['id']}/{field}").json == NOT_FOUND


def test_plugin_of_a_consumer(api: AdminApi, bob: Any) -> None:
    """Who asks is what the plugin finds out: it cannot be put to work for one consumer."""
    assert api.get("/consumers/bob/plugins")["data"] == []
    answer = api.json("POST", "/consumers/bob/plugins", {"name": "key-auth"})
    assert (answer.status, answer.json["fields"]) == (400, {"consumer": "value must be null"})


def test_plugin_twice(api: AdminApi, r: Any) -> None:
    """A plugin is at work once for the same requests."""
    api.create("/routes/r/plugins", name="key-auth")
    api.create("/services/s/plugins", name="key-auth")
    answer = api.json("POST", "/routes/r/plugins", {"name": "key-auth"})
    fields = {"consumer": None, "name": "key-auth", "route": {"id": r["id"]}, "service": None}
    assert (answer.status, answer.json["fields"]) == (409, fields)
    told = f"""UNIQUE violation detected on '{{consumer=null,name="key-auth",route={{id="{r["id"]}"}},service=null}}'"""
    assert answer.json["message"] == told


def test_plugin_for_several_that_are_not_there(api: AdminApi) -> None:
    """All references that name nothing are told at once."""
    answer = api.json("POST", "/plugins", {"name": "key-auth", "service": {"name": "x"}, "route": {"name": "y"}})
    assert (answer.status, answer.json["code"], list(answer.json["fields"])) == (400, 13, ["route", "service"])
    assert answer.json["message"].startswith("2 foreign keys unresolved (route.name: the foreign key cannot be ")
    assert "'{name=\"x\"}' for an existing 'services' entity)" in answer.json["message"]


def test_plugins_of_the_node(api: AdminApi, r: Any) -> None:
    """What may be put to work is listed; what is at work is named once."""
    for path in ("/plugins", "/routes/r/plugins"):
        api.create(path, name="key-auth")
    assert api.get("/plugins/enabled") == {"enabled_plugins": ["key-auth"]}
    assert AVAILABLE.keys() == set(PLUGINS)
    assert api.get("/")["plugins"] == {"available_on_server": AVAILABLE, "enabled_in_cluster": ["key-auth"]}


def test_schema_of_a_plugin(api: AdminApi) -> None:
    """Old clients read the fields of a plugin's configuration alone."""
    names = [name for field in api.get("/plugins/schema/key-auth")["fields"] for name in field]
    assert names == list(api.create("/plugins", name="key-auth")["config"])
    answer = api.request("GET", "/plugins/schema/nope")
    assert (answer.status, answer.json) == (404, {"message": "No plugin named 'nope'"})


@pytest.mark.parametrize("path", ["/consumers", "/key-auths", "/plugins"])
def test_nobody(api: AdminApi, path: str) -> None:
    """What is not there is lost, and deleted without a word."""
    assert api.request("GET", f"{path}/{NOBODY}").json == NOT_FOUND
    assert api.request("DELETE", f"{path}/nobody").status == 204
