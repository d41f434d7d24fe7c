"""Certificates and their server names, which are the one's list and the other's entities at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from admin_api import NOBODY, NOT_FOUND, AdminApi
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.fromtimestamp(1_700_000_000, UTC)
"""When the tests' Admin API starts."""


def _pair(*, authority: bool) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.test")])
    day = timedelta(1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - day, NOW + day)
    builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {"cert": builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode(), "key": key_pem.decode()}


PAIR = _pair(authority=False)
AUTHORITY = _pair(authority=True)["cert"]


@pytest.fixture
def c(api: AdminApi) -> Any:
    """A certificate for a.test and b.test."""
    return api.create("/certificates", **PAIR, snis=["b.test", "a.test"])


def names(api: AdminApi) -> list[str]:
    """All server names there are."""
    return sorted(row["name"] for row in api.get("/snis")["data"])


def test_names_are_entities(api: AdminApi, c: Any) -> None:
    """The names in a certificate's list are server names of their own, which refer to it."""
    assert c["snis"] == ["a.test", "b.test"]
    rows = api.get("/snis")["data"]
    assert {row["name"]: row["certificate"] for row in rows} == {name: {"id": c["id"]} for name in c["snis"]}
    assert api.get("/certificates/b.test/snis")["data"] == rows
    assert api.get(f"/certificates/{c['id']}/snis/a.test") == api.get("/snis/a.test")


def test_names_are_listed(api: AdminApi, c: Any) -> None:
    """Names that come and go by themselves come and go in the list."""
    made = api.create("/certificates/a.test/snis", name="*.c.test")
    api.create("/snis", name="d.test", certificate={"id": c["id"]})
    assert api.request("DELETE", "/snis/a.test").status == 204
    expected = {**c, "snis": ["*.c.test", "b.test", "d.test"]}
    assert api.get("/certificates")["data"] == [expected]
    assert api.get("/certificates/b.test") == api.get(f"/certificates/{c['id']}") == expected
    assert made["certificate"] == {"id": c["id"]}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("key", ["id", "name"])
def test_change_of_the_list(api: AdminApi, c: Any, method: str, key: str) -> None:
    """A new list takes names away and gives others; what stays is the same name as before."""
    kept = api.get("/snis/b.test")
    path = f"/certificates/{c['id'] if key == 'id' else 'a.test'}"
    answer = api.json(method, path, {**PAIR, "snis": ["b.test", "c.test"]})
    assert (answer.status, answer.json["id"], answer.json["snis"]) == (200, c["id"], ["b.test", "c.test"])
    assert names(api) == ["b.test", "c.test"]
    assert api.get("/snis/b.test") == kept


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_change_of_something_else(api: AdminApi, c: Any, method: str) -> None:
    """Who says nothing of the names leaves them alone."""
    answer = api.json(method, "/certificates/a.test", {**PAIR, "tags": ["x"]})
    assert answer.json == {**c, "tags": ["x"]}


@pytest.mark.parametrize("none", [[], {}, None])
def test_empty_list(api: AdminApi, c: Any, none: object) -> None:
    """A list may be emptied."""
    assert api.json("PATCH", "/certificates/a.test", {"snis": none}).json["snis"] == []
    assert names(api) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("snis=c.test", ["c.test"]),
        ("snis[]=c.test&snis[]=d.test", ["c.test", "d.test"]),
        ("snis=", []),
    ],
)
def test_list_in_a_form(api: AdminApi, c: Any, text: str, expected: list[str]) -> None:
    """A form spells the list as it spells others."""
    assert api.form("PATCH", f"/certificates/{c['id']}", text).json["snis"] == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("c.test", "expected a set"),
        ({"a": 1}, "expected a set"),
        ([1], "expected a string"),
        ([["c.test"]], "expected a string"),
        (["c.test", "c.test"], "c.test is duplicated"),
        (["c.test", "1.2.3.4"], "must not be an IP"),
        (["c.test", ""], "length must be at least 1"),
    ],
)
def test_refused_list(api: AdminApi, c: Any, given: object, told: str) -> None:
    """A list that cannot be is refused, and nothing of it is stored."""
    for answer in (
        api.json("POST", "/certificates", {**PAIR, "snis": given}),
        api.json("PATCH", "/certificates/a.test", {"snis": given}),
    ):
        assert (answer.status, answer.json["code"], answer.json["fields"]) == (400, 2, {"snis": told})
    assert api.get("/certificates")["data"] == [c]
    assert names(api) == ["a.test", "b.test"]


def test_name_of_another(api: AdminApi, c: Any) -> None:
    """A name stays with its certificate until that gives it up."""
    answer = api.json("POST", "/certificates", {**PAIR, "snis": ["c.test", "a.test"]})
    told = f"a.test already associated with existing certificate '{c['id']}'"
    assert (answer.status, answer.json["fields"]) == (400, {"snis": told})
    assert api.get("/certificates")["data"] == [c]


def test_put_under_a_new_name(api: AdminApi) -> None:
    """A certificate put under a name that nobody has is created with it, beside those it lists."""
    first = api.json("PUT", "/certificates/a.test", PAIR)
    assert (first.status, first.json["snis"]) == (200, ["a.test"])
    second = api.json("PUT", "/certificates/b.test", {**PAIR, "snis": ["c.test", "b.test"]})
    assert second.json["snis"] == ["b.test", "c.test"]
    assert second.json["id"] != first.json["id"]


def test_put_under_an_id(api: AdminApi) -> None:
    """A certificate put under a new id is created with it."""
    answer = api.json("PUT", f"/certificates/{NOBODY}", {**PAIR, "snis": ["a.test"]})
    assert (answer.status, answer.json["id"], answer.json["snis"]) == (200, NOBODY, ["a.test"])


@pytest.mark.parametrize(
    ("method", "below"),
    [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/snis"), ("POST", "/snis"), ("GET", "/services")],
)
def test_unknown_name(api: AdminApi, method: str, below: str) -> None:
    """Who is asked for by a name that nobody has is told so."""
    answer = api.json(method, f"/certificates/nobody.test{below}", {})
    assert (answer.status, answer.json) == (404, {"message": "SNI not found"})


def test_unknown_id(api: AdminApi) -> None:
    """An unknown id is told in detail, and deleted without a word."""
    answer = api.request("GET", f"/certificates/{NOBODY}")
    assert (answer.status, answer.json["code"], answer.json["fields"]) == (404, 6, {"id": NOBODY})
    assert api.request("DELETE", f"/certificates/{NOBODY}").status == 204
    assert api.request("GET", f"/certificates/{NOBODY}/snis").json == NOT_FOUND


def test_name_that_cannot_be(api: AdminApi) -> None:
    """What could be nobody's server name is refused."""
    answer = api.request("GET", "/certificates/1.2.3.4")
    assert (answer.status, answer.json["code"], answer.json["message"]) == (400, 10, "must not be an IP")


def test_no_way_up(api: AdminApi, c: Any) -> None:
    """A server name leads nowhere, as in Kong."""
    assert api.request("GET", "/snis/a.test/certificate").json == NOT_FOUND


def test_delete(api: AdminApi, c: Any) -> None:
    """A certificate takes its names along."""
    assert api.request("DELETE", "/certificates/b.test").status == 204
    assert names(api) == []


# Who uses them


@pytest.mark.parametrize(
    ("path", "document"),
    [("/services/x", {"host": "a.test", "protocol": "https"}), ("/upstreams/x", {})],
)
def test_client_certificate(api: AdminApi, c: Any, path: str, document: dict[str, object]) -> None:
    """Services and upstreams are listed below the certificate they present, lead to it, and keep it there."""
    user = api.json("PUT", path, {**document, "client_certificate": {"id": c["id"]}}).json
    assert api.get(f"/certificates/a.test{path.removesuffix('/x')}")["data"] == [user]
    assert api.get(f"/certificates/{c['id']}{path}") == user
    assert api.get(f"{path}/client_certificate") == c
    assert api.json("PATCH", f"{path}/client_certificate", {"snis": ["z.test"]}).json["snis"] == ["z.test"]
    answer = api.request("DELETE", "/certificates/z.test")
    assert (answer.status, answer.json["fields"]) == (400, {"@referenced_by": path.split("/")[1]})


def test_client_certificate_of_an_orphan(api: AdminApi) -> None:
    """A certificate put where there is none is created, with its names, and presented from then on."""
    api.create("/upstreams", name="u")
    made = api.json("PUT", "/upstreams/u/client_certificate", {**PAIR, "snis": ["a.test"]}).json
    assert api.get("/upstreams/u")["client_certificate"] == {"id": made["id"]}
    assert api.get("/certificates")["data"] == [made]


def test_authority(api: AdminApi) -> None:
    """An authority is known by its id only, and stays while a service trusts it."""
    made = api.create("/ca_certificates", cert=AUTHORITY)
    assert api.get(f"/ca_certificates/{made['id']}") == made
    api.create("/services", name="s", host="a.test", protocol="https", ca_certificates=[made["id"]])
    answer = api.request("DELETE", f"/ca_certificates/{made['id']}")
    assert (answer.status, answer.json["code"]) == (400, 19)
    answer = api.request("GET", "/ca_certificates/a.test")
    assert (answer.status, answer.json["code"]) == (400, 1)
