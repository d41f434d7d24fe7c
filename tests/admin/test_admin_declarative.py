"""``/config``, and the rest of the Admin API where the configuration is one document."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from admin_api import COUNTS, FORM, NOBODY, NODE_ID, NOT_FOUND, AdminApi, Answered
from twisted.internet.defer import maybeDeferred

from twisted_kong.admin.node import Node
from twisted_kong.admin.site import make_admin_site
from twisted_kong.model.schema import Schema
from twisted_kong.settings import load
from twisted_kong.store.declarative import NOTHING_LOADED, Loader

DOCUMENT = {
    "_format_version": "3.0",
    "services": [{"name": "s", "host": "a.test", "routes": [{"name": "r", "paths": ["/a"]}]}],
    "upstreams": [{"name": "u", "targets": [{"target": "127.0.0.1:80"}]}],
}
TEXT = yaml.safe_dump(DOCUMENT)
YAML = "application/yaml"
JSON = "application/json"


class Dbless(AdminApi):
    """An Admin API without a database."""

    def __init__(self) -> None:
        super().__init__()
        loader = Loader(self.store, Schema(), now=self.clock.seconds, aside=maybeDeferred)
        settings = load(None, {}, {"database": "off"})
        node = Node(NODE_ID, settings, lambda: COUNTS, lambda: loader.hash)
        self.site = make_admin_site(
            self.store, Schema(), node, self.gateway, loader, now=self.clock.seconds, reactor=self.clock
        )

    def post(self, body: str, content_type: str = YAML, query: str = "") -> Answered:
        return self.request("POST", f"/config{query}", body.encode(), Content_Type=content_type)

    def names(self) -> list[str]:
        return [service["name"] for service in self.get("/services")["data"]]

    def hash(self) -> str:
        found: str = self.get("/status")["configuration_hash"]
        return found


@pytest.fixture
def dbless() -> Dbless:
    return Dbless()


@pytest.fixture
def loaded(dbless: Dbless) -> Dbless:
    """One with a small document."""
    assert dbless.json("POST", "/config", DOCUMENT).status == 201
    return dbless


# -- sending ---------------------------------------------------------------------------------------------------


def part(content: str, head: str = "") -> str:
    return f'--b\r\nContent-Disposition: form-data; name="config"{head}\r\n\r\n{content}\r\n--b--\r\n'


MULTIPART = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, json.dumps(DOCUMENT)),
        (JSON, json.dumps({"config": TEXT})),
        (JSON, json.dumps({"config": json.dumps(DOCUMENT)})),
        (YAML, TEXT),
        ("text/yaml; charset=utf-8", TEXT),
        (YAML, json.dumps(DOCUMENT)),
        (FORM, "config=" + "".join(f"%{byte:02x}" for byte in TEXT.encode())),
        (FORM, "_format_version=3.0&services[1][name]=s&services[1].host=a.test"),
        (MULTIPART, part(TEXT)),
        (MULTIPART, part(TEXT, '; filename="kong.yml"\r\nContent-Type: application/octet-stream')),
        (MULTIPART, part(json.dumps(DOCUMENT), '; filename="kong.json"\r\nContent-Type: application/json')),
    ],
    ids=str,
)
def test_ways_to_send(dbless: Dbless, content_type: str, body: str) -> None:
    """A document comes as JSON, as YAML, or as a field called config, and is in force when it is answered."""
    answer = dbless.post(body, content_type)
    assert answer.status == 201
    (id,) = answer.json["services"]
    assert answer.json["services"][id] == dbless.get("/services/s")
    assert dbless.names() == ["s"]


def test_answer(dbless: Dbless) -> None:
    """The answer is all entities by collection and id, as they can be read; nothing else."""
    found = dbless.json("POST", "/config", DOCUMENT).json
    assert found.keys() == {"services", "routes", "upstreams", "targets"}
    for collection, path in (("services", "/services"), ("routes", "/routes"), ("targets", "/upstreams/u/targets")):
        assert list(found[collection].values()) == dbless.get(path)["data"]


def test_replacement(loaded: Dbless) -> None:
    """A document is the whole configuration."""
    loaded.json("POST", "/config", {"_format_version": "3.0", "services": [{"name": "t", "host": "a"}]})
    assert loaded.names() == ["t"]
    assert loaded.get("/upstreams")["data"] == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, ""),
        (YAML, ""),
        (YAML, " \n"),
        (JSON, '{"config": ""}'),
        (JSON, '{"config": 7}'),
        (JSON, '{"config": null}'),
    ],
)
def test_nothing_sent(dbless: Dbless, content_type: str, body: str) -> None:
    """Nothing is no document."""
    answer = dbless.post(body, content_type)
    assert (answer.status, answer.json) == (400, {"message": "expected a declarative configuration"})
    assert dbless.request("POST", "/config").json == answer.json


def test_without_a_version(dbless: Dbless) -> None:
    """Whatever else is sent is taken for a document."""
    for body in ("{}", '{"check_hash": 1}'):
        assert dbless.post(body, JSON).json["fields"] == {"_format_version": "required field missing"}
    assert dbless.post("services=x", FORM).json["fields"].keys() == {"_format_version", "services"}


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        (JSON, b"{", "Cannot parse JSON body"),
        (JSON, b"\xff", "Cannot parse JSON body"),
        (JSON, b"[1]", "Cannot parse JSON body: expected an object"),
        (JSON, b"[" * 100_000, "Cannot parse JSON body"),
        (YAML, b"a: \xff", "Cannot parse YAML body: expected UTF-8"),
    ],
)
def test_unreadable(dbless: Dbless, content_type: str, body: bytes, message: str) -> None:
    """What is not what it is announced as is refused."""
    answer = dbless.request("POST", "/config", body, Content_Type=content_type)
    assert (answer.status, answer.json) == (400, {"message": message})


def test_yaml_is_read_nowhere_else(dbless: Dbless) -> None:
    """Other paths do not take YAML."""
    assert dbless.request("POST", "/services", b"host: a", Content_Type=YAML).status == 415
    assert dbless.request("POST", "/config", TEXT.encode(), Content_Type="text/plain").status == 415


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body", "why"),
    [
        (YAML, "a: 1\nb: c: d", "line 2: mapping values are not allowed in this context"),
        (YAML, "a: 1\na: 2", "line 2: 'a' is given twice, for the first time in line 1"),
        (JSON, '{"a": 1,\n"a": 2}', "line 2: 'a' is given twice, for the first time in line 1"),
        (JSON, '{"config": "a: &a [*a]"}', "line 1: nothing before this has the anchor a"),
        (YAML, "hello", "expected an object"),
    ],
)
def test_no_document(loaded: Dbless, content_type: str, body: str, why: str) -> None:
    """A text that is no document is told why, and in which line."""
    answer = loaded.post(body, content_type)
    text = f"failed parsing declarative configuration: {why}"
    assert (answer.status, answer.json["code"], answer.json["fields"]) == (400, 14, {"error": text})
    assert loaded.names() == ["s"]


@pytest.mark.parametrize(
    ("query", "flat"),
    [
        ("", False),
        ("?flatten_errors=1", True),
        ("?flatten_errors=true", True),
        ("?flatten_errors=on", True),
        ("?flatten_errors=yes", True),
        ("?flatten_errors", True),
        ("?flatten_errors=0", False),
    ],
)
def test_refused(loaded: Dbless, query: str, flat: bool) -> None:
    """A refused document leaves everything as it is; its faults are told as a tree or by entity, as asked for."""
    before = loaded.hash()
    answer = loaded.post('_format_version: "3.0"\nservices: [{name: t}]', query=query)
    assert (answer.status, answer.json["code"]) == (400, 14)
    assert ("flattened_errors" in answer.json) == flat
    assert answer.json["fields"] == ({} if flat else {"services": [{"host": "required field missing"}]})
    assert (loaded.names(), loaded.hash()) == (["s"], before)


def test_asked_for_in_the_body(dbless: Dbless) -> None:
    """What is asked for may stand in the body, and is no part of the document."""
    body = {"_format_version": "3.0", "flatten_errors": True, "check_hash": 1}
    assert dbless.json("POST", "/config", body).status == 201
    assert dbless.json("POST", "/config", {**body, "foo": 1}).json["flattened_errors"] == []


# -- the hash --------------------------------------------------------------------------------------------------


def test_hash(dbless: Dbless) -> None:
    """The hash tells that a document was loaded, and which."""
    assert dbless.hash() == NOTHING_LOADED
    hashes = []
    for body, content_type in ((TEXT, YAML), (TEXT + "\n", YAML), (json.dumps(DOCUMENT), JSON), (TEXT, YAML)):
        dbless.post(body, content_type)
        hashes.append(dbless.hash())
    assert hashes[0] == hashes[3]
    assert len({NOTHING_LOADED, *hashes}) == 4


def test_check_hash(dbless: Dbless) -> None:
    """With check_hash=1 a text that is in force is not loaded again."""
    assert dbless.post(TEXT, query="?check_hash=1").status == 201
    again = dbless.post(TEXT, query="?check_hash=1")
    assert (again.status, again.body) == (304, b"")
    assert dbless.json("POST", "/config", {"config": TEXT, "check_hash": 1}).status == 304
    for query in ("", "?check_hash=true", "?check_hash=0"):
        assert dbless.post(TEXT, query=query).status == 201
    assert dbless.post(json.dumps(DOCUMENT), JSON, "?check_hash=1").status == 201
    assert dbless.post(TEXT, query="?check_hash=1").status == 201


# -- reading ---------------------------------------------------------------------------------------------------


def test_get(loaded: Dbless) -> None:
    """What is read is a document that means the same."""
    text = loaded.get("/config")["config"]
    before = loaded.get("/routes"), loaded.get("/upstreams/u/targets")
    loaded.json("POST", "/config", {"_format_version": "3.0"})
    assert loaded.post(text).status == 201
    assert (loaded.get("/routes"), loaded.get("/upstreams/u/targets")) == before
    assert loaded.get("/config")["config"] == text


def test_methods(dbless: Dbless) -> None:
    """A configuration is read and posted."""
    assert dbless.request("OPTIONS", "/config").headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert dbless.json("PUT", "/config", DOCUMENT).status == 405


def test_with_a_database(api: AdminApi) -> None:
    """With a database there is no such thing."""
    told = {"message": "this endpoint is only available when Kong is configured to not use a database"}
    for answer in (api.request("GET", "/config"), api.json("POST", "/config", DOCUMENT)):
        assert (answer.status, answer.json) == (400, told)
    assert api.create("/services", host="a")


def test_secrets() -> None:
    """The document that stands in the settings is nobody's business."""
    api = AdminApi(settings=load(None, {}, {"database": "off", "declarative_config_string": "secret: 1"}))
    answer = api.request("GET", "/")
    assert answer.json["configuration"]["declarative_config_string"] == "******"
    assert b"secret" not in answer.body


# -- reading only ----------------------------------------------------------------------------------------------


def id_of(api: AdminApi, path: str) -> str:
    found: str = api.get(path)["id"]
    return found


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/routes", {"paths": ["/b"]}, "cannot create 'routes' entities"),
        ("POST", "/services/s/routes", {"paths": ["/b"]}, "cannot create 'routes' entities"),
        ("POST", "/upstreams/u/targets", {"target": "a"}, "cannot create 'targets' entities"),
        ("POST", "/consumers", {"username": "c"}, "cannot create 'consumers' entities"),
        ("POST", "/apis", {"name": "a", "hosts": ["a"], "upstream_url": "http://a"}, "cannot create 'apis' entities"),
        ("PUT", "/services/s", {"host": "b"}, "cannot create or update 'services' entities by 'name'"),
        ("PUT", f"/services/{NOBODY}", {"host": "b"}, "cannot create or update 'services' entities"),
        ("PUT", "/routes/r/service", {"host": "b"}, "cannot create or update 'services' entities"),
        ("PATCH", "/services/s", {}, "cannot update 'services' entities by 'name'"),
        ("PATCH", "/services/{services/s}", {}, "cannot update 'services' entities"),
        ("PATCH", "/services/s/routes/r", {}, "cannot update 'routes' entities"),
        ("PATCH", "/routes/r/service", {}, "cannot update 'services' entities"),
        ("PATCH", "/upstreams/u/targets/127.0.0.1:80", {"weight": 1}, "cannot update 'targets' entities"),
        ("PATCH", "/upstreams/u/targets/127.0.0.1:80", {"target": "b"}, "cannot update 'targets' entities"),
        ("DELETE", "/routes/r", None, "cannot remove 'routes' entities by 'name'"),
        ("DELETE", "/routes/{routes/r}", None, "cannot remove 'routes' entities"),
        ("DELETE", "/upstreams/u/targets/127.0.0.1:80", None, "cannot remove 'targets' entities"),
    ],
)
def test_writes(loaded: Dbless, method: str, path: str, body: Any, message: str) -> None:
    """Nothing can be written, and whoever tries is told so in Kong's words."""
    before = loaded.get("/config")
    if "{" in path:
        path = path.partition("{")[0] + id_of(loaded, "/" + path.partition("{")[2].rstrip("}"))
    answer = loaded.request(method, path) if body is None else loaded.json(method, path, body)
    assert (answer.status, answer.json) == (
        405,
        {"code": 12, "name": "operation unsupported", "message": f"{message} when not using a database"},
    )
    assert loaded.get("/config") == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/services", {}, 400),
        ("POST", "/services/x/routes", {"paths": ["/"]}, 404),
        ("PATCH", "/services/x", {}, 404),
        ("PATCH", "/services/s", {"port": "x"}, 400),
        ("DELETE", f"/services/{NOBODY}", {}, 204),
        ("DELETE", "/upstreams/u/targets/b:80", {}, 404),
        ("POST", "/schemas/services/validate", {"host": "a"}, 200),
    ],
)
def test_other_answers_come_first(loaded: Dbless, method: str, path: str, body: Any, status: int) -> None:
    """What would not have been written anyway is answered as ever."""
    answer = loaded.json(method, path, body)
    assert answer.status == status
    assert b"database" not in answer.body


def test_unknown_method(loaded: Dbless) -> None:
    """A method that a path never had is simply not allowed, and a path that never was is not found."""
    assert loaded.request("DELETE", "/services").json == {"message": "Method not allowed"}
    assert loaded.request("GET", "/nowhere").json == NOT_FOUND
