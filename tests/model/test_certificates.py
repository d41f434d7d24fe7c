from __future__ import annotations

from typing import Any

import pems
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from entity_making import NOW, SCHEMA, fields_of

from twisted_kong.model.entities import CaCertificate, Certificate

EC = {"cert": pems.EC.cert, "key": pems.EC.key}
EXPIRED = pems.make_pair(pems.EC_KEY, authority=True, days=-1).cert


def test_certificate_and_chain() -> None:
    """A certificate is kept as it was sent, others of its chain behind it, and may have one of another type beside."""
    chain = pems.EC.cert + pems.AUTHORITY.cert
    made = SCHEMA.build(Certificate, {**EC, "cert": chain, "cert_alt": pems.RSA.cert, "key_alt": pems.RSA.key}, now=NOW)
    assert (made.cert, made.key, made.cert_alt) == (chain, pems.EC.key, pems.RSA.cert)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({}, {"cert": "required field missing", "key": "required field missing"}),
        ({**EC, "key": pems.OTHER_EC.key}, {"@entity": ["certificate does not match key"]}),
        (
            {**EC, "cert_alt": pems.RSA.cert},
            {"@entity": ["all or none of these fields must be set: 'cert_alt', 'key_alt'"]},
        ),
        (
            {**EC, "cert_alt": pems.RSA.cert, "key_alt": pems.EC.key},
            {"@entity": ["alternative certificate does not match key"]},
        ),
        (
            {**EC, "cert_alt": pems.OTHER_EC.cert, "key_alt": pems.OTHER_EC.key},
            {
                "@entity": [
                    "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), "
                    "the provided certificates were both of the same type"
                ]
            },
        ),
    ],
)
def test_refused(data: dict[str, Any], found: dict[str, Any]) -> None:
    """A certificate comes with its own key; its alternative is whole, and of another type."""
    assert fields_of(Certificate, **data) == found


@pytest.mark.parametrize(
    "text", ["x", pems.EC.key, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", pems.EC.cert[:99]]
)
def test_no_certificate(text: str) -> None:
    """What cannot be read is told with its reason, beside nothing else."""
    for entity, more in ((Certificate, {"key": pems.EC.key}), (CaCertificate, {})):
        found = fields_of(entity, cert=text, **more)
        assert found.keys() == {"cert"}
        assert found["cert"].startswith("invalid certificate: ")


@pytest.mark.parametrize("text", ["x", pems.EC.cert, pems.EC.key[:60]])
def test_no_key(text: str) -> None:
    """A key that cannot be read is told with its reason."""
    found = fields_of(Certificate, cert=pems.EC.cert, key=text)
    assert found.keys() == {"key"}
    assert found["key"].startswith("invalid key: ")


def test_digest() -> None:
    """An authority's digest is that of its certificate, whatever was sent, also after a change."""
    other = pems.make_pair(pems.EC_KEY, authority=True, days=5).cert
    made = SCHEMA.build(CaCertificate, {"cert": pems.AUTHORITY.cert, "cert_digest": "x"}, now=NOW)
    for found, pem in ((made, pems.AUTHORITY.cert), (SCHEMA.merge(made, {"cert": other}, now=NOW), other)):
        expected = x509.load_pem_x509_certificate(pem.encode()).fingerprint(SHA256()).hex()
        assert found.cert_digest == expected


@pytest.mark.parametrize(
    ("cert", "text"),
    [
        (pems.AUTHORITY.cert + pems.AUTHORITY.cert, "please submit only one certificate at a time"),
        (
            pems.EC.cert,
            'certificate does not appear to be a CA because it is missing the "CA" basic constraint',
        ),
        (
            pems.make_pair(pems.EC_KEY, authority=False).cert,
            'certificate does not appear to be a CA because it is missing the "CA" basic constraint',
        ),
        (EXPIRED, 'certificate expired, "Not After" time is in the past'),
    ],
)
def test_no_authority(cert: str, text: str) -> None:
    """An authority is one certificate that may sign others, and still does."""
    assert fields_of(CaCertificate, cert=cert) == {"@entity": [text]}
