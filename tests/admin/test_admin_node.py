"""What the gateway tells of itself."""

from __future__ import annotations

import os
import re
import uuid

import pytest
from admin_api import COUNTS, NODE_ID, AdminApi

from twisted_kong import VERSION
from twisted_kong.admin.node import describe
from twisted_kong.settings import Settings, load
from twisted_kong.telemetry.node import resident_memory


def test_root(api: AdminApi) -> None:
    """Clients learn what the gateway is, and find what they look for."""
    root = api.get("/")
    assert (root["tagline"], root["version"], root["edition"]) == ("Welcome to kong", VERSION, "community")
    assert root["node_id"] == NODE_ID == str(uuid.UUID(NODE_ID))
    assert root["lua_version"].startswith("python 3.")
    assert root["pids"] == {"master": os.getpid(), "workers": [os.getpid()]}
    assert root["plugins"]["available_on_server"] == {"key-auth": {"version": "3.9.1", "priority": 1250}}
    assert root["plugins"]["enabled_in_cluster"] == []
    pending = len(api.clock.getDelayedCalls())
    assert api.get("/")["timers"] == {"running": 0, "pending": pending}


def test_listeners() -> None:
    """Listeners are told as one would write them, and in their parts."""
    overrides = {"proxy_listen": "0.0.0.0:8000 reuseport, [::1]:9000 backlog=10", "admin_listen": "off"}
    configuration = AdminApi(settings=load(None, {}, overrides)).get("/")["configuration"]
    assert configuration["proxy_listen"] == ["0.0.0.0:8000 reuseport", "[::1]:9000 backlog=10"]
    first, second = configuration["proxy_listeners"]
    assert (first["ip"], first["port"], first["ssl"], first["reuseport"]) == ("0.0.0.0", 8000, False, True)
    assert (second["ip"], second["port"], second["listener"]) == ("::1", 9000, "[::1]:9000 backlog=10")
    assert configuration["admin_listen"] == configuration["admin_listeners"] == []


def test_configuration() -> None:
    """Every setting is told by its name, in a form that JSON has; so is what clients expect beside."""
    overrides = {"trusted_ips": "10.0.0.0/8, unix:", "port_maps": "80:8000", "headers": "off", "prefix": "/p"}
    told = describe(load(None, {}, overrides))
    assert (told["trusted_ips"], told["port_maps"], told["headers"]) == (["10.0.0.0/8", "unix:"], {"8000": 80}, [])
    assert (told["prefix"], told["nginx_http_charset"], told["log_level"]) == ("/p", "UTF-8", "notice")
    assert (told["database"], told["role"]) == ("sqlite", "traditional")
    assert told["proxy_access_log"] == "logs/access.log combined"
    assert (told["plugins"], told["loaded_plugins"]) == (["key-auth"], {"key-auth": True})
    assert told["router_flavor"] == "traditional_compatible"
    assert not any(isinstance(value, float) and value.is_integer() for value in told.values())


def test_status(api: AdminApi) -> None:
    """The counters are those of whoever runs the gateway."""
    status = api.get("/status")
    assert status["server"] == COUNTS
    assert status["database"] == {"reachable": True}
    (worker,) = status["memory"]["workers_lua_vms"]
    assert worker["pid"] == os.getpid()
    assert re.fullmatch(r"[0-9]+\.[0-9]{2} MiB", worker["http_allocated_gc"])


def test_status_without_a_database() -> None:
    """Without a database there is the hash of what was loaded: zeros before anything was."""
    status = AdminApi(settings=Settings(database="off")).get("/status")
    assert status["configuration_hash"] == "0" * 32
    assert "database" not in status


@pytest.mark.parametrize(
    ("query", "size"),
    [("unit=k", r"[0-9]+\.[0-9]{2} KiB"), ("unit=M&scale=0", r"[0-9]+ MiB"), ("unit=g&scale=4", r"0\.[0-9]{4} GiB")],
)
def test_units(api: AdminApi, query: str, size: str) -> None:
    """The unit of sizes and their decimals may be chosen."""
    (worker,) = api.get(f"/status?{query}")["memory"]["workers_lua_vms"]
    assert re.fullmatch(size, worker["http_allocated_gc"])


def test_bytes(api: AdminApi) -> None:
    """In bytes, a size is a number, and a plausible one."""
    (worker,) = api.get("/status?unit=b")["memory"]["workers_lua_vms"]
    assert abs(worker["http_allocated_gc"] - resident_memory()) < 1 << 26
    assert resident_memory() > 1 << 20


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("unit=V", "invalid unit 'V' (expected 'k/K', 'm/M', or 'g/G')"),
        ("unit", "invalid unit 'True' (expected 'k/K', 'm/M', or 'g/G')"),
        ("scale=x", "invalid scale 'x' (expected a whole number from 0 to 15)"),
        ("scale=16", "invalid scale '16' (expected a whole number from 0 to 15)"),
        ("scale=" + "9" * 5000, f"invalid scale '{'9' * 5000}' (expected a whole number from 0 to 15)"),
    ],
)
def test_units_that_cannot_be(api: AdminApi, query: str, message: str) -> None:
    """An unknown unit is refused, and so are decimals nobody could print."""
    answer = api.request("GET", f"/status?{query}")
    assert (answer.status, answer.json) == (400, {"message": message})


def test_endpoints(api: AdminApi) -> None:
    """Every path is listed, parameters in braces, and every listed path is there."""
    paths = api.get("/endpoints")["data"]
    assert {"/", "/endpoints", "/services/{services}/routes", "/upstreams/{upstreams}/targets/{targets}"} <= set(paths)
    assert all(api.request("OPTIONS", path).status == 204 for path in paths)


def test_robots(api: AdminApi) -> None:
    """Crawlers are told to stay away."""
    answer = api.request("GET", "/robots.txt")
    assert (answer.status, answer.body) == (200, b"User-agent: *\nDisallow: /")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(("query", "count"), [("", 1), ("?status=alive", 1), ("?status=failed", 0), ("?status", 0)])
def test_cluster(query: str, count: int) -> None:
    """Old clients find one node, which is alive, and where requests are sent to it."""
    api = AdminApi(settings=load(None, {}, {"proxy_listen": "127.0.0.1:8000"}))
    found = api.get(f"/cluster{query}")
    assert (found["total"], len(found["data"])) == (count, count)
    for node in found["data"]:
        assert (node["address"], node["status"]) == ("127.0.0.1:8000", "alive")
        assert node["name"].endswith(NODE_ID)


@pytest.mark.parametrize(("method", "argument"), [("POST", "address"), ("DELETE", "name")])
def test_change_of_the_cluster(api: AdminApi, method: str, argument: str) -> None:
    """Nodes may be told to join and to leave, in the body or in the query; nothing comes of it."""
    for answer in (
        api.form(method, "/cluster", f"{argument}=x"),
        api.json(method, "/cluster", {argument: "x"}),
        api.request(method, f"/cluster?{argument}=x"),
    ):
        assert (answer.status, answer.body) == (200, b"")
    for answer in (api.request(method, "/cluster"), api.form(method, "/cluster", f"{argument}=")):
        assert (answer.status, answer.json) == (400, {"message": f'Missing node "{argument}"'})
    assert api.get("/cluster")["total"] == 1
