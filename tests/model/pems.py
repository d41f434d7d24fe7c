"""Certificates and keys for tests, made once for each run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime(2023, 11, 14, tzinfo=UTC)
"""The day of `entity_making.NOW`."""


class Pair(NamedTuple):
    """A certificate that is signed by its own key, and that key, in PEM."""

    cert: str
    key: str


def make_pair(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *, authority: bool | None = None, days: int = 9
) -> Pair:
    """A pair that holds until ``days`` after `NOW`; ``authority`` is what it says of itself, None for nothing."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(99), NOW + timedelta(days))
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode(), key_pem.decode())


EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC = make_pair(EC_KEY)
OTHER_EC = make_pair(ec.generate_private_key(ec.SECP256R1()))
RSA = make_pair(rsa.generate_private_key(65537, 2048))
AUTHORITY = make_pair(EC_KEY, authority=True)
