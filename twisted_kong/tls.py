"""Contexts of OpenSSL: what we show and accept as a server, what we show and believe as a client.

What lives here: from texts (PEM) and choices to contexts and connections, for whoever speaks TLS: the proxy on both
of its sides, the Admin API, probes. What must not: sockets, protocols, entities, and which certificate is for whom.
Nothing here waits; a context is expensive (a store of authorities takes milliseconds) and is made to be kept.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL import SSL, crypto
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.exceptions import CertificateError, VerificationError

from twisted_kong.errors import StartupError
from twisted_kong.settings import Settings

Error = SSL.Error
"""What every context and connection raises."""

SYSTEM = "system"
"""Among authorities: those the operating system trusts."""

_PARTIAL_WRITE = 1
"""OpenSSL's ``SSL_MODE_ENABLE_PARTIAL_WRITE``, which pyOpenSSL sets and does not name."""

_VERSIONS = MappingProxyType(
    {
        "TLSv1": (SSL.TLS1_VERSION, SSL.OP_NO_TLSv1),
        "TLSv1.1": (SSL.TLS1_1_VERSION, SSL.OP_NO_TLSv1_1),
        "TLSv1.2": (SSL.TLS1_2_VERSION, SSL.OP_NO_TLSv1_2),
        "TLSv1.3": (SSL.TLS1_3_VERSION, SSL.OP_NO_TLSv1_3),
    }
)
"""nginx's names, from the oldest to the newest: the version, and the option that leaves it out."""

_FORWARD_SECRET = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384"
)
_INTERMEDIATE = (
    f"{_FORWARD_SECRET}:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"
)
# Before TLS 1.2 signatures are made with SHA-1, which OpenSSL allows at level 0 alone.
_OLD = (
    f"{_INTERMEDIATE}:DHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:"
    "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:"
    "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:DHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:AES128-GCM-SHA256:"
    "AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:@SECLEVEL=0"
)

SUITES = MappingProxyType(
    {
        "modern": (frozenset({"TLSv1.3"}), _INTERMEDIATE, False),
        "intermediate": (frozenset({"TLSv1.2", "TLSv1.3"}), _INTERMEDIATE, False),
        "old": (frozenset(_VERSIONS), _OLD, True),
        "fips": (frozenset({"TLSv1.2", "TLSv1.3"}), _FORWARD_SECRET, True),
    }
)
"""``ssl_cipher_suite``: versions, ciphers before TLS 1.3, whose order counts (Mozilla's recommendations, v5)."""


class Identity(NamedTuple):
    """A certificate with those that lead from it to an authority, and its key, in PEM."""

    chain: str
    key: str


class ServerTerms(NamedTuple):
    """What a server agrees to. ``timeout`` is how many seconds a session may be resumed."""

    protocols: frozenset[str]
    ciphers: str
    prefer_server_ciphers: bool
    tickets: bool
    timeout: int


class ClientTerms(NamedTuple):
    """All that shapes a connection to a server, but for its address and name.

    With ``verify``, the server's certificate must be for its name and lead to one of the ``authorities`` (in PEM, or
    `SYSTEM`) over at most ``depth`` others (OpenSSL's ``verify_depth``). ``identity`` is shown if it asks for one.
    ALPN offers ``protocols``.
    """

    verify: bool = False
    depth: int = 1
    authorities: tuple[str, ...] = ()
    identity: Identity | None = None
    protocols: tuple[bytes, ...] = ()


# -- as a server -------------------------------------------------------------------------------------------------


def server_terms(settings: Settings) -> ServerTerms:
    """What the settings say of listeners. Of a suite, ``ssl_protocols`` can only leave versions out.

    :raise StartupError: no version is left, or OpenSSL knows none of the ciphers.
    """
    protocols, ciphers, prefer = SUITES.get(
        settings.ssl_cipher_suite,
        (frozenset(_VERSIONS), settings.ssl_ciphers or _INTERMEDIATE, settings.ssl_prefer_server_ciphers),
    )
    if settings.ssl_protocols:
        protocols &= settings.ssl_protocols
    elif settings.ssl_cipher_suite not in SUITES:
        protocols = SUITES["intermediate"][0]
    if not protocols:
        raise StartupError(f"ssl_protocols: expected some of the suite {settings.ssl_cipher_suite}, got none of them")
    terms = ServerTerms(
        protocols, ciphers, prefer, settings.ssl_session_tickets, max(int(settings.ssl_session_timeout), 1)
    )
    try:
        _agreeing(terms)
    except SSL.Error:
        raise StartupError(f"ssl_ciphers: expected ciphers in OpenSSL's notation, got {ciphers!r}") from None
    return terms


def server_context(terms: ServerTerms, identities: Sequence[Identity]) -> SSL.Context:
    """A context that shows one of ``identities``, which have keys of different types.

    :raise Error: OpenSSL cannot use one of them.
    """
    context = _agreeing(terms)
    for identity in identities:
        _use(context, identity)
    return context


def demand_certificate(context: SSL.Context, authorities: Collection[str], depth: int, required: bool) -> None:
    """Have clients of a server's context show a certificate that leads to one of the ``authorities`` over at most
    ``depth`` others, or unless it is ``required`` none."""
    _trust(context, authorities)
    for authority in authorities:
        if authority != SYSTEM:
            for certificate in load_pem_x509_certificates(authority.encode()):
                context.add_client_ca(certificate)  # so that they know which to show
    context.set_verify_depth(depth)
    context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0))


def _agreeing(terms: ServerTerms) -> SSL.Context:
    """A server's context that has nothing to show yet."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    _limit(context, terms.protocols)
    context.set_cipher_list(terms.ciphers.encode())
    options = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_SINGLE_DH_USE | SSL.OP_SINGLE_ECDH_USE
    if terms.prefer_server_ciphers:
        options |= SSL.OP_CIPHER_SERVER_PREFERENCE
    if not terms.tickets:
        options |= SSL.OP_NO_TICKET
    context.set_options(options)
    context.set_timeout(terms.timeout)
    context.set_session_id(b"kong")  # the same for all: a session outlives the choice of a certificate
    # With tickets the client keeps the session, and nothing of it is kept here.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF if terms.tickets else SSL.SESS_CACHE_SERVER)
    return context


def _limit(context: SSL.Context, protocols: Collection[str]) -> None:
    allowed = [version for name, (version, _) in _VERSIONS.items() if name in protocols]
    context.set_min_proto_version(min(allowed))
    context.set_max_proto_version(max(allowed))
    for name, (_, without) in _VERSIONS.items():
        if name not in protocols:
            context.set_options(without)
    # Whole writes: what a memory BIO takes at all it takes at once. And no buffers for who is idle.
    context.clear_mode(_PARTIAL_WRITE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)


def _use(context: SSL.Context, identity: Identity) -> None:
    """Show ``identity`` as well. OpenSSL takes chains that belong to one certificate alone from files only."""
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as file:
        file.write(identity.chain)
        file.flush()
        context.use_certificate_chain_file(file.name)
    try:
        key = load_pem_private_key(identity.key.encode(), password=None, unsafe_skip_rsa_key_validation=True)
        context.use_privatekey(key)  # type: ignore[arg-type]  # OpenSSL decides
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SSL.Error(f"unusable key: {error}") from None
    context.check_privatekey()


# -- as a client -------------------------------------------------------------------------------------------------


def client_context(terms: ClientTerms) -> SSL.Context:
    """A context of connections under ``terms``; `client_connection` makes these.

    :raise Error: OpenSSL cannot use the identity or an authority.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    _limit(context, SUITES["intermediate"][0])
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # who wants to resume keeps the session
    if terms.identity is not None:
        _use(context, terms.identity)
    if terms.protocols:
        context.set_alpn_protos(list(terms.protocols))
    if terms.verify:
        _trust(context, terms.authorities)
        context.set_verify_depth(terms.depth)
        context.set_verify(SSL.VERIFY_PEER, _is_for_its_name)
    else:
        context.set_verify(SSL.VERIFY_NONE)
    return context


def _trust(context: SSL.Context, authorities: Collection[str]) -> None:
    store = context.get_cert_store()
    assert store is not None
    for authority in authorities:
        if authority == SYSTEM:
            context.set_default_verify_paths()
        else:
            for certificate in load_pem_x509_certificates(authority.encode()):
                store.add_cert(crypto.X509.from_cryptography(certificate))


class _Named(SSL.Connection):
    """A connection that knows who it is to. (Its app data may be somebody else's: Twisted puts its protocol there.)"""

    server_name = ""


def client_connection(context: SSL.Context, name: str) -> SSL.Connection:
    """A connection in memory to a server called ``name``, an address perhaps, which is then not told to it."""
    connection = _Named(context, None)
    connection.server_name = name
    if name and not _is_address(name):
        connection.set_tlsext_host_name(name.encode("ascii"))
    connection.set_connect_state()
    return connection


def _is_for_its_name(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """OpenSSL has looked at one certificate of the chain; the server's own comes last, at depth 0."""
    if not ok or depth:
        return bool(ok)
    assert isinstance(connection, _Named)
    name = connection.server_name
    verify: Callable[[Any, str], None] = (
        verify_certificate_ip_address if _is_address(name) else verify_certificate_hostname
    )
    try:
        verify(certificate.to_cryptography(), name)
    except (VerificationError, CertificateError, ValueError) as problem:
        reason = f"the certificate is not for {name}: {problem.__class__.__name__}"
        raise SSL.Error([("", "", reason)]) from None  # in OpenSSL's own shape, which Twisted looks into
    return True


@cache
def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def client_defaults(settings: Settings) -> ClientTerms:
    """What the settings say of connections to upstreams; whether to verify is not among it.

    :raise StartupError: what they name cannot be read.
    """
    identity = None
    if settings.client_ssl:
        certificate, key = settings.client_ssl_cert, settings.client_ssl_cert_key
        if certificate is None or key is None:
            raise StartupError("client_ssl: expected client_ssl_cert and client_ssl_cert_key beside it")
        (identity,) = identities((certificate,), (key,), "client_ssl_cert")
    return ClientTerms(
        depth=settings.lua_ssl_verify_depth,
        authorities=authorities(settings.lua_ssl_trusted_certificate, "lua_ssl_trusted_certificate"),
        identity=identity,
    )


# -- texts of the settings ---------------------------------------------------------------------------------------


def read_pem(value: str, setting: str) -> str:
    """The PEM text a setting gives: itself, in base64, or in a file (Kong's three ways).

    :raise StartupError: there is none.
    """
    if "-----BEGIN " in value:
        return value
    try:
        return Path(value).read_text()
    except (OSError, ValueError) as error:
        reason = str(error)
    try:
        text = base64.b64decode(value, validate=True).decode()
    except ValueError:
        text = ""
    if "-----BEGIN " in text:
        return text
    raise StartupError(f"{setting}: expected a readable file or PEM, got {value!r}: {reason}")


def identities(certificates: Sequence[str], keys: Sequence[str], setting: str) -> tuple[Identity, ...]:
    """The identities of the settings ``setting`` and ``setting_key``, which belong together in their order.

    :raise StartupError: they do not, or cannot be read.
    """
    if len(certificates) != len(keys):
        raise StartupError(
            f"{setting}_key: expected as many as there are in {setting}, {len(certificates)}; got {len(keys)}"
        )
    found = tuple(
        Identity(read_pem(certificate, setting), read_pem(key, f"{setting}_key"))
        for certificate, key in zip(certificates, keys, strict=True)
    )
    for identity in found:
        try:
            _use(SSL.Context(SSL.TLS_METHOD), identity)
        except SSL.Error as error:
            raise StartupError(f"{setting}: expected a certificate and its key, got {told(error)}") from None
    return found


def authorities(values: Sequence[str], setting: str) -> tuple[str, ...]:
    """The authorities a setting names: `SYSTEM`, or as `read_pem` says.

    :raise StartupError: they cannot be read.
    """
    found = []
    for value in values:
        text = value if value == SYSTEM else read_pem(value, setting)
        if text != SYSTEM:
            try:
                load_pem_x509_certificates(text.encode())
            except ValueError as error:
                raise StartupError(f"{setting}: expected certificates, got {value!r}: {error}") from None
        found.append(text)
    return tuple(found)


def told(error: BaseException) -> str:
    """What OpenSSL says is wrong, in words."""
    if error.args and isinstance(error.args[0], list):
        return "; ".join(reason for *_, reason in error.args[0]) or "an error without a reason"
    return str(error) or error.__class__.__name__
