"""A configuration as people declare it for decK, in its file format 3.0, of any size; and certificates for it.

How it gets into a gateway and out again lives elsewhere: in decK, or in `declarative_client`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

State = dict[str, Any]


def a_state(entities: int) -> State:
    """About so many entities of all kinds: for each ten two services, two routes, an upstream, three targets, a
    consumer and its key; for each fifty a certificate with two names and an authority; and always a plugin."""
    groups = range(max(entities // 10, 1))
    fifties = range(max(entities // 50, 1))
    return {
        "_format_version": "3.0",
        "services": [service(2 * group + one) for group in groups for one in (0, 1)],
        "upstreams": [upstream(group) for group in groups],
        "consumers": [consumer(group) for group in groups],
        "certificates": [of_an_edge(number) for number in fifties],
        "ca_certificates": [authority(number) for number in fifties],
        "plugins": [{"name": "key-auth", "service": "service-1", "config": {"key_names": ["apikey", "x-key"]}}],
    }


def service(number: int) -> State:
    """A service with a route; every other one says more than it has to."""
    route: State = {"name": f"route-{number}", "paths": [f"/path/{number}"]}
    plain: State = {"name": f"service-{number}", "host": f"upstream-{number // 2}", "routes": [route]}
    if number % 2 == 0:
        return plain
    route |= {
        "methods": ["GET", "POST"],
        "hosts": [f"h{number}.test", "*.wild.test"],
        "headers": {"x-version": ["1", "2"]},
        "strip_path": False,
        "regex_priority": number,
        "tags": ["public", f"owner-{number % 7}"],
    }
    return plain | {"port": 8080, "path": "/base", "retries": 2, "read_timeout": 1500, "tags": ["blue", "core"]}


def upstream(number: int) -> State:
    """An upstream with three targets, one of which gets nothing.

    One of the first is a name: more of them would have the system look up hundreds that do not exist.
    """
    targets = [
        {"target": f"10.{number // 250}.{number % 250}.{last}:80", "weight": weight}
        for last, weight in ((1, 100), (2, 0))
    ]
    checks = {"active": {"healthy": {"interval": 5, "successes": 2}, "http_path": "/live"}, "threshold": 20}
    more = {"healthchecks": checks, "slots": 1000, "tags": ["blue"]} if number % 2 else {}
    host = f"10.{number // 250}.{number % 250}.3" if number else "host.test"
    return {"name": f"upstream-{number}", "targets": [*targets, {"target": f"{host}:8080"}], **more}


def consumer(number: int) -> State:
    """A consumer with a key."""
    return {
        "username": f"consumer-{number}",
        "custom_id": f"id-{number}",
        "keyauth_credentials": [{"key": f"key-{number}", "tags": ["given"]}],
        **({"tags": ["blue"]} if number % 2 else {}),
    }


def of_an_edge(number: int) -> State:
    """A certificate with two names, one of them for many; every other one is tagged."""
    name = f"a{number}.test"
    cert, key = certificate(name)
    snis = [{"name": name}, {"name": f"*.{name}", "tags": ["wild"]}]
    return {"cert": cert, "key": key, "snis": snis, **({} if number % 2 else {"tags": ["edge"]})}


def authority(number: int) -> State:
    """An authority; every other one is tagged."""
    cert, _ = certificate(f"authority-{number}.test", authority=True)
    return {"cert": cert, **({"tags": ["trusted"]} if number % 2 else {})}


@cache
def certificate(name: str, *, authority: bool = False) -> tuple[str, str]:
    """A certificate for ``name`` that is signed by its own key, and that key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - timedelta(1), now + timedelta(9))
    builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode(), private.decode()
