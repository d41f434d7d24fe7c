"""The file of those who may use the Admin API, and the tokens that are made for it."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.admin.tokens import Caller, Malformed, Role, fingerprint, make_token, read_callers
from twisted_kong.selfsigned import make

DIGEST = sha256(b"t").hexdigest()


@given(st.sampled_from(Role), st.binary(min_size=32, max_size=32))
def test_made(role: Role, random: bytes) -> None:
    """A token that was made lets in whom its line names, in that role; one that differs in a character nobody."""
    token, line = make_token("ci", role, lambda size: random[:size])
    callers = read_callers([line])
    assert callers.by_token(token) == Caller("ci", role)
    assert callers.by_token(token[:-1]) is None
    assert callers.by_token(token.swapcase()) is None


def test_token_is_not_kept() -> None:
    """The line holds the digest of the token, not the token, which has 256 bits and can be told to be one."""
    token, line = make_token("ci", Role.READ_ONLY, secrets.token_bytes)
    assert re.fullmatch("kga_[A-Za-z0-9_-]{43}", token)
    assert token not in line
    assert line == f"ci read-only sha256:{sha256(token.encode()).hexdigest()}"


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 65, "ä", "#"])
def test_bad_names(name: str) -> None:
    """A name that would not stand in a line, or in a log, is none."""
    with pytest.raises(ValueError, match="expected a name"):
        make_token(name, Role.READ_ONLY, secrets.token_bytes)


def test_file() -> None:
    """Comments and empty lines say nothing; one name may have several credentials, so that tokens can be changed."""
    (first, one), (second, two) = (make_token("ci", Role.READ_WRITE, secrets.token_bytes) for _ in range(2))
    callers = read_callers(["# who may", "", f"  {one}\n", two])
    assert callers.by_token(first) == callers.by_token(second) == Caller("ci", Role.READ_WRITE)
    assert callers.by_token("") is None
    assert callers.by_token("x" * 100_000) is None


def test_certificates() -> None:
    """A certificate is known by its whole subject as RFC 4514 writes it, or by its own fingerprint, colons or not."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(make(datetime.now(UTC)).chain.encode())
    other = x509.load_pem_x509_certificate(make(datetime.now(UTC)).chain.encode())
    shown = fingerprint(certificate)
    colons = ":".join(shown[at : at + 2] for at in range(0, 64, 2)).upper()
    reader = Caller("a", Role.READ_ONLY)
    assert read_callers([f"a read-only fingerprint:{colons}"]).by_certificate(certificate) == reader
    assert read_callers([f"a read-only fingerprint:{shown}"]).by_certificate(other) is None
    assert read_callers(["a read-only certificate:CN=localhost"]).by_certificate(other) == reader
    assert read_callers(["a read-only certificate:CN=localhost,O=x"]).by_certificate(other) is None


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("ci read-only", "expected a name, a role"),
        (f"ci admin sha256:{DIGEST}", "expected a name, a role"),
        (f"c/i read-only sha256:{DIGEST}", "expected a name, a role"),
        (f"ci read-only md5:{DIGEST}", "expected a name, a role"),
        (f"ci read-only {DIGEST}", "expected a name, a role"),
        (f"ci read-only sha256:{DIGEST[1:]}", "expected sha256: and 64"),
        (f"ci read-only sha256:{DIGEST.upper()}", "expected sha256: and 64"),
        ("ci read-only fingerprint:AB", "expected fingerprint: and 64"),
        ("ci read-only certificate:", "expected a subject"),
        ("ci read-only certificate:alice", "expected a subject"),
    ],
)
def test_malformed(line: str, wrong: str) -> None:
    """What cannot be understood is told with the number of its line, and never with a digest or a token."""
    with pytest.raises(Malformed, match=f"^line 2: {wrong}") as refusal:
        read_callers(["# one", line])
    assert DIGEST not in str(refusal.value)
    assert DIGEST[1:] not in str(refusal.value)


def test_nobody() -> None:
    """A file that names nobody is a mistake."""
    with pytest.raises(Malformed, match="got nobody"):
        read_callers(["# nobody yet"])
