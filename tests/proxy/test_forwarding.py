"""What origins are told about clients, and clients about origins and the gateway."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from twisted_kong.proxy.forwarding import SERVER, Client, ResponseTokens, Trust, forwarded
from twisted_kong.proxy.headers import RequestHead, RequestParser, ResponseHead, ResponseParser

VIA = b"1.1 " + SERVER
PROXY = "10.0.0.9"
STRANGER = "192.0.2.7"


def a_trust(*networks: str, field: bytes = b"x-real-ip", recursive: bool = False, unix: bool = False) -> Trust:
    return Trust([ip_network(network) for network in networks], unix, field, recursive)


def head(*lines: bytes, target: bytes = b"/a?b", host: bytes = b"a.test:8000") -> RequestHead:
    first = b"GET %b HTTP/1.1\r\nHost: %b" % (target, host)
    return RequestParser(8192, 32768).parse(b"\r\n".join((first, *lines)))


def told(
    *lines: bytes,
    address: str = STRANGER,
    trust: Trust | None = None,
    prefix: bytes | None = None,
    scheme: bytes = b"http",
    target: bytes = b"/a?b",
    source: str | None = None,
) -> dict[bytes, bytes]:
    """The fields an origin is told, by lower-case name."""
    client = Client(address, 8000, scheme, trust or a_trust("10.0.0.0/8"), told=source)
    block = forwarded(head(*lines, target=target), client, prefix)
    assert block.endswith(b"\r\n")
    fields = [line.split(b": ", 1) for line in block.split(b"\r\n")[:-1]]
    found = {name.lower(): value for name, value in fields}
    assert len(found) == len(fields)
    return found


PLAIN = {
    b"x-real-ip": b"192.0.2.7",
    b"x-forwarded-for": b"192.0.2.7",
    b"x-forwarded-proto": b"http",
    b"x-forwarded-host": b"a.test",
    b"x-forwarded-port": b"8000",
    b"x-forwarded-path": b"/a",
    b"via": VIA,
}
CLAIMS = {
    b"X-Forwarded-Proto": b"https",
    b"X-Forwarded-Host": b"claimed.test",
    b"X-Forwarded-Port": b"1234",
    b"X-Forwarded-Path": b"/claimed",
    b"X-Forwarded-Prefix": b"/prefix",
}
CLAIMED = [b"%b: %b" % claim for claim in CLAIMS.items()]


# -- requests --------------------------------------------------------------------------------------------------


def test_client_that_says_nothing() -> None:
    """Address, protocol, host, port and path of a request are told."""
    assert told() == PLAIN
    assert told(prefix=b"/a") == {**PLAIN, b"x-forwarded-prefix": b"/a"}
    assert told(scheme=b"https")[b"x-forwarded-proto"] == b"https"


def test_silent_client_that_is_trusted() -> None:
    """A trusted peer that says nothing is the client itself."""
    address = {b"x-real-ip": b"10.0.0.9", b"x-forwarded-for": b"10.0.0.9"}
    assert told(address=PROXY) == {**PLAIN, **address}
    assert told(address=PROXY, prefix=b"/a") == {**PLAIN, **address, b"x-forwarded-prefix": b"/a"}


def test_stranger_is_not_believed() -> None:
    """What a stranger claims about itself is replaced, and a prefix where nothing was stripped is removed."""
    assert told(*CLAIMED, b"X-Real-IP: 10.9.9.9") == PLAIN
    assert told(*CLAIMED, prefix=b"/a") == {**PLAIN, b"x-forwarded-prefix": b"/a"}


def test_trusted_peer_is_believed() -> None:
    """What a trusted peer says of the client before it is passed on."""
    found = told(*CLAIMED, address=PROXY)
    assert {name: found[name.lower()] for name in CLAIMS} == CLAIMS
    assert told(*CLAIMED, address=PROXY, prefix=b"/a")[b"x-forwarded-prefix"] == b"/prefix"


def test_path_is_the_clients() -> None:
    """The path told is the one that was asked for, byte for byte, without authority and query."""
    assert told(target=b"/a/../%62//c?d")[b"x-forwarded-path"] == b"/a/../%62//c"
    found = told(target=b"http://b.test:81/x?y")
    assert (found[b"x-forwarded-path"], found[b"x-forwarded-host"]) == (b"/x", b"b.test")


@pytest.mark.parametrize("address", [PROXY, STRANGER])
def test_way_is_appended_to(address: str) -> None:
    """Every peer is appended to X-Forwarded-For, and we to Via, whoever it is."""
    found = told(
        b"X-Forwarded-For: 10.1.1.1", b"Via: 2 x", b"x-forwarded-for: 10.2.2.2", b"Via: 1.0 y", address=address
    )
    assert found[b"x-forwarded-for"] == b"10.1.1.1, 10.2.2.2, " + address.encode()
    assert found[b"via"] == b"2 x, 1.0 y, " + VIA


@pytest.mark.parametrize(
    ("te", "passed"),
    [(b"trailers", True), (b"gzip, Trailers", True), (b"trailers;q=0.5", True), (b"gzip", False), (b"", False)],
)
def test_te(te: bytes, passed: bool) -> None:
    """Of TE only the readiness for trailers is passed on."""
    assert told(b"TE: " + te).get(b"te") == (b"trailers" if passed else None)


@pytest.mark.parametrize(
    ("field", "recursive", "lines", "real"),
    [
        (b"x-real-ip", False, [b"X-Real-IP: 192.0.2.1"], b"192.0.2.1"),
        (b"x-real-ip", False, [b"X-Real-IP: 2001:db8::1"], b"2001:db8::1"),
        (b"x-real-ip", False, [b"X-Real-IP: nonsense"], b"10.0.0.9"),
        (b"x-real-ip", False, [b"X-Real-IP:"], b"10.0.0.9"),
        (b"x-real-ip", False, [b"X-Forwarded-For: 192.0.2.1"], b"10.0.0.9"),
        (
            b"x-real-ip",
            False,
            [b"X-Real-IP: 192.0.2.1", b"X-Real-IP: 192.0.2.2"],
            b"192.0.2.1",
        ),  # nginx 1.22: the first
        (b"x-real-ip", False, [b"X-Real-IP: 192.0.2.1, 192.0.2.2"], b"192.0.2.2"),
        (b"x-real-ip", False, [b"X-Real-IP: nonsense 192.0.2.2,"], b"192.0.2.2"),
        (b"x-real-ip", False, [b"X-Real-IP: 192.0.2.1:77"], b"192.0.2.1"),
        (b"x-real-ip", False, [b"X-Real-IP: 192.0.2.1:0"], b"10.0.0.9"),
        (b"x-real-ip", False, [b"X-Real-IP: [2001:DB8::1]:77"], b"2001:db8::1"),
        (b"x-real-ip", False, [b"X-Real-IP: [2001:db8::1]"], b"10.0.0.9"),
        (b"x-real-ip", False, [b"X-Real-IP: fe80::1%eth0"], b"10.0.0.9"),
        (b"x-real-ip", False, [b"X-Real-IP: ::ffff:192.0.2.1"], b"192.0.2.1"),
        (b"x-forwarded-for", False, [b"X-Forwarded-For: 192.0.2.1, 192.0.2.2"], b"192.0.2.2"),
        (b"x-forwarded-for", False, [b"X-Forwarded-For: 192.0.2.1, 10.1.1.1"], b"10.1.1.1"),
        (b"x-forwarded-for", True, [b"X-Forwarded-For: 192.0.2.1, 192.0.2.2"], b"192.0.2.2"),
        (b"x-forwarded-for", True, [b"X-Forwarded-For: 192.0.2.1, 10.1.1.1 ,10.2.2.2"], b"192.0.2.1"),
        (b"x-forwarded-for", True, [b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 10.1.1.1"], b"192.0.2.1"),
        (b"x-forwarded-for", True, [b"X-Forwarded-For: 10.1.1.1, 10.2.2.2"], b"10.1.1.1"),
        (b"x-forwarded-for", True, [b"X-Forwarded-For: 192.0.2.1, nonsense, 10.1.1.1"], b"10.1.1.1"),
        (b"x-forwarded-for", False, [b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: nonsense"], b"10.0.0.9"),
        (b"x-forwarded-for", True, [b"X-Forwarded-For: 192.0.2.1,10.1.1.1:80 10.2.2.2"], b"192.0.2.1"),
        (b"x-own", True, [b"X-Own: 192.0.2.1"], b"192.0.2.1"),
        (b"x-own", True, [b"X-Own: 192.0.2.1", b"X-Own: 10.1.1.1"], b"192.0.2.1"),
        (b"proxy_protocol", True, [b"Proxy_Protocol: 192.0.2.1", b"X-Real-IP: 192.0.2.1"], b"10.0.0.9"),
    ],
)
def test_real_address(field: bytes, recursive: bool, lines: list[bytes], real: bytes) -> None:
    """Where a trusted peer tells the client's address is a setting, and whether trusted ones before it are skipped."""
    trust = a_trust("10.0.0.0/8", field=field, recursive=recursive)
    assert told(*lines, address=PROXY, trust=trust)[b"x-real-ip"] == real
    assert told(*lines, address=STRANGER, trust=trust)[b"x-real-ip"] == b"192.0.2.7"


@pytest.mark.parametrize(
    ("field", "address", "source", "real"),
    [
        (b"proxy_protocol", PROXY, "192.0.2.1", b"192.0.2.1"),
        (b"proxy_protocol", PROXY, None, b"10.0.0.9"),
        (b"proxy_protocol", STRANGER, "192.0.2.1", b"192.0.2.7"),
        (b"x-real-ip", PROXY, "192.0.2.1", b"10.0.0.9"),
    ],
)
def test_real_address_by_the_connection(field: bytes, address: str, source: str | None, real: bytes) -> None:
    """A PROXY header counts where the settings say so, and then of trusted peers; the way ends with the peer anyway."""
    trust = a_trust("10.0.0.0/8", field=field)
    assert told(address=address, trust=trust, source=source)[b"x-real-ip"] == real
    assert told(address=address, trust=trust, source=source)[b"x-forwarded-for"] == real
    way = told(b"X-Forwarded-For: 203.0.113.1", address=address, trust=trust, source=source)[b"x-forwarded-for"]
    assert way == b"203.0.113.1, " + address.encode()


def test_real_address_without_a_way() -> None:
    """Where a trusted peer tells the client's address but no way, the way begins with the client."""
    assert told(b"X-Real-IP: 192.0.2.1", address=PROXY)[b"x-forwarded-for"] == b"192.0.2.1"


@pytest.mark.parametrize(
    ("networks", "unix", "address", "trusted"),
    [
        ([], False, "10.0.0.9", False),
        ([], False, "", False),
        ([], True, "", True),
        ([], True, "10.0.0.9", False),
        (["10.0.0.0/8"], False, "10.0.0.9", True),
        (["10.0.0.0/8"], False, "11.0.0.9", False),
        (["10.0.0.0/8"], False, "2001:db8::1", False),
        (["10.0.0.0/8", "2001:db8::/32"], False, "2001:db8::1", True),
        (["10.0.0.0/8"], False, "no address", False),
        (["0.0.0.0/0"], False, "", False),
    ],
)
def test_trust(networks: list[str], unix: bool, address: str, trusted: bool) -> None:
    """Peers are trusted by network, those on Unix sockets by a word of their own, and nobody by default."""
    assert a_trust(*networks, unix=unix).trusts(address) is trusted


def test_unix_socket() -> None:
    """A peer on a Unix socket has a name for an address."""
    found = told(address="", trust=a_trust())
    assert (found[b"x-real-ip"], found[b"x-forwarded-for"]) == (b"unix:", b"unix:")
    assert told(b"X-Real-IP: 192.0.2.1", address="", trust=a_trust(unix=True))[b"x-real-ip"] == b"192.0.2.1"


# -- answers ---------------------------------------------------------------------------------------------------

ALL = {"Server", "Via", "X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency", "X-Kong-Response-Latency"}
ALL |= {"X-Kong-Upstream-Status", "X-Kong-Request-Id"}


def an_answer(*lines: bytes) -> ResponseHead:
    return ResponseParser().parse(b"\r\n".join((b"HTTP/1.1 201 Created", *lines)))


def fields(block: bytes) -> dict[str, bytes]:
    found = dict(line.split(b": ", 1) for line in block.split(b"\r\n") if line)
    return {name.decode(): value for name, value in found.items()}


def test_proxied_answer() -> None:
    """A proxied answer carries who we are, how long it took, the origin's status and the request's id."""
    assert fields(ResponseTokens(ALL).proxied(an_answer(), b"id", 0.0129, 0.0019)) == {
        "Server": SERVER,
        "Via": VIA,
        "X-Kong-Upstream-Latency": b"12",
        "X-Kong-Proxy-Latency": b"1",
        "X-Kong-Request-Id": b"id",
        "X-Kong-Upstream-Status": b"201",
    }


def test_answers_of_our_own() -> None:
    """An answer of the gateway's own carries its time, after attempts those of a proxied one, and never a Via."""
    tokens = ResponseTokens(ALL)
    assert fields(tokens.decided(b"id", 0.0129)) == {
        "Server": SERVER,
        "X-Kong-Response-Latency": b"12",
        "X-Kong-Request-Id": b"id",
    }
    assert fields(tokens.failed(b"id", 0.0129, 0.0019)) == {
        "Server": SERVER,
        "X-Kong-Upstream-Latency": b"12",
        "X-Kong-Proxy-Latency": b"1",
        "X-Kong-Request-Id": b"id",
    }


@pytest.mark.parametrize("name", sorted(ALL))
def test_selection(name: str) -> None:
    """Each field can be had alone, in any spelling, wherever it has a place."""
    for spelled in (name, name.lower(), name.upper()):
        tokens = ResponseTokens([spelled])
        blocks = (
            tokens.proxied(an_answer(), b"id", 0, 0),
            tokens.failed(b"id", 0, 0),
            tokens.decided(b"id", 0),
        )
        assert {each for block in blocks for each in fields(block)} == {name}


def test_nothing_selected() -> None:
    """Without any, nothing is said but what the origin has said of itself."""
    tokens = ResponseTokens([])
    assert tokens.proxied(an_answer(), b"id", 0, 0) == tokens.failed(b"id", 0, 0) == tokens.decided(b"id", 0) == b""
    proxied = tokens.proxied(an_answer(b"Server: mine", b"Via: 1.1 x"), b"id", 0, 0)
    assert fields(proxied) == {"Server": b"mine", "Via": b"1.1 x"}


@pytest.mark.parametrize("names", [ALL, {"Via"}])
def test_server_and_via_of_the_origin(names: set[str]) -> None:
    """The origin's Server is kept and its Via extended, the second time as the first."""
    tokens = ResponseTokens(names)
    parser = ResponseParser()
    for _ in range(2):
        answer = parser.parse(b"HTTP/1.1 200 OK\r\nServer: mine\r\nVia: 2 x\r\nvia: 1.1 y")
        found = fields(tokens.proxied(answer, b"id", 0, 0))
        assert (found["Server"], found["Via"]) == (b"mine", b"2 x, 1.1 y, " + VIA)
        other = fields(tokens.proxied(parser.parse(b"HTTP/1.1 200 OK"), b"id", 0, 0))
        assert (other.get("Server"), other["Via"]) == (SERVER if "Server" in names else None, VIA)
