"""Health as it is told, and as a person sets it."""

from __future__ import annotations

from typing import Any

import pytest
from admin_api import NODE_ID, NOT_FOUND, AdminApi

from twisted_kong.model.snapshot import EMPTY
from twisted_kong.model.traffic import Outcome

HEALTH = "/upstreams/u/health"
CHECKED = {"passive": {"unhealthy": {"tcp_failures": 1}}}


@pytest.fixture
def u(api: AdminApi) -> Any:
    """An upstream whose health is checked, and nobody in it."""
    return api.create("/upstreams", name="u", healthchecks=CHECKED)


@pytest.fixture
def pool(api: AdminApi, u: Any) -> list[Any]:
    """Its targets, the newest first."""
    found = []
    for port, weight in ((8001, 10), (8002, 30), (8003, 0)):
        api.clock.advance(1)
        found.append(api.create("/upstreams/u/targets", target=f"10.0.0.1:{port}", weight=weight))
    return found[::-1]


def switch(api: AdminApi, key: str, word: str) -> int:
    return api.request("PUT", f"/upstreams/u/targets/{key}/{word}").status


def states(api: AdminApi) -> dict[str, str]:
    return {row["target"]: row["health"] for row in api.get(HEALTH)["data"]}


def picked(api: AdminApi) -> set[str]:
    """Who gets requests."""
    service = api.json("PUT", "/services/s", {"host": "u"}).json
    balancer, _ = api.gateway.balancer(api.store.snapshot().services[service["id"]])
    leases = [balancer.lease() for _ in range(80)]
    return {lease.peer.address for lease in leases if lease}


def test_rows(api: AdminApi, pool: Any) -> None:
    """The targets are listed as below their upstream, with the health of each; without weight there is none."""
    page = api.get(HEALTH)
    assert (page["next"], page["node_id"]) == (None, NODE_ID)
    added = {"health", "data"}
    assert [{name: row[name] for name in row.keys() - added} for row in page["data"]] == pool
    assert [row["health"] for row in page["data"]] == ["HEALTHCHECKS_OFF", "HEALTHY", "HEALTHY"]
    assert page["data"][1]["data"] == {
        "host": "10.0.0.1",
        "port": 8002,
        "dns": "A",
        "nodeWeight": 30,
        "weight": {"total": 30, "available": 30, "unavailable": 0},
        "addresses": [{"ip": "10.0.0.1", "port": 8002, "weight": 30, "health": "HEALTHY"}],
    }


def test_pages(api: AdminApi, pool: Any) -> None:
    """The rows come in pages, and every page tells the node."""
    page = api.get(f"{HEALTH}?size=2")
    assert (page["next"], page["offset"], page["node_id"]) == (f"{HEALTH}?offset=2", "2", NODE_ID)
    assert [row["id"] for row in api.get(page["next"])["data"]] == [pool[2]["id"]]


@pytest.mark.parametrize(
    ("target", "host", "ip", "dns"),
    [
        ("a.test:80", "a.test", "10.0.0.9", "A"),
        ("[::1]:80", "0000:0000:0000:0000:0000:0000:0000:0001", "0000:0000:0000:0000:0000:0000:0000:0001", "AAAA"),
    ],
)
def test_other_addresses(api: AdminApi, u: Any, target: str, host: str, ip: str, dns: str) -> None:
    """A target that is a name is told with its addresses; one that is an IPv6 address without brackets."""
    api.create("/upstreams/u/targets", target=target)
    (row,) = api.get(HEALTH)["data"]
    assert (row["data"]["host"], row["data"]["dns"]) == (host, dns)
    assert [address["ip"] for address in row["data"]["addresses"]] == [ip]


@pytest.mark.parametrize(
    ("checks", "state"),
    [
        ({}, "HEALTHCHECKS_OFF"),
        ({"active": {"healthy": {"interval": 0.5}}}, "HEALTHY"),
        ({"active": {"unhealthy": {"interval": 1}}}, "HEALTHY"),
        ({"passive": {"unhealthy": {"timeouts": 1}}}, "HEALTHY"),
        ({"passive": {"unhealthy": {"http_failures": 1}}}, "HEALTHY"),
        ({"passive": {"healthy": {"successes": 1}}}, "HEALTHCHECKS_OFF"),
        ({"active": {"healthy": {"successes": 1}, "unhealthy": {"tcp_failures": 1}}}, "HEALTHCHECKS_OFF"),
    ],
)
def test_what_turns_checks_on(api: AdminApi, checks: Any, state: str) -> None:
    """An interval or a passive failure count turns checks on; nothing else does."""
    api.create("/upstreams", name="u", healthchecks=checks)
    api.create("/upstreams/u/targets", target="a.test:80")
    (row,) = api.get(HEALTH)["data"]
    assert (row["health"], row["data"]["addresses"][0]["health"]) == (state, state)


# By hand


@pytest.mark.parametrize("key", ["10.0.0.1:8002", "10.0.0.1:8002/10.0.0.1:8002", "10.0.0.1%3A8002/10.0.0.01%3A8002"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_switch(api: AdminApi, pool: Any, method: str, key: str) -> None:
    """What a person says of a target, or of one address of it, is told and in force at once."""
    assert picked(api) == {"10.0.0.1:8001", "10.0.0.1:8002"}
    answer = api.request(method, f"/upstreams/u/targets/{key}/unhealthy")
    assert (answer.status, answer.body) == (204, b"")
    assert states(api)["10.0.0.1:8002"] == "UNHEALTHY"
    assert picked(api) == {"10.0.0.1:8001"}
    assert api.request(method, f"/upstreams/u/targets/{key}/healthy").status == 204
    assert states(api)["10.0.0.1:8002"] == "HEALTHY"
    assert picked(api) == {"10.0.0.1:8001", "10.0.0.1:8002"}


def test_switch_by_id(api: AdminApi, pool: Any) -> None:
    """A target is found by whatever names it."""
    assert switch(api, pool[1]["id"], "unhealthy") == 204
    assert states(api)["10.0.0.1:8002"] == "UNHEALTHY"
    assert switch(api, "10.0.0.1", "unhealthy") == 409


def test_everybody_out(api: AdminApi, pool: Any) -> None:
    """With nobody healthy nobody gets anything."""
    for port in (8001, 8002):
        switch(api, f"10.0.0.1:{port}", "unhealthy")
    assert picked(api) == set()


@pytest.mark.parametrize("address", ["10.0.0.9:8002", "10.0.0.1", "a.test"])
def test_switch_an_address_of_somebody_else(api: AdminApi, pool: Any, address: str) -> None:
    """What is said of an address that the target does not have changes nothing; the port is 8000 if none is given."""
    before = states(api)
    assert switch(api, f"10.0.0.1:8002/{address}", "unhealthy") == 204
    assert states(api) == before


def test_switch_no_address(api: AdminApi, pool: Any) -> None:
    """What cannot be an address is refused."""
    answer = api.request("PUT", "/upstreams/u/targets/10.0.0.1:8002/a%20b/unhealthy")
    assert (answer.status, answer.json["message"]) == (
        400,
        "address: expected a host, perhaps with a port; invalid hostname: a b",
    )


@pytest.mark.parametrize("path", ["/upstreams/nobody/targets/10.0.0.1:8001", "/upstreams/u/targets/10.0.0.1:1"])
def test_switch_nobody(api: AdminApi, pool: Any, path: str) -> None:
    """Only a target of an upstream can be switched."""
    answer = api.request("PUT", f"{path}/healthy")
    assert (answer.status, answer.json) == (404, NOT_FOUND)


def test_health_outlives_changes(api: AdminApi, pool: Any) -> None:
    """What was said of a target holds through every change of its upstream and of itself."""
    switch(api, "10.0.0.1:8001", "unhealthy")
    api.json("PATCH", "/upstreams/u", {"algorithm": "least-connections"})
    api.json("PATCH", "/upstreams/u", {"algorithm": "round-robin", "tags": ["x"]})
    api.create("/upstreams/u/targets", target="10.0.0.1:8004")
    api.json("PATCH", "/upstreams/u/targets/10.0.0.1:8001", {"weight": 50})
    assert states(api)["10.0.0.1:8001"] == "UNHEALTHY"
    assert picked(api) == {"10.0.0.1:8002", "10.0.0.1:8004"}


def test_checks_turned_off(api: AdminApi, pool: Any) -> None:
    """Without checks everybody gets requests and nobody can be switched; with them it is as it was."""
    switch(api, "10.0.0.1:8001", "unhealthy")
    api.json("PATCH", "/upstreams/u", {"healthchecks": {"passive": {"unhealthy": {"tcp_failures": 0}}}})
    answer = api.request("PUT", "/upstreams/u/targets/10.0.0.1:8001/healthy")
    assert (answer.status, answer.json) == (400, {"message": "no healthchecker found for u"})
    assert set(states(api).values()) == {"HEALTHCHECKS_OFF"}
    assert picked(api) == {"10.0.0.1:8001", "10.0.0.1:8002"}
    api.json("PATCH", "/upstreams/u", {"healthchecks": CHECKED})
    assert picked(api) == {"10.0.0.1:8002"}


def test_deleted_and_created(api: AdminApi, pool: Any) -> None:
    """A target that is deleted and created anew is healthy."""
    switch(api, "10.0.0.1:8001", "unhealthy")
    api.request("DELETE", "/upstreams/u/targets/10.0.0.1:8001")
    api.create("/upstreams/u/targets", target="10.0.0.1:8001")
    assert states(api)["10.0.0.1:8001"] == "HEALTHY"


def test_nobody_knows(api: AdminApi, pool: Any) -> None:
    """Where the runtime knows nothing of an upstream, its targets are listed without health."""
    api.gateway.apply(api.store.snapshot(), EMPTY)
    assert api.get(HEALTH)["data"] == pool
    assert balancer(api) == {}
    answer = api.request("PUT", "/upstreams/u/targets/10.0.0.1:8001/healthy")
    assert (answer.status, answer.json) == (400, {"message": "Upstream u has no balancer"})


# As one


def balancer(api: AdminApi) -> Any:
    page = api.get(f"{HEALTH}?balancer_health=1")
    assert (page["next"], page["node_id"]) == (None, NODE_ID)
    return page["data"]


def test_balancer(api: AdminApi, u: Any, pool: Any) -> None:
    """The upstream as a whole tells how much of its weight is with whom."""
    switch(api, "10.0.0.1:8001", "unhealthy")
    found = balancer(api)
    assert (found["id"], found["health"], found["balancer_health"]) == (u["id"], "HEALTHY", "HEALTHY")
    assert found["details"]["healthy"] is True
    assert found["details"]["weight"] == {"total": 40, "available": 30, "unavailable": 10}
    hosts = found["details"]["hosts"]
    assert [host["addresses"][0]["healthy"] for host in hosts] == [False, True, True]
    assert hosts[0] == {
        "host": "10.0.0.1",
        "port": 8001,
        "dns": "A",
        "nodeWeight": 10,
        "weight": {"total": 10, "available": 0, "unavailable": 10},
        "addresses": [{"ip": "10.0.0.1", "port": 8001, "weight": 10, "healthy": False}],
    }


@pytest.mark.parametrize(
    ("threshold", "down", "healthy"),
    [
        (0, "", True),
        (74.9, "10.0.0.1:8001", True),
        (75, "10.0.0.1:8001", False),
        (25, "10.0.0.1:8002", False),
        (100, "", True),
        (100, "10.0.0.1:8001", False),
    ],
)
def test_threshold(api: AdminApi, pool: Any, threshold: float, down: str, healthy: bool) -> None:
    """It is healthy while more than the threshold's share of its weight is available, or all of it."""
    api.json("PATCH", "/upstreams/u", {"healthchecks": {"threshold": threshold}})
    if down:
        switch(api, down, "unhealthy")
    found = balancer(api)
    assert found["details"]["healthy"] is healthy
    assert found["health"] == found["balancer_health"] == ("HEALTHY" if healthy else "UNHEALTHY")


@pytest.mark.parametrize("weights", [[], [0]])
def test_balancer_with_nothing_to_give(api: AdminApi, weights: list[int]) -> None:
    """Without any weight it is unhealthy, checked or not."""
    api.create("/upstreams", name="u")
    for weight in weights:
        api.create("/upstreams/u/targets", target="10.0.0.1:80", weight=weight)
    found = balancer(api)
    assert (found["health"], found["balancer_health"]) == ("HEALTHCHECKS_OFF", "UNHEALTHY")
    assert found["details"]["weight"] == {"total": 0, "available": 0, "unavailable": 0}
    assert len(found["details"]["hosts"]) == len(weights)


def test_name_without_an_address(api: AdminApi, u: Any) -> None:
    """A target whose name leads nowhere is told with the reason; whether it would be checked makes no difference."""
    api.create("/upstreams/u/targets", target="unknown.test:80")
    (row,) = api.get(HEALTH)["data"]
    assert (row["health"], row["data"]["dns"]) == ("DNS_ERROR", "dns server error: 3 name error")
    assert row["data"]["addresses"] == []
    assert row["data"]["weight"] == {"total": 0, "available": 0, "unavailable": 0}


# The timeline


def test_timeline(api: AdminApi, pool: Any) -> None:
    """Every transition is told with what led to it, every address with what is counted of it."""
    api.request("PUT", "/upstreams/u/targets/10.0.0.1:8001/unhealthy")
    api.clock.advance(2)
    api.request("PUT", "/upstreams/u/targets/10.0.0.1:8001/healthy")
    service = api.json("PUT", "/services/s", {"host": "u"}).json
    balancer, _ = api.gateway.balancer(api.store.snapshot().services[service["id"]])
    lease = balancer.lease()
    assert lease is not None
    lease.release(Outcome("tcp", latency=0.5, error="refused"))
    page = api.get(f"{HEALTH}/timeline")
    assert (page["next"], page["node_id"]) == (None, NODE_ID)
    assert [row["id"] for row in page["data"]] == [target["id"] for target in pool]
    by_address = {row["target"]: row["addresses"][0] for row in page["data"]}
    told = by_address["10.0.0.1:8001"]
    assert [(each["health"], each["by"]) for each in told["transitions"]][:2] == [
        ("UNHEALTHY", "person"),
        ("HEALTHY", "person"),
    ]
    failed = by_address[lease.peer.address]
    assert (failed["health"], failed["state"]) == ("UNHEALTHY", "unhealthy")
    assert failed["counters"] == {"SUCCESS": 0, "HTTP": 0, "TCP": 1, "TIMEOUT": 0}
    (evidence,) = failed["transitions"][-1]["evidence"]
    assert {**evidence, "at": 0} == {
        "at": 0,
        "by": "traffic",
        "counter": "TCP",
        "count": 1,
        "limit": 1,
        "status": None,
        "latency": 0.5,
        "error": "refused",
    }
    assert by_address["10.0.0.1:8003"]["transitions"] == []


def test_timeline_of_nobody(api: AdminApi) -> None:
    """An upstream that is not there has none."""
    answer = api.request("GET", "/upstreams/nobody/health/timeline")
    assert (answer.status, answer.json) == (404, NOT_FOUND)
