"""SIGHUP and the settings: what counts from then on, what needs a restart, and what a mistake leaves as it was."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme
from desk import ANEW, READY, Desk, Gateway
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.settings.declared import DECLARED
from twisted_kong.settings.loading import load
from twisted_kong.settings.renewable import RENEWABLE, renewed

CA = trustme.CA()
KEPT = "the configuration stays as it is: "
ANY_CERTIFICATE = ssl._create_unverified_context()  # who shows what is looked at by the tests
DOCUMENT = """\
_format_version: "3.0"
services:
- name: s
  url: {url}
  retries: 0
  tls_verify: {verify}
  routes:
  - paths: [/]
"""


class Origin(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[int]:
    """The port of an origin that speaks TLS, by a certificate of `CA` for ``localhost``."""
    server = HTTPServer(("127.0.0.1", 0), Origin)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class Renewed:
    """A gateway whose settings file is written anew, with a proxy in the clear and one over TLS."""

    def __init__(self, where: Path, url: str = "http://127.0.0.1:1", *, verify: bool = False) -> None:
        self.where = where
        self.desk = Desk(where)
        self.desk.put("kong.yml", DOCUMENT.format(url=url, verify="true" if verify else "null"))
        self.settings = {
            "prefix": str(where / "run"),
            "admin_listen": "127.0.0.1:0 ssl",
            "proxy_listen": "127.0.0.1:0, 127.0.0.1:0 ssl",
            "database": "off",
            "stall_timeout": "0",  # the machine may be too busy, and what is logged is looked at
            "declarative_config": str(where / "kong.yml"),
        }
        self.put_certificate("proxy")
        self.write(ssl_cert=str(where / "proxy.crt"), ssl_cert_key=str(where / "proxy.key"))

    def put_certificate(self, name: str) -> bytes:
        """Another certificate in the files of this name; what it is."""
        leaf = CA.issue_cert("proxy.test")
        leaf.cert_chain_pems[0].write_to_path(str(self.where / f"{name}.crt"))
        leaf.private_key_pem.write_to_path(str(self.where / f"{name}.key"))
        return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())

    def write(self, **settings: str) -> None:
        """These settings too, from the next SIGHUP on."""
        self.settings |= settings
        (self.where / "kong.conf").write_text("".join(f"{name} = {text}\n" for name, text in self.settings.items()))

    def start(self, **environment: str) -> None:
        self.gateway = Gateway(self.desk, **environment)
        ports = re.findall(r"starting on (\d+)", self.gateway.logs_until(READY))
        self.plain, self.secure, self.admin = map(int, ports)

    def hang_up(self, end: str = ANEW) -> str:
        """What is logged until a line with ``end``."""
        self.gateway.hang_up()
        return self.gateway.logs_until(end)

    def ask(self, **headers: str) -> http.client.HTTPResponse:
        with closing(http.client.HTTPConnection("127.0.0.1", self.plain, timeout=20)) as connection:
            connection.request("GET", "/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer

    def dial(self, port: int) -> http.client.HTTPSConnection:
        """A connection over TLS, which is kept."""
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=ANY_CERTIFICATE)
        connection.connect()
        return connection

    def shown(self, port: int) -> bytes:
        """The certificate of a new handshake."""
        with closing(self.dial(port)) as connection:
            return certificate(connection)


def certificate(connection: http.client.HTTPSConnection) -> bytes:
    assert isinstance(connection.sock, ssl.SSLSocket)
    return connection.sock.getpeercert(binary_form=True) or b""


def status(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.fixture
def renewed_gateway(tmp_path: Path) -> Iterator[Renewed]:
    made = Renewed(tmp_path)
    try:
        yield made
    finally:
        made.gateway.stop()


# -- certificates ----------------------------------------------------------------------------------------------


def test_certificates(renewed_gateway: Renewed) -> None:
    """Files that hold other certificates count from the next handshake on; connections there are go on."""
    made = renewed_gateway
    first = {name: made.put_certificate(name) for name in ("proxy", "admin")}
    made.write(admin_ssl_cert=str(made.where / "admin.crt"), admin_ssl_cert_key=str(made.where / "admin.key"))
    made.start()
    with closing(made.dial(made.secure)) as proxy, closing(made.dial(made.admin)) as admin:
        assert (certificate(proxy), certificate(admin)) == (first["proxy"], first["admin"])
        assert (status(proxy), status(admin)) == (502, 200)
        second = {name: made.put_certificate(name) for name in ("proxy", "admin")}
        made.hang_up()
        assert (status(proxy), status(admin)) == (502, 200)
    assert (made.shown(made.secure), made.shown(made.admin)) == (second["proxy"], second["admin"])


def test_authorities(tmp_path: Path, origin: int) -> None:
    """An authority that is put into the file of those trusted is believed from then on."""
    made = Renewed(tmp_path, f"https://localhost:{origin}", verify=True)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "trusted"))
    made.write(lua_ssl_trusted_certificate=str(tmp_path / "trusted"))
    made.start()
    try:
        assert made.ask().status == 502
        CA.cert_pem.write_to_path(str(tmp_path / "trusted"))
        made.hang_up()
        assert made.ask().status == 200
    finally:
        made.gateway.stop()


# -- what else counts at once ----------------------------------------------------------------------------------


def test_settings(renewed_gateway: Renewed) -> None:
    """Settings of the file that are looked up all the time count from then on, and the Admin API tells them."""
    made = renewed_gateway
    made.start()
    assert made.ask().status == 502
    made.write(
        headers="off",
        nginx_http_client_max_body_size="1k",
        nginx_http_keepalive_requests="1",
        proxy_access_log="logs/other.log json",
        log_level="info",
    )
    assert "restart" not in made.hang_up()
    answer = made.ask()
    assert (answer.status, answer.getheader("Server"), answer.getheader("Connection")) == (502, None, "close")
    assert made.ask(**{"Content-Length": "1025"}).status == 413
    with closing(made.dial(made.admin)) as connection:
        connection.request("GET", "/")
        told = connection.getresponse().read()
    assert b'"nginx_http_client_max_body_size":1024' in told.replace(b" ", b"")
    made.gateway.stop()
    logs = made.where / "run" / "logs"
    assert (logs / "access.log").read_text().count("\n") == 1
    assert re.findall(r'"status":(\d+)', (logs / "other.log").read_text()) == ["502", "413"]


def test_log_level(renewed_gateway: Renewed) -> None:
    """What is logged follows the level: less from then on, and then again all."""
    made = renewed_gateway
    made.start()
    made.write(log_level="warn", dns_stale_ttl="7")
    made.hang_up("need a restart")
    with closing(made.dial(made.admin)) as connection:
        assert status(connection) == 200
    made.write(log_level="notice")
    assert '"GET / HTTP/1.1"' not in made.hang_up()
    with closing(made.dial(made.admin)) as connection:
        assert status(connection) == 200
    made.gateway.logs_until('"GET / HTTP/1.1"')


def test_what_needs_a_restart_is_named(renewed_gateway: Renewed) -> None:
    """A setting that shapes what was made at the start is told not to count; what else changed does."""
    made = renewed_gateway
    made.start()
    made.write(proxy_listen="127.0.0.1:1", dns_stale_ttl="7", headers="off")
    logged = made.hang_up("need a restart")
    assert "settings that have changed and need a restart: dns_stale_ttl, proxy_listen" in logged
    assert made.ask().getheader("Server") is None
    made.hang_up("need a restart: dns_stale_ttl, proxy_listen")  # as long as it is so


def test_precedence(renewed_gateway: Renewed) -> None:
    """What the environment says goes on to win over the file."""
    made = renewed_gateway
    made.start(headers="X-Kong-Upstream-Status")
    made.write(headers="server_tokens", nginx_http_keepalive_requests="1")
    made.hang_up()
    answer = made.ask()
    assert (answer.getheader("Server"), answer.getheader("Connection")) == (None, "close")


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"nginx_http_client_max_body_size": "many"}, "nginx_http_client_max_body_size: expected a size"),
        ({"upstream_keepalive_pol_size": "1"}, "expected the name of a setting such as upstream_keepalive_pool_size"),
        ({"ssl_cert_key": "/nowhere"}, "ssl_cert_key: expected a readable file or PEM, got '/nowhere'"),
        ({"lua_ssl_trusted_certificate": "/nowhere"}, "lua_ssl_trusted_certificate: expected a readable file or PEM"),
        ({"proxy_access_log": "/proc/nowhere"}, "proxy_access_log: expected a file to write to, got /proc/nowhere"),
        ({"declarative_config": "/nowhere"}, "/nowhere: expected a file that can be read"),
    ],
)
def test_mistakes(renewed_gateway: Renewed, settings: dict[str, str], told: str) -> None:
    """Whatever cannot be read or used leaves everything as it was, what is sound beside it as well."""
    made = renewed_gateway
    made.start()
    before, sound = made.shown(made.secure), dict(made.settings)
    made.put_certificate("proxy")
    made.desk.put("kong.yml", DOCUMENT.format(url="http://127.0.0.1:1", verify="null").replace("[/]", "[/elsewhere]"))
    made.write(headers="off", proxy_access_log="logs/other.log")
    made.write(**settings)
    logged = made.hang_up(KEPT)
    assert told in logged
    assert logged.count("\n") == 1, logged
    answer = made.ask()
    assert (answer.status, answer.getheader("Server") is None) == (502, False)
    assert made.shown(made.secure) == before
    for name in made.settings.keys() - sound.keys():
        del made.settings[name]
    made.write(**sound)
    made.hang_up()
    assert made.ask().status == 404
    assert made.shown(made.secure) != before


# -- which settings --------------------------------------------------------------------------------------------


def test_renewable_settings_exist() -> None:
    """Every one is a setting that is honoured."""
    assert {name for name in RENEWABLE if name not in DECLARED or DECLARED[name].inert} == set()


def test_documented() -> None:
    """docs/operating.md has them all in its table, and no others."""
    text = (Path(__file__).parents[1] / "docs" / "operating.md").read_text()
    table = text.partition("\n## Reloading\n")[2].partition("\n## ")[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(name for cell in first for name in re.findall(r"`([a-z_0-9]+)`", cell)) == sorted(RENEWABLE)


@given(st.sets(st.sampled_from(["headers", "log_level", "database", "dns_order", "real_ip_header"])))
def test_what_follows(changed: set[str]) -> None:
    """Of the settings that differ, those that can follow do, and the others are named."""
    other = {"headers": "off", "log_level": "crit", "database": "off", "dns_order": "A", "real_ip_header": "X-Other"}
    old = load(None, {}, {})
    following, left = renewed(old, load(None, {}, {name: other[name] for name in changed}))
    assert following == load(None, {}, {name: other[name] for name in changed & RENEWABLE})
    assert left == tuple(sorted(changed - RENEWABLE))


def test_reading_again_is_from_where_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths mean the same as at the start, wherever the process has gone since."""
    from twisted_kong.service import Options

    for name in [name for name in os.environ if name.startswith("KONG_")]:
        monkeypatch.delenv(name)
    (tmp_path / "kong.conf").write_text("prefix = here\n")
    monkeypatch.chdir(tmp_path)
    options = Options()
    options.parseOptions(["--conf", "kong.conf", "--set", "log_level=crit"])  # type: ignore[no-untyped-call]  # Twisted's
    monkeypatch.chdir("/")
    assert options.read() == options.settings
    assert options.read().prefix == tmp_path / "here"
    assert Path.cwd() == Path("/")
