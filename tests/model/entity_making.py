"""Entities for tests of the model: single ones in few words, and all valid ones as hypothesis strategies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pems
import pytest
from hypothesis import strategies as st

from twisted_kong.errors import SchemaViolation
from twisted_kong.model.entities import (
    Api,
    CaCertificate,
    Certificate,
    Consumer,
    Entity,
    KeyauthCredential,
    Plugin,
    Route,
    Service,
    Sni,
    Target,
    TargetEntry,
    Upstream,
)
from twisted_kong.model.rules import ALGORITHMS
from twisted_kong.model.schema import Schema
from twisted_kong.model.values import PROTOCOLS

NOW = 1_700_000_000.125
SCHEMA = Schema()


def make_id(number: int) -> str:
    return str(UUID(int=number))


def fields_of(entity: type[Entity], **data: Any) -> Mapping[str, Any]:
    """The violations of a document that must have some."""
    with pytest.raises(SchemaViolation) as refusal:
        SCHEMA.build(entity, data, now=NOW)
    assert refusal.value.fields is not None
    return refusal.value.fields


def conditional(field: str, **found: str) -> dict[str, Any]:
    """The two entries of a rule of the kind "when ``field`` is so, then …"."""
    return {"@entity": [f"failed conditional validation given value of field '{field}'"], **found}


# -- strategies ------------------------------------------------------------------------------------------------

labels = st.from_regex(r"[a-z_][a-z0-9]{0,5}", fullmatch=True)
host_names = st.lists(labels, min_size=1, max_size=3).map(".".join)
ports = st.integers(0, 65535)
ids = st.uuids().map(str)
tags = st.none() | st.lists(st.sampled_from(["a", "b c", "é", "x.y"]), max_size=4)
times = st.integers(1, 2**40)
paths = st.lists(st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), max_size=3).map(lambda parts: "/" + "/".join(parts))
headers = st.dictionaries(st.sampled_from(["x-a", "X-B", "c_d"]), st.lists(labels, max_size=3), max_size=2)
names = st.none() | st.from_regex(r"[A-Za-z0-9._~é-]{1,8}", fullmatch=True)


def _documents(required: Mapping[str, Any], optional: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(dict(required), optional={"tags": tags, "created_at": times, "id": ids, **optional})


def _counts(*names: str) -> Mapping[str, Any]:
    statuses = st.lists(st.integers(100, 999), max_size=3)
    return {**dict.fromkeys(names, st.integers(0, 255)), "http_statuses": statuses}


def _records(**parts: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


seconds = st.integers(0, 65535) | st.floats(0, 65535)
checks = _records(
    active=_records(
        type=st.sampled_from(["tcp", "http", "https", "grpc", "grpcs"]),
        timeout=seconds,
        concurrency=st.integers(1, 2**31),
        http_path=paths,
        https_sni=st.none() | host_names,
        https_verify_certificate=st.booleans(),
        headers=st.none() | headers,
        healthy=_records(interval=seconds, **_counts("successes")),
        unhealthy=_records(interval=seconds, **_counts("http_failures", "tcp_failures", "timeouts")),
    ),
    passive=_records(
        healthy=_records(**_counts("successes")),
        unhealthy=_records(**_counts("http_failures", "tcp_failures", "timeouts")),
    ),
    threshold=st.integers(0, 100) | st.floats(0, 100),
)

service_documents = _documents(
    {"host": host_names},
    {
        "name": names,
        "protocol": st.sampled_from(["http", "https"]),
        "port": ports,
        "path": st.none() | paths,
        "retries": st.none() | st.integers(0, 32767),
        "read_timeout": st.none() | st.integers(1, 2**31 - 2),
        "enabled": st.booleans(),
    },
)
route_documents = _documents(
    {"paths": st.lists(paths, min_size=1, max_size=3)},
    {
        "name": names,
        "protocols": st.lists(st.sampled_from(["http", "https"]), min_size=1, max_size=3),
        "methods": st.none() | st.lists(st.sampled_from(["GET", "PUT"]), max_size=3),
        "hosts": st.none() | st.lists(host_names.map("*.{}".format), max_size=2),
        "headers": st.none() | headers,
        "strip_path": st.booleans(),
        "regex_priority": st.none() | st.integers(-9, 9),
        "service": st.none() | ids.map(lambda id: {"id": id}),
    },
)
stream_documents = _documents(
    {"protocols": st.just(["tcp"])},
    {"sources": st.just([{"ip": "10.0.0.0/8"}]), "destinations": st.lists(ports.map(lambda n: {"port": n}))},
).map(lambda document: {"sources": [{"port": 1}], **document})
upstream_documents = _documents(
    {"name": host_names},
    {
        "algorithm": st.sampled_from(ALGORITHMS),
        "hash_on": st.sampled_from(["none", "consumer", "ip", "path"]),
        "slots": st.integers(10, 65536),
        "healthchecks": checks,
        "host_header": st.none() | host_names,
        "use_srv_name": st.none() | st.booleans(),
        "client_certificate": st.none() | st.just({"id": make_id(1)}),
    },
)
target_documents = _documents(
    {
        "upstream": ids.map(lambda id: {"id": id}),
        "target": st.tuples(host_names, ports).map(lambda pair: f"{pair[0]}:{pair[1]}")
        | st.ip_addresses().map(str)
        | host_names,
    },
    {"weight": st.integers(0, 65535), "created_at": times | st.floats(1, 2**40).map(lambda n: round(n, 3))},
)

references = ids.map(lambda id: {"id": id})
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
consumer_documents = _documents({"username": texts}, {"custom_id": st.none() | texts})
credential_documents = _documents(
    {"consumer": references}, {"key": texts, "ttl": st.none() | st.integers(0, 100_000_000)}
)
plugin_documents = _documents(
    {"name": st.just("key-auth")},
    {
        "instance_name": names,
        "route": st.none() | references,
        "service": st.none() | references,
        "config": _records(
            key_names=st.lists(st.sampled_from(["apikey", "X-Key"]), max_size=3),
            anonymous=st.none() | texts,
            hide_credentials=st.booleans(),
        ),
        "protocols": st.lists(st.sampled_from(["grpc", "grpcs", "http", "https"]), max_size=3),
        "enabled": st.booleans(),
    },
)
certificate_documents = st.sampled_from(
    [
        {"cert": pems.EC.cert, "key": pems.EC.key},
        {"cert": pems.EC.cert, "key": pems.EC.key, "cert_alt": pems.RSA.cert, "key_alt": pems.RSA.key},
    ]
)
sni_documents = _documents({"name": host_names, "certificate": references}, {})
authority_documents = _documents({"cert": st.just(pems.AUTHORITY.cert)}, {})
entry_documents = _documents(
    {"upstream": references, "target": host_names, "weight": st.integers(0, 65535)}, {"created_at": times}
)
api_documents = _documents(
    {
        "name": st.from_regex(r"[A-Za-z0-9._~-]{1,8}", fullmatch=True),
        "upstream_url": st.tuples(st.sampled_from(["http", "https"]), host_names, paths).map(
            lambda parts: "{}://{}{}".format(*parts)
        ),
        "hosts": st.lists(host_names, min_size=1, max_size=3),
    },
    {
        "uris": st.none() | st.lists(paths, max_size=3),
        "methods": st.none() | st.lists(st.sampled_from(["GET", "PUT"]), max_size=3),
        "strip_uri": st.booleans(),
        "retries": st.integers(0, 32767),
        "upstream_read_timeout": st.integers(1, 2**31 - 1),
    },
)

documents: st.SearchStrategy[tuple[type[Entity], dict[str, Any]]] = st.one_of(
    st.tuples(st.just(Service), service_documents),
    st.tuples(st.just(Route), route_documents | stream_documents),
    st.tuples(st.just(Upstream), upstream_documents),
    st.tuples(st.just(Target), target_documents),
    st.tuples(st.just(Consumer), consumer_documents),
    st.tuples(st.just(KeyauthCredential), credential_documents),
    st.tuples(st.just(Plugin), plugin_documents),
    st.tuples(st.just(Certificate), certificate_documents),
    st.tuples(st.just(Sni), sni_documents),
    st.tuples(st.just(CaCertificate), authority_documents),
    st.tuples(st.just(TargetEntry), entry_documents),
    st.tuples(st.just(Api), api_documents),
)
"""Classes, each with a document that it accepts."""

entities = documents.map(lambda pair: SCHEMA.build(pair[0], pair[1], now=NOW))

keys = st.sampled_from(["id", "name", "active", "healthy", "1", "\ud800"]) | st.text(max_size=3)
known_texts = st.sampled_from(["", "a", "http", "/a", "a:80", "::1", "none", "\ud800", "{text}", *PROTOCOLS])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | known_texts | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(keys, inside, max_size=3),
    max_leaves=8,
)
