"""A certificate for listeners that nobody gave one: made once, kept below the prefix, vouched for by nobody."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twisted_kong.errors import StartupError
from twisted_kong.tls import Identity

DAYS = 20 * 365
"""How long it is good for. It does not matter: whoever believes it has been told to."""


def own_identity(directory: Path, name: str, now: datetime) -> Identity:
    """The identity in ``NAME.crt`` and ``NAME.key`` of ``directory``; made where one is missing or has expired.

    :raise StartupError: it cannot be kept.
    """
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    try:
        found = _kept(certificate, key, now)
        if found is None:
            found = make(now)
            directory.mkdir(parents=True, exist_ok=True)
            certificate.write_text(found.chain)
            key.unlink(missing_ok=True)
            with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(found.key)
    except OSError as error:
        raise StartupError(f"prefix: expected to keep a certificate in {directory}: {error.strerror}") from None
    return found


def _kept(certificate: Path, key: Path, now: datetime) -> Identity | None:
    try:
        found = Identity(certificate.read_text(), key.read_text())
        return found if x509.load_pem_x509_certificate(found.chain.encode()).not_valid_after_utc > now else None
    except (FileNotFoundError, ValueError):
        return None


def make(now: datetime) -> Identity:
    """A new one, for ``localhost``. Its key is of the kind that costs a handshake least."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    return Identity(
        certificate.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)
