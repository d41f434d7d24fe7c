"""Origins over TLS: who they are asked to be, whom we believe, what we show, and which requests share a connection."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Mapping
from typing import Any

import pytest
import trustme
from cryptography import x509
from loopback import GET, OK, Lab, post
from secured import (
    CA,
    STRANGER,
    End,
    authority,
    build,
    certificate,
    change_service,
    identity,
    leaf,
    origin,
    put,
    showing,
)

from twisted_kong.errors import StartupError
from twisted_kong.model.entities import Upstream
from twisted_kong.settings import load
from twisted_kong.tls import client_defaults

HTTPS: Mapping[str, object] = {"protocol": "https"}
ADDRESS = "10.0.0.1"


def secure(*targets: str, **service: object) -> Lab:
    """A lab whose service is spoken to over TLS."""
    return Lab(targets or (f"{ADDRESS}:443",), service={**HTTPS, **service})


def origin_named(lab: Lab, shown: trustme.LeafCert, number: int = -1) -> tuple[End, str | None]:
    """An origin, and the name it was asked for."""
    names: list[str | None] = []
    context = showing(shown)
    context.sni_callback = lambda connection, name, _: names.append(name)
    end = origin(lab.dials[number], context)
    return end, names[0]


def verified(lab: Lab, *authorities: trustme.CA, **fields: object) -> None:
    """Let the service of ``lab`` verify, believing these."""
    entities = [authority(one) for one in authorities]
    put(lab, *entities)
    change_service(lab, tls_verify=True, ca_certificates=[one.id for one in entities], **fields)


def status(end: Any) -> bytes:
    return bytes(end.take().split()[1])


# -- HTTP over it ------------------------------------------------------------------------------------------------


def test_a_request() -> None:
    """A service of protocol https is asked over TLS; nothing of the request is said before the handshake is over."""
    lab = secure()
    client = lab.client(GET)
    end = origin(lab.dials[0], showing(leaf("a.test")))
    assert end.take().startswith(b"GET / HTTP/1.1\r\n")
    end.send(OK)
    assert client.take().endswith(b"ok")
    lab.assert_idle()


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_in_pieces(piece: int) -> None:
    """However the network cuts what the origin sends, the answer is seen whole."""
    lab = secure()
    client = lab.client(GET)
    end = origin(lab.dials[0], showing(leaf("a.test")), piece=piece)
    end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30000)
    assert client.take().endswith(b"x" * 30000)
    lab.assert_idle()


def test_large_bodies() -> None:
    """A body larger than any buffer reaches the origin whole, as fast as it is taken and no faster."""
    body = bytes(range(256)) * 4096
    lab = secure()
    client = lab.client(post(body))
    end = origin(lab.dials[0], showing(leaf("a.test")))
    received = end.take()
    while not received.endswith(body):
        more = end.take()
        assert more
        received += more
    end.send(OK)
    assert client.take().endswith(b"ok")
    lab.assert_idle()


def test_hosts_port() -> None:
    """The Host has the port unless it is https's own."""
    six = "[0000:0000:0000:0000:0000:0000:0000:0001]"
    for target, host in ((f"{ADDRESS}:443", ADDRESS), (f"{ADDRESS}:80", f"{ADDRESS}:80"), ("[::1]:444", f"{six}:444")):
        lab = secure(target)
        lab.client(GET)
        end = origin(lab.dials[0], showing(leaf("a.test")))
        assert f"\r\nHost: {host}\r\n".encode() in end.take()


@pytest.mark.parametrize(("goodbye", "complete"), [(True, True), (False, False)])
def test_truncation(goodbye: bool, complete: bool) -> None:
    """An answer that ends with its connection is complete only where TLS says so (RFC 9112 §9.8)."""
    lab = secure()
    client = lab.client(GET)
    end = origin(lab.dials[0], showing(leaf("a.test")))
    end.send(b"HTTP/1.1 200 OK\r\n\r\nall")
    if goodbye:
        end.say_goodbye()
    end.line.close()
    lab.wait()
    received = client.take()
    assert b"all" in received
    assert received.endswith(b"0\r\n\r\n") is complete
    lab.assert_idle()


# -- names -------------------------------------------------------------------------------------------------------


def test_no_name_for_addresses() -> None:
    """An address is not a name: the origin is asked for none."""
    lab = secure()
    lab.client(GET)
    assert origin_named(lab, leaf("a.test"))[1] is None


def test_the_name_of_the_target() -> None:
    """The origin is asked for the target's name, for another target's on the next attempt."""
    lab = secure("one.test:443", "two.test:444")
    lab.client(GET)
    for name, address in (("one.test", "10.0.0.1"), ("two.test", "10.0.0.2")):
        lab.names.answer(name, address)
        lab.wait()
    lab.dials[0].refuse()
    end, asked = origin_named(lab, leaf("two.test"))
    assert asked == "two.test"
    assert b"\r\nHost: two.test:444\r\n" in end.take()


def test_the_host_header_of_the_upstream() -> None:
    """The upstream's host_header is the name where it has one."""
    lab = Lab((f"{ADDRESS}:443",), service=HTTPS, upstream={"host_header": "named.test"})
    lab.client(GET)
    assert origin_named(lab, leaf("a.test"))[1] == "named.test"


def test_the_name_the_client_asks_for() -> None:
    """Where the client's Host is preserved it is the name, without its port."""
    lab = Lab((f"{ADDRESS}:443",), service=HTTPS, route={"preserve_host": True})
    lab.client(GET.replace(b"a.test", b"Asked.test:8443"))
    end, name = origin_named(lab, leaf("a.test"))
    assert name == "asked.test"
    assert b"\r\nHost: Asked.test:8443\r\n" in end.take()


# -- verification ------------------------------------------------------------------------------------------------


def outcome(lab: Lab, shown: trustme.LeafCert) -> bytes:
    """The status of a request that the origin, showing ``shown``, would answer with 200."""
    client = lab.client(GET)
    try:
        end = origin(lab.dials[-1], showing(shown))
        end.send(OK)
    except ssl.SSLError:
        pass
    lab.wait()
    return status(client)


def named(**service: object) -> Lab:
    """A lab whose target is called a.test and has been found."""
    return Lab((f"{ADDRESS}:443",), service={**HTTPS, "retries": 0, **service}, upstream={"host_header": "a.test"})


def test_nobody_is_verified_by_default() -> None:
    """Any certificate will do, unless tls_verify is true."""
    assert outcome(named(), STRANGER.issue_cert("other.test")) == b"200"
    lab = named()
    verified(lab, CA)
    change_service(lab, tls_verify=False)
    assert outcome(lab, STRANGER.issue_cert("other.test")) == b"200"


def test_verification() -> None:
    """With tls_verify the certificate is of an authority the service names, and for the name asked for."""
    for shown, expected in (
        (leaf("a.test"), b"200"),
        (leaf("*.a.test"), b"502"),
        (leaf("b.test"), b"502"),
        (leaf("10.0.0.1"), b"502"),
        (STRANGER.issue_cert("a.test"), b"502"),
    ):
        lab = named()
        verified(lab, CA)
        assert outcome(lab, shown) == expected, shown
        lab.assert_idle()


def test_verified_address() -> None:
    """Where the origin is called by its address, the certificate is for that."""
    for shown, expected in ((leaf(ADDRESS), b"200"), (leaf("a.test"), b"502"), (leaf("10.0.0.2"), b"502")):
        lab = secure(retries=0)
        verified(lab, CA)
        assert outcome(lab, shown) == expected


def test_expired() -> None:
    """A certificate that has expired is none."""
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    lab = named()
    verified(lab, CA)
    assert outcome(lab, CA.issue_cert("a.test", not_before=past, not_after=past)) == b"502"


@pytest.mark.parametrize(("depth", "expected"), [(None, b"502"), (1, b"502"), (2, b"200"), (5, b"200"), (0, b"502")])
def test_depth(depth: int | None, expected: bytes) -> None:
    """Between the certificate and the authority there are at most tls_verify_depth others, one by default."""
    deep = CA.create_child_ca().create_child_ca().issue_cert("a.test")
    lab = named()
    verified(lab, CA, tls_verify_depth=depth)
    assert outcome(lab, deep) == expected


def test_default_authorities(tmp_path: Any) -> None:
    """A service that verifies and names no authorities believes those of the settings."""
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for shown, expected in ((leaf("a.test"), b"200"), (STRANGER.issue_cert("a.test"), b"502")):
        lab = Lab(
            (f"{ADDRESS}:443",),
            service={**HTTPS, "retries": 0, "tls_verify": True},
            upstream={"host_header": "a.test"},
            settings={"lua_ssl_trusted_certificate": f"system, {tmp_path / 'ca.pem'}"},
        )
        assert outcome(lab, shown) == expected


def test_a_failed_verification_is_an_attempt() -> None:
    """Who cannot be verified is as good as not there: the next target is asked, whatever the method."""
    lab = secure("10.0.0.1:443", "10.0.0.2:443")
    verified(lab, CA)
    client = lab.client(post(b"body"))
    with pytest.raises(ssl.SSLError):
        origin(lab.dials[0], showing(leaf("10.0.0.9"))).take()
    end = origin(lab.dials[1], showing(leaf("10.0.0.2")))
    assert end.take().endswith(b"body")
    end.send(OK)
    assert client.take().endswith(b"ok")
    assert [failure.failure for _, failure in lab.outcomes] == ["tcp", None]
    lab.assert_idle()


# -- failure -----------------------------------------------------------------------------------------------------


def test_no_tls_there() -> None:
    """An origin that does not speak TLS is a 502."""
    lab = secure(retries=0)
    client = lab.client(GET)
    lab.dials[0].accept().send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    lab.wait()
    assert status(client) == b"502"
    lab.assert_idle()


def test_closed_during_the_handshake() -> None:
    """An origin that closes during the handshake has refused: the next is asked."""
    lab = secure("10.0.0.1:443", "10.0.0.2:443")
    client = lab.client(post(b"body"))
    lab.dials[0].accept().close()
    end = origin(lab.dials[1], showing(leaf("a.test")))
    end.send(OK)
    assert client.take().endswith(b"ok")
    lab.assert_idle()


def test_the_timeout_covers_the_handshake() -> None:
    """connect_timeout is for the connection and the handshake together."""
    lab = secure(retries=0, connect_timeout=3000)
    client = lab.client(GET)
    lab.wait(2)
    line = lab.dials[0].accept()
    lab.wait(0.9)
    assert client.received == b""
    lab.wait(0.2)
    assert status(client) == b"504"
    assert line.aborted
    lab.assert_idle()


def test_a_client_leaves_during_the_handshake() -> None:
    """When the client leaves during the handshake the connection is given up."""
    lab = secure()
    client = lab.client(GET)
    line = lab.dials[0].accept()
    client.close()
    lab.wait()
    assert line.disconnecting
    lab.assert_idle()


# -- what we show ------------------------------------------------------------------------------------------------


def shown_to(lab: Lab) -> str | None:
    """The common name of the certificate that the gateway shows to an origin that asks for one."""
    client = lab.client(GET)
    end = origin(lab.dials[-1], showing(leaf("a.test"), clients=CA))
    end.send(OK)
    assert client.take().endswith(b"ok")
    der = end.tls.getpeercert(binary_form=True)
    if der is None:
        return None
    (name,) = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value)


def test_client_certificates(tmp_path: Any) -> None:
    """The service's certificate stands before the upstream's, and that before the one of the settings."""
    owners = ("service", "upstream", "settings")
    shown = {name: CA.issue_cert(f"{name}@a.test", common_name=name) for name in owners}
    entities = {name: certificate(shown[name]) for name in shown}
    assert shown_to(secure()) is None
    chain, key = identity(shown["settings"])
    (tmp_path / "crt").write_text(chain)
    (tmp_path / "key").write_text(key)
    paths = {"client_ssl_cert": str(tmp_path / "crt"), "client_ssl_cert_key": str(tmp_path / "key")}
    assert shown_to(Lab((f"{ADDRESS}:443",), service=HTTPS, settings=paths)) is None
    lab = Lab((f"{ADDRESS}:443",), service=HTTPS, settings={"client_ssl": "on", **paths})
    assert shown_to(lab) == "settings"
    put(lab, *entities.values())
    (upstream,) = lab.core.gateway.snapshot.upstreams.values()
    put(lab, build(Upstream, **{**upstream.document(), "client_certificate": {"id": entities["upstream"].id}}))
    assert shown_to(lab) == "upstream"
    change_service(lab, client_certificate={"id": entities["service"].id})
    assert shown_to(lab) == "service"


@pytest.mark.parametrize(
    "settings",
    [
        {"client_ssl": "on"},
        {"client_ssl": "on", "client_ssl_cert": "/nonexistent", "client_ssl_cert_key": "/nonexistent"},
        {"lua_ssl_trusted_certificate": "/nonexistent"},
        {"lua_ssl_trusted_certificate": "/dev/null"},
    ],
    ids=str,
)
def test_unreadable_settings(settings: dict[str, str]) -> None:
    """Certificates of the settings that cannot be read stop the start."""
    with pytest.raises(StartupError, match=list(settings)[-1].removesuffix("_key")):
        client_defaults(load(None, {}, settings))


# -- sharing -----------------------------------------------------------------------------------------------------


def test_connections_are_kept() -> None:
    """Requests that are alike share a connection."""
    lab = secure()
    client = lab.client(GET)
    end = origin(lab.dials[0], showing(leaf("a.test")))
    for _ in range(3):
        assert end.take().startswith(b"GET")
        end.send(OK)
        assert client.take().endswith(b"ok")
        client.send(GET)
    assert len(lab.dials) == 1


CHANGES: Mapping[str, Mapping[str, object]] = {
    "protocol": {"protocol": "http"},
    "verification": {"tls_verify": True},
    "authorities": {"tls_verify": True, "ca_certificates": True},
    "certificate": {"client_certificate": True},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_connections_are_not_shared(changed: str) -> None:
    """What shapes a connection tells it from all others: none made under other terms is used, nor its session."""
    lab = secure()
    ours, shown = authority(CA), certificate(CA.issue_cert("me@a.test"))
    put(lab, ours, shown)
    client = lab.client(GET)
    origin(lab.dials[0], showing(leaf(ADDRESS))).send(OK)
    assert client.take().endswith(b"ok")
    real = {"ca_certificates": [ours.id], "client_certificate": {"id": shown.id}}
    change_service(lab, **{name: real.get(name, value) for name, value in CHANGES[changed].items()})
    client.send(GET)
    assert len(lab.dials) == 2
    assert lab.dials[1].waiting


def test_names_are_not_shared() -> None:
    """A connection to one name is not used for another, though both are at one address."""
    lab = Lab((f"{ADDRESS}:443",), service=HTTPS, route={"preserve_host": True})
    client = lab.client(GET)
    origin(lab.dials[0], showing(leaf("a.test"))).send(OK)
    assert client.take().endswith(b"ok")
    client.send(GET.replace(b"a.test", b"b.test"))
    assert len(lab.dials) == 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_sessions_are_resumed(version: ssl.TLSVersion) -> None:
    """The next connection alike resumes the session of the last, and no connection of another kind does."""
    lab = secure()
    context = showing(leaf(ADDRESS))
    context.maximum_version = version
    close = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    def resumed() -> bool:
        client = lab.client(GET)
        end = origin(lab.dials[-1], context)
        end.send(close)
        assert client.take().endswith(b"ok")
        return bool(end.tls.session_reused)

    assert [resumed(), resumed(), resumed()] == [False, True, True]
    verified(lab, CA)
    assert [resumed(), resumed()] == [False, True]
