"""Certificates with their keys, the server names they are shown for, and the authorities we believe.

They are kept as the text that was sent, PEM. Here it is made sure that the text can be used; it is loaded again by
whoever speaks TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from twisted_kong.model.checks import SECRET, Spelling
from twisted_kong.model.entity import Entity
from twisted_kong.model.records import Foreign, Reference
from twisted_kong.model.rules import ENTITY, Faults, Together, Values
from twisted_kong.model.values import String, WildcardName


def _chain(text: str) -> list[x509.Certificate]:
    """The certificates in a PEM text, of which there is at least one."""
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        found[0].public_key()  # raises for what nobody could use
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"invalid certificate: {error}") from None
    return found


def expiry(chain: str) -> float:
    """When the first certificate of a chain in PEM ceases to hold, in seconds since 1970."""
    return min(one.not_valid_after_utc.timestamp() for one in _chain(chain))


def _key(text: str) -> PrivateKeyTypes:
    """The key in a PEM text. That its numbers are prime is not examined, which would stop everything for a while."""
    try:
        return load_pem_private_key(text.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"invalid key: {error}") from None


def _certificates(value: object) -> list[x509.Certificate]:
    """The certificates in a field's value; none where it cannot be read, which is told of the field."""
    try:
        return _chain(value) if isinstance(value, str) else []
    except ValueError:
        return []


def _public(value: object) -> PublicKeyTypes | None:
    """The public half of the key in a field's value; None where it cannot be read."""
    try:
        return _key(value).public_key() if isinstance(value, str) else None
    except ValueError:
        return None


def _pem(text: str) -> str:
    _chain(text)
    return text


def _key_pem(text: str) -> str:
    _key(text)
    return text


Pem = Annotated[String, Spelling(_pem)]
KeyPem = Annotated[String, Spelling(_key_pem), SECRET]


def _match(values: Values) -> Faults:
    """A key is that of its certificate. The alternatives are of another type, or there would be no choice."""
    kinds = []
    for suffix, what in (("", "certificate"), ("_alt", "alternative certificate")):
        key = _public(values[f"key{suffix}"])
        for certificate in _certificates(values[f"cert{suffix}"])[:1]:
            kinds.append(type(certificate.public_key()))
            if key and certificate.public_key() != key:
                yield ENTITY, f"{what} does not match key"
    if len(kinds) > len(set(kinds)):
        yield (
            ENTITY,
            "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided "
            "certificates were both of the same type",
        )


class Certificate(Entity):
    """A chain, and the key of its first certificate; ``…_alt`` are the same with a key of another type."""

    collection = "certificates"
    endpoint_key = None
    unique = ()
    rules = (Together("cert_alt", "key_alt"), _match)

    cert: Pem
    key: KeyPem
    cert_alt: Pem | None = None
    key_alt: KeyPem | None = None

    @cached_property
    def expires(self) -> float:
        """When it ceases to hold, in seconds since 1970: the first to do so of all in its chains."""
        return expiry(self.cert) if self.cert_alt is None else min(expiry(self.cert), expiry(self.cert_alt))


class Sni(Entity):
    """A name that clients ask for in the TLS handshake, and the certificate it is answered with."""

    collection = "snis"

    name: WildcardName
    certificate: Annotated[Reference, Foreign("certificates", on_delete="cascade")]


def _authority(values: Values) -> Faults:
    """One certificate, that may sign others, today. The day is that of the writing."""
    found = _certificates(values["cert"])
    if len(found) > 1:
        yield ENTITY, "please submit only one certificate at a time"
    elif found and not _may_sign(found[0]):
        yield ENTITY, 'certificate does not appear to be a CA because it is missing the "CA" basic constraint'
    elif found and found[0].not_valid_after_utc < datetime.fromtimestamp(values["updated_at"], UTC):
        yield ENTITY, 'certificate expired, "Not After" time is in the past'


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


class CaCertificate(Entity):
    """An authority. ``cert_digest`` is the SHA-256 of its certificate in hexadecimal digits, whatever was sent."""

    collection = "ca_certificates"
    endpoint_key = None
    unique = (("cert_digest",),)
    rules = (_authority,)

    cert: Pem
    cert_digest: String | None = None

    @cached_property
    def expires(self) -> float:
        """When it ceases to hold, in seconds since 1970."""
        return _chain(self.cert)[0].not_valid_after_utc.timestamp()

    @classmethod
    def settle(cls, whole: dict[str, Any], given: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
        found = _certificates(whole.get("cert"))
        whole["cert_digest"] = found[0].fingerprint(SHA256()).hex() if found else None
