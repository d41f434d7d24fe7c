"""Who may use the Admin API, and how they show who they are: the file that the setting ``admin_tokens`` names. Pure.

A line for each way of showing it: a name, a role, and a token's digest or a certificate::

    # name      role        credential
    deploy      read-write  sha256:4ca0…
    prometheus  read-only   sha256:91b7…
    alice       read-write  certificate:CN=alice,O=Example
    laptop      read-only   fingerprint:6C:3E:…

Tokens are made here and are 256 random bits, so that nobody finds one by trying, however fast a digest is made: a slow
hash, which makes passwords that people choose dearer to guess, would cost every request and protect nothing. They are
kept as SHA-256 alone; the token itself is shown once, to whoever made it. All digests are compared with every token
that comes, each in a time that does not depend on what is in it.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import NamedTuple

from cryptography import x509

PREFIX = "kga_"
"""How every token begins, so that scanners for secrets can tell one."""
BITS = 256
LONGEST = 512
"""Characters beyond which a text is not even looked at."""

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_EXPECTED = "a name, a role (read-only or read-write), and sha256:…, certificate:… or fingerprint:…"


class Role(Enum):
    """What somebody may do."""

    READ_ONLY = "read-only"
    READ_WRITE = "read-write"


class Caller(NamedTuple):
    """Somebody who may use the Admin API."""

    name: str
    role: Role


class Malformed(ValueError):
    """A file that cannot be understood: the number of the line, from 1, and what is wrong with it."""

    def __init__(self, line: int, wrong: str) -> None:
        super().__init__(f"line {line}: {wrong}")


@dataclass(frozen=True)
class Callers:
    """Everybody who may."""

    tokens: tuple[tuple[bytes, Caller], ...] = ()
    certificates: tuple[tuple[str, Caller], ...] = ()
    """Subjects as RFC 4514 writes them."""
    fingerprints: tuple[tuple[str, Caller], ...] = ()
    """SHA-256 of whole certificates, in hexadecimal digits."""

    def by_token(self, token: str) -> Caller | None:
        """Whose token it is. Takes as long for one that is nobody's as for any other of its length."""
        if len(token) > LONGEST:
            return None
        given = sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = None
        for digest, caller in self.tokens:
            if hmac.compare_digest(digest, given):
                found = caller
        return found

    def by_certificate(self, certificate: x509.Certificate) -> Caller | None:
        """Whose certificate it is. That it is genuine has been seen to."""
        shown = fingerprint(certificate)
        subject = certificate.subject.rfc4514_string()
        named = [caller for each, caller in self.fingerprints if each == shown]
        named += [caller for each, caller in self.certificates if each == subject]
        return named[0] if named else None


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of a certificate, in hexadecimal digits."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate.fingerprint(SHA256()).hex()


def make_token(name: str, role: Role, random_bytes: Callable[[int], bytes]) -> tuple[str, str]:
    """A new token, and the line of the file that lets its bearer in. ``random_bytes(n)`` must be fit for secrets.

    :raise ValueError: the name is none.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a name of at most 64 letters, digits and . _ @ -, got {name!r}")
    token = PREFIX + urlsafe_b64encode(random_bytes(BITS // 8)).decode().rstrip("=")
    return token, f"{name} {role.value} sha256:{sha256(token.encode()).hexdigest()}"


def read_callers(lines: Iterable[str]) -> Callers:
    """Everybody that the lines of a file name.

    :raise Malformed: a line cannot be understood, or there is none.
    """
    tokens: list[tuple[bytes, Caller]] = []
    certificates: list[tuple[str, Caller]] = []
    fingerprints: list[tuple[str, Caller]] = []
    number = 0
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        caller, kind, value = _parts(number, text)
        match kind:
            case "sha256" if _DIGEST.fullmatch(value):
                tokens.append((bytes.fromhex(value), caller))
            case "fingerprint" if _DIGEST.fullmatch(digits := value.replace(":", "").lower()):
                fingerprints.append((digits, caller))
            case "certificate":
                certificates.append((_subject(number, value), caller))
            case "sha256" | "fingerprint":
                raise Malformed(number, f"expected {kind}: and 64 hexadecimal digits")
            case _:
                raise Malformed(number, f"expected {_EXPECTED}")
    if not (tokens or certificates or fingerprints):
        raise Malformed(number + 1, "expected somebody who may use the Admin API, got nobody")
    return Callers(tuple(tokens), tuple(certificates), tuple(fingerprints))


def _parts(number: int, text: str) -> tuple[Caller, str, str]:
    """The caller of a line, the kind of its credential, and the credential. What is wrong is told without it."""
    words = text.split(None, 2)
    roles = {role.value: role for role in Role}
    if len(words) < 3 or not _NAME.fullmatch(words[0]) or words[1] not in roles:
        raise Malformed(number, f"expected {_EXPECTED}")
    kind, _, value = words[2].partition(":")
    return Caller(words[0], roles[words[1]]), kind, value.strip()


def _subject(number: int, text: str) -> str:
    try:
        name = x509.Name.from_rfc4514_string(text)
    except ValueError:
        name = x509.Name([])
    if not list(name):
        raise Malformed(number, f"expected a subject as RFC 4514 writes it, CN=alice,O=Example; got {text!r}")
    return name.rfc4514_string()
