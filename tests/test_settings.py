"""Settings: the file, the environment, the command line, and what is said of mistakes in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.errors import SettingsError
from twisted_kong.settings import Listener, Settings, TrustedPeers, load, values
from twisted_kong.settings.__main__ import tables
from twisted_kong.settings.accepted import INERT, INERT_FAMILIES, REFUSED
from twisted_kong.settings.declared import DECLARED, PROXY_OVERRIDES
from twisted_kong.settings.listeners import listeners
from twisted_kong.settings.loading import is_known

ROOT = Path(__file__).parent.parent
NAMES = sorted([*DECLARED, *PROXY_OVERRIDES, *REFUSED, *INERT])


class Conf:
    """A settings file, and what loading it gives or complains of."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def load(
        self, text: str | bytes, environ: Mapping[str, str] | None = None, overrides: Mapping[str, str] | None = None
    ) -> Settings:
        Path(self.path).write_bytes(text.encode() if isinstance(text, str) else text)
        return load(self.path, environ or {}, overrides or {})

    def complaint(self, text: str | bytes) -> str:
        """What is said of the text, without the path."""
        with pytest.raises(SettingsError) as caught:
            self.load(text)
        return str(caught.value).replace(self.path, "kong.conf")


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Conf:
    return Conf(tmp_path_factory.mktemp("settings") / "kong.conf")


def option(name: str, text: str) -> Settings:
    return load(None, {}, {name: text})


def refusal(name: str, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        option(name, text)
    return str(caught.value)


# -- where settings come from ----------------------------------------------------------------------------------


def test_nothing_given_is_all_defaults() -> None:
    """Without a file, an environment or options, every setting has its default."""
    assert load(None, {}, {}) == Settings()


def test_defaults() -> None:
    """The defaults are Kong's, but for the database, the prefix and HTTP/2 of the Admin API."""
    settings = Settings()
    assert settings.prefix == Path.cwd() / ".run"
    assert settings.proxy_listen == (Listener("0.0.0.0", 8000), Listener("0.0.0.0", 8443, ssl=True, http2=True))
    assert settings.admin_listen == (Listener("127.0.0.1", 8001), Listener("127.0.0.1", 8444, ssl=True))
    assert (settings.database, settings.router_flavor) == ("sqlite", "traditional_compatible")
    assert settings.headers == {
        "Via",
        "Server",
        "X-Kong-Proxy-Latency",
        "X-Kong-Upstream-Latency",
        "X-Kong-Response-Latency",
        "X-Kong-Admin-Latency",
        "X-Kong-Request-Id",
    }
    assert settings.trusted_ips == TrustedPeers((), unix=False)
    assert (settings.upstream_keepalive_pool_size, settings.upstream_keepalive_idle_timeout) == (512, 60.0)
    assert (settings.nginx_http_client_max_body_size, settings.nginx_admin_client_max_body_size) == (0, 10 * 1024**2)
    assert settings.nginx_http_large_client_header_buffers == (4, 8192)


def test_precedence(conf: Conf) -> None:
    """The environment wins over the file, the command line over both."""
    text = "log_level = warn\nreal_ip_header = A\nheaders = off"
    environ = {"KONG_LOG_LEVEL": "error", "KONG_REAL_IP_HEADER": "B"}
    settings = conf.load(text, environ, {"log_level": "crit"})
    assert (settings.log_level, settings.real_ip_header, settings.headers) == ("crit", "B", frozenset())


def test_proxy_directives_override(conf: Conf) -> None:
    """What nginx's server block of the proxy says wins over the http block, wherever either was given."""
    settings = conf.load(
        "nginx_proxy_send_timeout = 1\nnginx_proxy_charset = off",
        {"KONG_NGINX_HTTP_SEND_TIMEOUT": "2"},
        {"nginx_http_charset": "latin1"},
    )
    assert (settings.nginx_http_send_timeout, settings.nginx_http_charset) == (1.0, None)
    assert settings.inert == ()


@pytest.mark.parametrize("name", DECLARED)
def test_an_empty_value_restores_the_default(conf: Conf, name: str) -> None:
    """An empty value in the environment undoes what the file says."""
    text = f"{name} = {DECLARED[name].default}"
    assert conf.load(text, {f"KONG_{name.upper()}": ""}) == Settings()


def test_environment_of_others() -> None:
    """Variables that are no settings are ignored and told; those outside KONG_ and in other cases are not ours."""
    environ = {"PATH": "/bin", "KONG_VERSION": "3.9", "KONG_PORT_8001_TCP": "x", "KONG_Headers": "?", "headers": "?"}
    assert load(None, environ, {}) == Settings(
        ignored_environment=("KONG_Headers", "KONG_PORT_8001_TCP", "KONG_VERSION")
    )


def test_inert_settings_are_told(conf: Conf) -> None:
    """What was given in vain is named, its value is not kept: it may be a password."""
    settings = conf.load("pg_password = secret\nnginx_stream_foo = bar\nvault_env_prefix = v")
    assert settings.inert == ("nginx_stream_foo", "pg_password", "vault_env_prefix")
    assert "secret" not in repr(settings)


def test_frozen() -> None:
    """Settings do not change after they were loaded."""
    with pytest.raises(FrozenInstanceError):
        Settings().log_level = "debug"  # type: ignore[misc]  # that is the point


# -- the file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("real_ip_header = X", "X"),
        ("  real_ip_header=X  ", "X"),
        ("real_ip_header = X # why", "X"),
        ("real_ip_header = X\t#", "X"),
        ("real_ip_header = X#Y", "X#Y"),
        ("real_ip_header = X\\#Y", "X#Y"),
        ("real_ip_header = 'X'", "X"),
        ('real_ip_header = "X" # why', "X"),
        ("real_ip_header = 'X", "'X"),
        ("real_ip_header = # nothing", "X-Real-IP"),
        ("# real_ip_header = X", "X-Real-IP"),
        ("real_ip_header = A\nreal_ip_header = B", "B"),
        ("real_ip_header = X\r\n\r\n", "X"),
    ],
)
def test_syntax(conf: Conf, line: str, value: str) -> None:
    """Names, values, quotes and comments are told apart as in kong.conf."""
    assert conf.load(line).real_ip_header == value


def test_a_quoted_value_keeps_what_looks_like_a_comment(conf: Conf) -> None:
    """Inside quotes nothing is a comment."""
    assert conf.load('prefix = "/a #b"').prefix == Path("/a #b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nwhat", "kong.conf:2: expected name = value, got 'what'"),
        ("= x", "kong.conf:1: expected name = value, got '= x'"),
        (
            "# one\nproxy_listen = x",
            "kong.conf:2: proxy_listen: expected addr:port with flags, an endpoint such as unix:/run/kong.sock, "
            "or off alone, got 'x'",
        ),
        (
            "proxy_liste = x",
            "kong.conf:1: expected the name of a setting such as proxy_listen, got 'proxy_liste'",
        ),
        ("zzzzzzzz = x", "kong.conf:1: expected the name of a setting, got 'zzzzzzzz'"),
        (b"headers = \xff", r"kong.conf:1: expected UTF-8, got b'headers = \xff'"),
        ("database = postgres", "kong.conf:1: database: expected sqlite or off, got 'postgres': this version keeps"),
    ],
)
def test_mistakes_are_told_with_their_line(conf: Conf, text: str | bytes, message: str) -> None:
    """The message names the file, the line and the setting, what was expected and what came."""
    assert conf.complaint(text).startswith(message)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A settings file that cannot be read stops the start."""
    with pytest.raises(SettingsError, match=r"none\.conf: expected a readable file, got No such file or directory$"):
        load(str(tmp_path / "none.conf"), {}, {})


def test_mistakes_outside_the_file_are_told_with_their_origin() -> None:
    """A mistake in the environment names the variable, one on the command line the option."""
    with pytest.raises(SettingsError, match=r"^environment KONG_LOG_LEVEL: expected debug, .* or emerg, got 'loud'$"):
        load(None, {"KONG_LOG_LEVEL": "loud"}, {})
    assert refusal("real_ip_recursive", "maybe") == "--real-ip-recursive: expected on or off, got 'maybe'"
    assert refusal("no_such", "x").startswith("--no-such: expected the name of a setting")


text_values = st.one_of(
    st.text(),
    st.sampled_from(["off", "on", "1", "0.5", "8k", "4 8k", "60s", "[::1]:80", "a:80 ssl", "::/0", "80:8000", "SRV"]),
    st.lists(st.sampled_from(["127.0.0.1:80", "tcp:80", "unix:", "1.2.3.4/8", "Via", "", " ", "#", "'"])).map(",".join),
)
lines = st.builds("{} {} {}".format, st.one_of(st.sampled_from(NAMES), st.text(max_size=9)), st.just("="), text_values)


@given(st.one_of(st.binary(), st.text().map(str.encode), st.lists(lines).map("\n".join).map(str.encode)))
def test_any_file_loads_or_is_complained_of(conf: Conf, text: bytes) -> None:
    """Whatever the file holds, it loads, or one line says which line of it is wrong."""
    message = ""
    try:
        conf.load(text)
    except SettingsError as error:
        message = str(error)
    if message:
        where = re.match(re.escape(conf.path) + r":([0-9]+): ", message)
        assert where is not None
        assert 1 <= int(where[1]) <= text.count(b"\n") + 1
        assert message.isprintable()


@given(st.sampled_from(sorted({*DECLARED, *PROXY_OVERRIDES})), text_values)
def test_any_value_is_parsed_or_malformed(name: str, text: str) -> None:
    """A parser gives a value or complains in one line; nothing else ever comes out of it."""
    complaint = ""
    try:
        DECLARED[PROXY_OVERRIDES.get(name, name)].parse(text)
    except values.MalformedError as error:
        complaint = error.describe(text)
    assert complaint.isprintable()


# -- listeners -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("off", ()),
        ("127.0.0.1:8000", (Listener("127.0.0.1", 8000),)),
        ("localhost:8000", (Listener("localhost", 8000),)),
        ("[::1]:8000", (Listener("::1", 8000),)),
        (
            "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
            (
                Listener("0.0.0.0", 8000, reuseport=True, backlog=16384),
                Listener("0.0.0.0", 8443, ssl=True, http2=True, reuseport=True, backlog=16384),
            ),
        ),
        (
            "a.test:1 proxy_protocol deferred bind ipv6only=on so_keepalive=30m::10",
            (Listener("a.test", 1, proxy_protocol=True),),
        ),
        ("a:1,b:2", (Listener("a", 1), Listener("b", 2))),
        ("a:1 max_connections=5 backlog=6", (Listener("a", 1, backlog=6, max_connections=5),)),
        ("tcp:8000", (Listener("", 0, endpoint="tcp:8000"),)),
        ("tcp:8000:interface=127.0.0.1", (Listener("", 0, endpoint="tcp:8000:interface=127.0.0.1"),)),
        ("onion:80:hiddenServiceDir=/x", (Listener("", 0, endpoint="onion:80:hiddenServiceDir=/x"),)),
        (
            "unix:/run/a,b.sock, systemd:domain=INET:name=proxy, a:1",
            (
                Listener("", 0, endpoint="unix:/run/a,b.sock"),
                Listener("", 0, endpoint="systemd:domain=INET:name=proxy"),
                Listener("a", 1),
            ),
        ),
    ],
)
def test_listeners(text: str, found: tuple[Listener, ...]) -> None:
    """Addresses with their flags are told from Twisted's endpoints, which are kept as they are."""
    assert listeners(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "8000", ":8000", "a:", "a:70000", "a:80b", "256.0.0.1:80", "[1.2.3.4]:80", "::1:80", "-a:1", "a_:1"),
        *("a:1,", "a:1 b", "a:1 backlog=x", "a:1 max_connections=", "a:1 ipv6only=yes", "off, a:1"),
    ],
)
def test_no_listener(text: str) -> None:
    """What is neither an address with flags nor an endpoint is refused."""
    with pytest.raises(values.MalformedError):
        listeners(text)


addresses = st.builds(
    Listener,
    st.one_of(
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map(str),
        st.from_regex(r"[a-z]([a-z0-9.-]{0,9}[a-z0-9])?", fullmatch=True).filter(
            lambda host: host not in ("tcp", "tcp6", "ssl", "tls", "unix", "stdio", "systemd", "haproxy")
        ),
    ),
    st.integers(0, 65535),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**9 - 1),
    max_connections=st.integers(0, 10**9 - 1),
)
endpoints = st.from_regex(r"(unix|tcp|systemd):[a-z0-9/=:,]{0,12}[a-z0-9]", fullmatch=True).map(
    lambda text: Listener("", 0, endpoint=text)
)


@given(st.lists(st.one_of(addresses, endpoints), min_size=1).map(tuple))
def test_listeners_survive_being_written(found: tuple[Listener, ...]) -> None:
    """What a listener says of itself is the text of an equal listener, also among others."""
    assert listeners(", ".join(map(str, found))) == found


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("admin_listen", "http2"),
        ("status_listen", "proxy_protocol"),
        ("admin_listen", "proxy_protocol"),
    ],
)
def test_what_is_not_served_yet_is_refused(name: str, flag: str) -> None:
    """No HTTP/1 is served where HTTP/2 or the PROXY protocol was asked for."""
    assert refusal(name, f"127.0.0.1:1, 127.0.0.1:2 {flag}") == (
        f"--{name.replace('_', '-')}: expected a listener without {flag}, got '127.0.0.1:2 {flag}': "
        "it is not supported yet by this version"
    )


# -- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("off", set()),
        ("latency_tokens", {f"X-Kong-{part}-Latency" for part in ("Proxy", "Upstream", "Response", "Admin")}),
        ("SERVER_tokens", {"Via", "Server"}),
        ("via, x-kong-UPSTREAM-status", {"Via", "X-Kong-Upstream-Status"}),
        ("server_tokens,Via", {"Via", "Server"}),
    ],
)
def test_headers(text: str, found: set[str]) -> None:
    """Tokens stand for their headers; names come back spelt as Kong spells them, however they were written."""
    assert option("headers", text).headers == found


@pytest.mark.parametrize("text", ["off, via", "X-Other", "via,"])
def test_headers_malformed(text: str) -> None:
    """Off stands alone, and no other header can be asked for."""
    assert refusal("headers", text).startswith("--headers: expected off alone, or some of server_tokens, latency_tok")


def test_headers_upstream() -> None:
    """Only the request id can be sent upstream."""
    assert option("headers_upstream", "x-kong-request-id").headers_upstream == {"X-Kong-Request-Id"}
    assert option("headers_upstream", "off").headers_upstream == frozenset()
    assert "got 'Via'" in refusal("headers_upstream", "Via")


def test_trusted_ips() -> None:
    """Addresses, blocks with or without host bits, and Unix sockets can be trusted."""
    found = option("trusted_ips", "10.0.0.1, 192.168.1.1/16,::/0, unix:").trusted_ips
    networks = [ip_network(text) for text in ("10.0.0.1/32", "192.168.0.0/16", "::/0")]
    assert found == TrustedPeers(tuple(networks), unix=True)
    assert "got '10.0.0.1/33'" in refusal("trusted_ips", "10.0.0.1, 10.0.0.1/33")


@pytest.mark.parametrize(
    ("text", "found"), [("0", 0), ("512", 512), ("1k", 1024), ("8M", 8 * 1024**2), ("1g", 1024**3)]
)
def test_sizes(text: str, found: int) -> None:
    """nginx's sizes are bytes, KiB, MiB or GiB."""
    assert option("nginx_http_client_max_body_size", text).nginx_http_client_max_body_size == found


@pytest.mark.parametrize(
    ("text", "found"), [("75", 75), ("60s", 60), ("1m", 60), ("500ms", 0.5), ("1h", 3600), ("0", 0)]
)
def test_times(text: str, found: float) -> None:
    """nginx's times are seconds, or of the unit they end in."""
    assert option("nginx_http_keepalive_timeout", text).nginx_http_keepalive_timeout == found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nginx_http_client_max_body_size", "-1"),
        ("nginx_http_client_max_body_size", "1t"),
        ("nginx_http_keepalive_timeout", "1 m"),
        ("nginx_http_keepalive_timeout", "1S"),
        ("nginx_http_large_client_header_buffers", "8k"),
        ("nginx_http_large_client_header_buffers", "0 8k"),
        ("nginx_http_keepalive_requests", "1.5"),
        ("nginx_http_keepalive_requests", "１"),
        ("upstream_keepalive_idle_timeout", "60s"),
        ("upstream_keepalive_pool_size", "1" * 5000),
        ("error_default_type", "image/png"),
        ("router_flavor", "expressions"),
        ("real_ip_header", "X Y"),
        ("nginx_events_worker_connections", "0"),
        ("nginx_events_worker_connections", "many"),
        ("port_maps", "80"),
        ("port_maps", "0:80"),
        ("dns_resolver", "ns.test"),
        ("dns_resolver", "127.0.0.1:0"),
        ("dns_order", "A,MX"),
        ("dns_error_ttl", "nan"),
        ("prefix", "a\0b"),
    ],
)
def test_malformed_values(name: str, text: str) -> None:
    """A value of the wrong kind or beyond its bounds is refused, also where the setting is inert."""
    assert refusal(name, text).startswith(f"--{name.replace('_', '-')}: expected ")


def test_other_values() -> None:
    """Port maps lead from our port to the clients'; name servers have ports; paths are absolute."""
    assert option("port_maps", "80:8000, 443:8443").port_maps == {8000: 80, 8443: 443}
    found = option("dns_resolver", "127.0.0.1, 127.0.0.1:5353, ::1, [::1], [::1]:54").dns_resolver
    assert found == (("127.0.0.1", 53), ("127.0.0.1", 5353), ("::1", 53), ("::1", 53), ("::1", 54))
    assert option("dns_order", "last,srv,AAAA").dns_order == ("LAST", "SRV", "AAAA")
    assert option("dns_valid_ttl", "0.5").dns_valid_ttl == 0.5
    assert option("prefix", "state").prefix == Path.cwd() / "state"
    assert option("prefix", "/opt/kong").prefix == Path("/opt/kong")
    assert option("allow_debug_header", "True").allow_debug_header is True


# -- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """A refused setting may say what holds anyway; any other value stops the start, with the reason."""
    assert option(name, REFUSED[name].only) == Settings()
    assert refusal(name, "other").endswith(f"got 'other': {REFUSED[name].reason}")


def test_every_name_has_one_status() -> None:
    """No setting is in two of the tables, or in none."""
    assert len(NAMES) == len(set(NAMES))
    assert all(map(is_known, NAMES))
    assert {item.name for item in fields(Settings)} == {*DECLARED, "inert", "ignored_environment", "given"}


def test_an_everyday_file(conf: Conf) -> None:
    """A file as users of Kong write it loads; what has no effect here changes nothing."""
    settings = conf.load(
        """
        prefix = /tmp/gateway
        proxy_listen = 127.0.0.1:9000
        admin_listen = 127.0.0.1:9001
        proxy_access_log = off
        admin_access_log = off
        worker_consistency = strict
        db_update_frequency = 0.1
        anonymous_reports = off
        nginx_worker_processes = 1
        dns_resolver = 127.0.0.1:1
        dns_hostsfile = /tmp/hosts
        status_listen = off
        """
    )
    assert settings.prefix == Path("/tmp/gateway")
    assert settings.dns_hostsfile == Path("/tmp/hosts")
    assert replace(settings, inert=()) == replace(
        Settings(),
        prefix=Path("/tmp/gateway"),
        proxy_access_log=None,
        proxy_listen=(Listener("127.0.0.1", 9000),),
        admin_listen=(Listener("127.0.0.1", 9001),),
        dns_resolver=(("127.0.0.1", 1),),
        dns_hostsfile=Path("/tmp/hosts"),
    )


# -- what is written about them --------------------------------------------------------------------------------


def test_documented() -> None:
    """docs/supported.md has the tables that `python -m twisted_kong.settings` prints, and no others of settings."""
    text = (ROOT / "docs" / "supported.md").read_text()
    section = text.partition("\n## Settings\n")[2].partition("\n## ")[0]
    assert section[section.index("### ") :].strip() == tables()


def test_tables_tell_every_setting_once() -> None:
    """Each known setting stands under its status, and nowhere else in the tables."""
    honoured, inert, refused = re.split(r"^### ", tables(), flags=re.MULTILINE)[1:]

    def told(table: str) -> list[str]:
        return [name for row in table.splitlines() for name in re.findall(r"`([a-z0-9_*]+)`", row.partition(" |")[0])]

    kept = [name for name, declared in DECLARED.items() if declared.inert]
    assert told(honoured) == [*(name for name in DECLARED if name not in kept), *PROXY_OVERRIDES]
    assert sorted(told(inert)) == sorted([*kept, *INERT, *(f"{prefix}*" for prefix in INERT_FAMILIES)])
    assert told(refused) == list(REFUSED)


def test_example_file(conf: Conf) -> None:
    """etc/kong.conf shows each honoured setting with its default; it loads as it is and with all uncommented."""
    text = (ROOT / "etc" / "kong.conf").read_text()
    assert conf.load(text) == Settings()
    uncommented = re.sub(r"^#([a-z0-9_]+ =)", r"\1", text, flags=re.MULTILINE)
    assert conf.load(uncommented) == Settings()
    shown = re.findall(r"^([a-z0-9_]+) = ?(.*)$", uncommented, flags=re.MULTILINE)
    assert sorted(shown) == sorted((name, one.default) for name, one in DECLARED.items() if not one.inert)
