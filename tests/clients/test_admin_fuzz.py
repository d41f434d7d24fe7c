"""Requests that nobody thought of: every operation that the Admin API describes, with data that schemathesis makes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import requests
import schemathesis
from declared import certificate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from running_gateway import Admin, RunningGateway, running
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.errors import InvalidSchema
from schemathesis.core.result import Err, Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Operation]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 5
"""Of one operation, with keys that exist; half as many with others."""
PATIENCE = 10
"""Seconds until an answer counts as missing."""

ID = "00000000-0000-4000-8000-000000000001"
THERE = "there.test"
"""What all that has a name is called."""
KEYS = {
    "services": THERE,
    "routes": THERE,
    "upstreams": THERE,
    "targets": f"{THERE}:8000",
    "consumers": THERE,
    "keyauth_credentials": THERE,
    "plugins": ID,
    "certificates": ID,
    "ca_certificates": ID,
    "snis": THERE,
    "apis": THERE,
    "entity": "routes",
    "name": "key-auth",
    "tags": "blue",
    "address": "127.0.0.1:80",
}
"""By parameter, a key that exists."""

CERT, KEY = certificate("a.test")
AUTHORITY, _ = certificate("authority.test", authority=True)


def sound(name: str) -> dict[str, dict[str, Any]]:
    """By kind, a document that is accepted, parents before their children."""
    by_id = {"id": ID}
    return {
        "Certificate": {"cert": CERT, "key": KEY},
        "CaCertificate": {"cert": AUTHORITY},
        "Sni": {"name": name, "certificate": by_id},
        "Service": {"name": name, "host": "a.test", "protocol": "https", "client_certificate": by_id},
        "Route": {"name": name, "paths": ["/"], "service": by_id},
        "Upstream": {"name": name, "client_certificate": by_id},
        "Target": {"target": name, "tags": ["blue"]},
        "Consumer": {"username": name},
        "KeyauthCredential": {"key": name, "consumer": by_id},
        "Plugin": {"name": "key-auth", "route": by_id},
        "Api": {"name": name, "upstream_url": "http://a.test", "uris": ["/"]},
    }


PLACES = {
    "Certificate": ("PUT", f"/certificates/{ID}"),
    "CaCertificate": ("PUT", f"/ca_certificates/{ID}"),
    "Sni": ("PUT", f"/snis/{ID}"),
    "Service": ("PUT", f"/services/{ID}"),
    "Route": ("PUT", f"/routes/{ID}"),
    "Upstream": ("PUT", f"/upstreams/{ID}"),
    "Target": ("POST", f"/upstreams/{ID}/targets"),
    "Consumer": ("PUT", f"/consumers/{ID}"),
    "KeyauthCredential": ("PUT", f"/key-auths/{ID}"),
    "Plugin": ("PUT", f"/plugins/{ID}"),
    "Api": ("POST", "/apis"),
}


def put_back(admin: Admin) -> list[int]:
    """Let everything that `KEYS` names be there, whatever has become of it; how each was answered."""
    statuses = []
    for kind, document in sound(THERE).items():
        method, path = PLACES[kind]
        if method == "POST":
            admin.ask("DELETE", f"{path}/{ID}")
        statuses.append(admin.ask(method, path, {"id": ID, **document}).status)
    return statuses


@pytest.fixture(name="gateway", scope="module")
def make_gateway() -> Iterator[RunningGateway]:
    with running() as gateway:
        with gateway.admin() as admin:
            assert {*put_back(admin)} == {200, 201}
        yield gateway


@pytest.fixture(name="operations", scope="module")
def described(gateway: RunningGateway) -> list[Operation]:
    """What the gateway says can be asked of it; OPTIONS and HEAD, which decide nothing, are left out."""
    with gateway.admin() as admin:
        document = admin.ask("GET", "/openapi.json").document
    read = schemathesis.openapi.from_dict(document).get_all_operations()
    return [operation for operation in map(understood, read) if operation.method not in ("options", "head")]


def understood(read: Ok[Operation] | Err[InvalidSchema]) -> Operation:
    """An operation that is described as OpenAPI wants it."""
    assert isinstance(read, Ok), read
    return read.ok()


NUMBERS = count()


@st.composite
def nearly_sound(draw: st.DrawFn, cases: st.SearchStrategy[AnyCase]) -> AnyCase:
    """A case whose body is a sound one but for two fields, so that it comes further than to the first bad field."""
    case = draw(cases)
    kind = re.search(r"schemas/(\w+)Fields", json.dumps(case.operation.definition.raw.get("requestBody")))
    if kind and isinstance(case.body, dict) and draw(st.booleans()):
        strange = draw(st.sets(st.sampled_from(sorted(case.body)), max_size=2)) if case.body else ()
        case.body = sound(f"n{next(NUMBERS)}.test")[kind[1]] | {name: case.body[name] for name in strange}
    return case


def cases_of(operation: Operation, mode: GenerationMode) -> Iterator[st.SearchStrategy[AnyCase]]:
    """What is asked: of what is there, and of what may be."""
    keys = {name: KEYS[name] for name in re.findall(r"\{(\w+)\}", operation.path)}
    yield nearly_sound(operation.as_strategy(mode, path_parameters=keys or None))
    if keys and mode is GenerationMode.POSITIVE:
        yield operation.as_strategy(mode)


@pytest.mark.timeout(600)  # some two thousand requests, each of which may wait for the disk
@pytest.mark.parametrize("mode", GenerationMode)
def test_every_operation(
    gateway: RunningGateway,
    operations: list[Operation],
    mode: GenerationMode,
    subtests: pytest.Subtests,
) -> None:
    """Whatever is sent, sound or not, the gateway answers, as it says it does, and not that it has failed."""
    session = requests.Session()
    session.trust_env = False
    asked = 0

    def ask(case: AnyCase) -> None:
        nonlocal asked
        asked += 1
        answer = case.call(gateway.url, session, timeout=PATIENCE)
        case.validate_response(answer, checks=CHECKS)

    with session, gateway.admin() as admin:
        for operation in operations:
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
                continue  # nothing could be wrong with it
            put_back(admin)
            for number, cases in enumerate(cases_of(operation, mode), 1):
                bounded = settings(
                    max_examples=EXAMPLES // number,
                    derandomize=True,
                    database=None,
                    deadline=None,
                    phases=[Phase.generate],
                    suppress_health_check=[*HealthCheck],
                )
                with subtests.test(operation.label):
                    bounded(given(cases)(ask))()
    assert asked > 400


@pytest.mark.parametrize("text", ["{", "{0:>9}", "{0.__class__}"])
def test_braces(gateway: RunningGateway, text: str) -> None:
    """What is refused is quoted as it was sent, whatever it would mean to Python."""
    with gateway.admin() as admin:
        answer = admin.ask("POST", "/apis", {"name": "a", "upstream_url": "http://a.test", "hosts": [text]})
    assert answer == (400, {"hosts": f"host with value '{text}' is invalid: Invalid hostname"})
