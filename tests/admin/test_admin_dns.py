"""What is told of names."""

from __future__ import annotations

import pytest
from admin_api import AdminApi


@pytest.fixture(autouse=True)
def upstream(api: AdminApi) -> None:
    """Two targets that are names; one of them has an address."""
    api.create("/upstreams", name="u")
    for host in ("a.test", "unknown.test"):
        api.create("/upstreams/u/targets", target=f"{host}:80")


def test_known_name(api: AdminApi) -> None:
    """A name in use is told with its addresses and the times they hold, in whatever case it is asked for."""
    api.clock.advance(600)
    found = api.get("/dns/A.test")
    assert (found["name"], found["state"], found["type"], found["kept"]) == ("a.test", "fresh", "A", True)
    assert found["addresses"] == [{"ip": "10.0.0.9", "port": None, "weight": None, "host": None}]
    assert (found["expires_in"], found["serves_for"], found["error"]) == (3000, 6600, None)


def test_failing_name(api: AdminApi) -> None:
    """A name without an address is told with the reason, and for how long that is believed."""
    found = api.get("/dns/unknown.test")
    assert (found["state"], found["addresses"]) == ("failed", [])
    assert (found["error"], found["error_believed_for"]) == ("dns server error: 3 name error", 30)


def test_name_nobody_uses(api: AdminApi) -> None:
    """Nobody is asked because somebody looks, and a name nobody uses any more is not known."""
    assert api.request("GET", "/dns/other.test").status == 404
    assert api.request("DELETE", "/upstreams/u/targets/a.test:80").status == 204
    assert api.request("GET", "/dns/a.test").status == 404


def test_counts(api: AdminApi) -> None:
    """Questions are counted by name and type, failures by reason."""
    found = api.get("/status/dns")
    assert found["worker"] == {"id": 0, "count": 1}
    known, failing = found["stats"]["a.test|A"], found["stats"]["unknown.test|A/AAAA"]
    assert (known["query"], known["query_succ"]) == (1, 1)
    assert (failing["query"], failing["query_succ"]) == (1, 0)
    assert failing["query_fail:dns server error: 3 name error"] == 1
