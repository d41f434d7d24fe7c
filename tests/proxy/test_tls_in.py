"""Clients over TLS: what they are shown, what is agreed with them, and that HTTP is the same as in the clear."""

from __future__ import annotations

import ssl
import warnings
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from loopback import GET, OK, post
from secured import (
    CA,
    STRANGER,
    End,
    SecureLab,
    believing,
    build,
    certificate,
    identity,
    leaf,
    put,
    sni,
    trusting,
)

from twisted_kong.errors import StartupError
from twisted_kong.model.entities import Route
from twisted_kong.settings import load
from twisted_kong.tls import server_terms

PATTERN = bytes(range(256)) * 2048
"""Half a MiB."""


def names(end: End) -> list[str]:
    """The names in the certificate that the gateway has shown."""
    der = end.tls.getpeercert(binary_form=True)
    assert der is not None
    found = x509.load_der_x509_certificate(der)
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def key_of(end: End) -> Any:
    der = end.tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).public_key()


# -- HTTP over it ------------------------------------------------------------------------------------------------


def test_a_request() -> None:
    """A request over TLS is proxied like any other, and the origin is told that it came over https."""
    lab = SecureLab()
    client = lab.shaken().send(GET)
    origin = lab.origin()
    assert b"X-Forwarded-Proto: https\r\n" in origin.received
    origin.send(OK)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"ok")
    lab.assert_idle()


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 1000])
def test_in_pieces(piece: int) -> None:
    """However the network cuts records into pieces, every request is seen whole and answered."""
    lab = SecureLab()
    client = lab.shaken(piece=piece)
    for number in range(3):
        client.send(post(b"x" * 5000))
        origin = lab.origin() if not number else lab.origins()[0]
        assert origin.take().endswith(b"x" * 5000)
        origin.send(OK)
        assert client.take().endswith(b"ok")
    lab.assert_idle()


def test_pieces_within_and_across_records() -> None:
    """Many records in one read, a record in many reads and everything in between arrive as the same bytes."""
    lab = SecureLab(route={"request_buffering": False})
    client = lab.shaken()
    client.send(post(length=len(PATTERN)))
    origin = lab.origin()
    origin.take()
    at, size = 0, 1
    while at < len(PATTERN):
        client._piece = (at * 7919) % 3001 + 1
        client.send(PATTERN[at : at + size])
        at += size
        size = (size * 31) % 40_000 + 1
    assert origin.take() == PATTERN


def test_the_first_request_along_with_the_handshake() -> None:
    """What a client sends together with the end of its handshake is not lost."""
    lab = SecureLab()
    client = End.__new__(End)
    line = lab.knock()
    client.line, client.closed, client.shaken, client._piece = line, False, False, 0
    client._incoming, client._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client.tls = believing().wrap_bio(client._incoming, client._outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    line.send(client._outgoing.read())
    client._incoming.write(line.take())
    client.tls.do_handshake()
    client.shaken = True
    client.send(GET)  # its Finished waits in front of it
    lab.origin().send(OK)
    assert client.take().endswith(b"ok")


def test_large_answers() -> None:
    """Large answers arrive whole, and while the client takes nothing at most a read of them waits in the gateway."""
    lab = SecureLab()
    client = lab.shaken()
    client.line.make_room(0)
    client.tls.write(GET)
    client._pass_on()
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PATTERN))
    origin.send(PATTERN)
    assert not origin.reading
    assert client.line.backlog < 2 * 131072
    client.line.make_room(None)
    received = client.take()
    while len(received) < len(PATTERN):
        lab.wait()
        received += client.take()
    assert received.endswith(PATTERN)
    lab.assert_idle()


def test_the_end_is_announced() -> None:
    """A connection that ends after its answer says so in TLS first."""
    lab = SecureLab()
    client = lab.shaken().send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    lab.origin().send(OK)
    assert client.take().endswith(b"ok")
    lab.wait()
    client.take()
    assert client.closed
    assert client.line.closed


def test_a_client_says_goodbye() -> None:
    """A client that ends its side of TLS is gone: its request is given up and the connection is closed."""
    lab = SecureLab()
    client = lab.shaken().send(GET)
    origin = lab.origin()
    client.say_goodbye()
    lab.wait()
    assert origin.aborted
    assert client.line.closed
    lab.assert_idle()


def test_a_client_vanishes() -> None:
    """A connection that breaks without a word in TLS is as good as closed."""
    lab = SecureLab()
    client = lab.shaken().send(GET)
    origin = lab.origin()
    client.line.reset()
    lab.wait()
    assert origin.aborted
    lab.assert_idle()


@pytest.mark.parametrize(
    "wrong", [b"\x17\x03\x03\x00\x20" + b"x" * 32, b"\x17\x03\x03\xff\xff" + b"y" * 70000, b"\0" * 64]
)
def test_garbage(wrong: bytes) -> None:
    """What cannot be decrypted ends the connection and the request on it, and nothing else."""
    lab = SecureLab()
    client = lab.shaken().send(GET)
    lab.origin()
    client.line.send(wrong)
    lab.wait()
    assert client.line.lost is not None
    lab.assert_idle()


# -- the handshake -----------------------------------------------------------------------------------------------


def test_plain_http() -> None:
    """Who speaks plain HTTP to a port for TLS is told 400, in the clear."""
    lab = SecureLab()
    line = lab.knock()
    line.send(GET)
    lab.wait()
    assert line.received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert line.closed
    assert lab.dials == []


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02"])
def test_a_slow_handshake(said: bytes) -> None:
    """Who has not shaken hands within client_header_timeout is let go of."""
    lab = SecureLab(settings={"nginx_http_client_header_timeout": "3s"})
    line = lab.knock()
    if said:
        line.send(said)
    lab.wait(2.9)
    assert line.lost is None
    lab.wait(0.2)
    assert line.lost is not None
    assert lab.secure.shaking == set()


def test_a_handshake_broken_off() -> None:
    """A connection that ends in the middle of the handshake leaves nothing behind."""
    lab = SecureLab()
    line = lab.knock()
    line.send(b"\x16\x03\x01\x02")
    line.close()
    assert lab.secure.shaking == set()
    assert lab.listener.connections == set()


def test_stopping_during_the_handshake() -> None:
    """When the gateway stops, nobody who is still shaking hands is waited for."""
    lab = SecureLab()
    line = lab.knock()
    lab.secure.abort()
    lab.wait()
    assert line.aborted


def test_unintelligible_hello() -> None:
    """A hello that is none ends the connection."""
    lab = SecureLab()
    line = lab.knock()
    line.send(b"\x16\x03\x01\x00\x05hello")
    lab.wait()
    assert line.lost is not None
    assert lab.secure.shaking == set()


# -- certificates ------------------------------------------------------------------------------------------------


def test_names() -> None:
    """A name stands before a wildcard at its beginning, that before one at its end, that before ``*``."""
    lab = SecureLab()
    assert names(lab.shaken("a.x.test")) == ["default.test"]
    for pattern in ("*", "a.x.*", "*.x.test", "a.x.test"):
        shown = certificate(leaf(pattern.replace("*", "any")))
        put(lab, shown, sni(pattern, shown))
        assert names(lab.shaken("a.x.test")) == [pattern.replace("*", "any")]
    assert names(lab.shaken("A.X.TEST")) == ["a.x.test"]
    assert names(lab.shaken("b.x.test")) == ["any.x.test"]
    assert names(lab.shaken("a.x.example")) == ["a.x.any"]
    assert names(lab.shaken("b.a.x.test")) == ["any"]
    assert names(lab.shaken("localhost")) == ["any"]
    assert names(lab.shaken(None)) == ["any"]


def test_changes() -> None:
    """A certificate that is changed, moved or deleted is shown so from the next handshake on, to who shakes hands."""
    lab = SecureLab()
    first, second = certificate(leaf("first.test")), certificate(leaf("second.test"))
    name = sni("a.test", first)
    put(lab, first, second, name)
    early = lab.shaken("a.test")
    put(lab, name.model_copy(update={"certificate": name.certificate.model_copy(update={"id": second.id})}))
    assert names(lab.shaken("a.test")) == ["second.test"]
    third = identity(leaf("third.test"))
    put(lab, second.model_copy(update={"cert": third.chain, "key": third.key}))
    assert names(lab.shaken("a.test")) == ["third.test"]
    put(lab, deletes=[second])
    assert names(lab.shaken("a.test")) == ["default.test"]
    early.send(GET)
    lab.origin().send(OK)
    assert early.take().endswith(b"ok")


def test_the_whole_chain_is_shown() -> None:
    """The certificates between the shown one and its authority are shown as well."""
    intermediate = CA.create_child_ca()
    shown = certificate(intermediate.issue_cert("deep.test"))
    lab = SecureLab()
    put(lab, shown, sni("deep.test", shown))
    assert lab.shaken("deep.test", trusting(CA)).shaken
    with pytest.raises(ssl.SSLCertVerificationError):
        lab.shaken("deep.test", trusting(STRANGER))


def test_alternatives() -> None:
    """Of two certificates with keys of different types each client gets the one it understands, with its own chain."""
    other = trustme.CA()
    shown = certificate(
        CA.create_child_ca().issue_cert("both.test", key_type=trustme.KeyType.RSA),
        other.create_child_ca().issue_cert("both.test", key_type=trustme.KeyType.ECDSA),
    )
    lab = SecureLab()
    put(lab, shown, sni("both.test", shown))
    for ca, ciphers, kind in ((CA, "ECDHE+aRSA", rsa.RSAPublicKey), (other, "ECDHE+aECDSA", ec.EllipticCurvePublicKey)):
        context = trusting(ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        assert isinstance(key_of(lab.shaken("both.test", context)), kind)


def test_several_of_the_settings() -> None:
    """The settings may name certificates of several types, too."""
    lab = SecureLab(identities=[identity(leaf("default.test")), identity(leaf("default.test", rsa=True))])
    context = believing()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+aRSA")
    assert isinstance(key_of(lab.shaken(None, context)), rsa.RSAPublicKey)


def test_the_name_selects_the_route() -> None:
    """A route's snis are compared with the name asked for in the handshake."""
    lab = SecureLab()
    (old,) = lab.core.gateway.snapshot.routes.values()
    put(lab, build(Route, **{**old.document(), "snis": ["a.test", "*.b.test"]}))
    for name, status in (("a.test", None), ("x.b.test", None), ("c.test", b"404"), (None, b"404")):
        before = len(lab.dials)
        client = lab.shaken(name).send(GET)
        if status is None:
            assert len(lab.dials) == before + 1
        else:
            assert client.take().split()[1] == status


# -- what is agreed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "agreed"), [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h9"], None), ([], None)]
)
def test_alpn(offered: list[str], agreed: str | None) -> None:
    """HTTP/1.1 is agreed on where the client offers it; one that offers other things alone may still try."""
    context = believing()
    if offered:
        context.set_alpn_protocols(offered)
    for name in (None, "a.test"):
        lab = SecureLab()
        shown = certificate(leaf("a.test"))
        put(lab, shown, sni("a.test", shown))
        client = lab.shaken(name, context)
        assert client.tls.selected_alpn_protocol() == agreed
        client.send(GET)
        assert len(lab.dials) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
@pytest.mark.parametrize("tickets", ["on", "off"])
def test_resumption(version: ssl.TLSVersion, tickets: str) -> None:
    """A session can be resumed, also where a certificate of the configuration was shown, and after a change of it."""
    lab = SecureLab(settings={"ssl_session_tickets": tickets})
    shown = certificate(leaf("a.test"))
    put(lab, shown, sni("a.test", shown))
    context = believing()
    context.maximum_version = version
    first = lab.shaken("a.test", context).send(GET)
    lab.origin().send(OK)
    assert first.take().endswith(b"ok")
    put(lab, certificate(leaf("b.test")))
    second = lab.shaken("a.test", context, session=first.tls.session)
    assert second.tls.session_reused
    second.send(GET)
    lab.origins()[0].send(OK)
    assert second.take().endswith(b"ok")
    third = lab.shaken("a.test", context)
    assert not third.tls.session_reused


def versions_of(lab: SecureLab) -> list[str]:
    """The versions of TLS the gateway agrees to, the oldest first."""
    found = []
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = believing()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        try:
            if lab.shaken("a.test", context).shaken:
                found.append(version.name)
        except ssl.SSLError:
            pass
    return found


@pytest.mark.parametrize(
    ("settings", "versions"),
    [
        ({}, ["TLSv1_2", "TLSv1_3"]),
        ({"ssl_cipher_suite": "modern"}, ["TLSv1_3"]),
        ({"ssl_cipher_suite": "fips"}, ["TLSv1_2", "TLSv1_3"]),
        ({"ssl_cipher_suite": "old"}, ["TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"]),
        ({"ssl_protocols": "TLSv1.3"}, ["TLSv1_3"]),
        ({"ssl_protocols": "TLSv1.1 TLSv1.2"}, ["TLSv1_2"]),
        ({"ssl_cipher_suite": "custom"}, ["TLSv1_2", "TLSv1_3"]),
        ({"ssl_cipher_suite": "custom", "ssl_protocols": "TLSv1.2"}, ["TLSv1_2"]),
    ],
    ids=str,
)
def test_versions(settings: dict[str, str], versions: list[str]) -> None:
    """Versions are those of the suite, less those that ssl_protocols leaves out; whatever name is asked for."""
    lab = SecureLab(settings=settings)
    assert versions_of(lab) == versions
    shown = certificate(leaf("a.test"))
    put(lab, shown, sni("a.test", shown))
    assert versions_of(lab) == versions


def test_ciphers() -> None:
    """By default nothing but forward secrecy with authenticated encryption is agreed to; custom ciphers are kept to."""

    def agreed(ciphers: str, **settings: str) -> str | None:
        lab = SecureLab(settings=settings, identities=[identity(leaf("default.test", rsa=True))])
        context = believing()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        try:
            cipher = lab.shaken(None, context).tls.cipher()
        except ssl.SSLError:
            return None
        return cipher and cipher[0]

    assert agreed("ECDHE-RSA-AES128-GCM-SHA256") == "ECDHE-RSA-AES128-GCM-SHA256"
    assert agreed("AES128-GCM-SHA256") is None
    assert agreed("ECDHE-RSA-AES128-SHA256") is None
    custom = {"ssl_cipher_suite": "custom", "ssl_ciphers": "ECDHE-RSA-AES256-GCM-SHA384"}
    assert agreed("ECDHE-RSA-AES128-GCM-SHA256", **custom) is None
    assert agreed("ECDHE-RSA-AES256-GCM-SHA384", **custom) == "ECDHE-RSA-AES256-GCM-SHA384"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"ssl_cipher_suite": "modern", "ssl_protocols": "TLSv1.2"},
            "ssl_protocols: expected some of",
        ),
        ({"ssl_cipher_suite": "custom", "ssl_ciphers": "NONE-OF-THESE"}, "ssl_ciphers: expected ciphers"),
    ],
)
def test_nothing_left(settings: dict[str, str], said: str) -> None:
    """Settings under which nobody could ever connect are refused at the start."""
    with pytest.raises(StartupError, match=said):
        server_terms(load(None, {}, settings))
