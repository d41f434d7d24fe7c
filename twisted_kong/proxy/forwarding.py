"""What the gateway tells either side about the other: the fields it adds to requests and to responses. Pure.

Sources: Kong's documented behaviour (3.9) for the names and who may overrule them, RFC 9110 §7.6.3 for Via.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from twisted_kong import VERSION
from twisted_kong.model.entities import Api
from twisted_kong.proxy.fields import KNOWN_LINES, Meaning
from twisted_kong.proxy.headers import RequestHead, ResponseHead
from twisted_kong.routing.names import split_port

SERVER = b"kong/" + VERSION.encode()
_VIA = b"1.1 " + SERVER
_SERVER_LINE = b"Server: %b\r\n" % SERVER
_VIA_OVER_HTTP2 = b"2 " + SERVER


_BY_CONNECTION = b"proxy_protocol"
"""nginx's word for the PROXY header, in the place of a field's name."""
_WITH_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*)):([0-9]{1,5})")


class Trust:
    """Who is believed about the client before it, and in which field it says so.

    ``networks`` are the settings' ``trusted_ips``, ``unix`` whether peers on UNIX sockets are among them; ``field``
    is ``real_ip_header`` in lower case, ``recursive`` ``real_ip_recursive``. ``by_connection`` says that the PROXY
    header of the connection tells it, and no field of a request.
    """

    def __init__(
        self, networks: Collection[IPv4Network | IPv6Network], unix: bool, field: bytes, recursive: bool
    ) -> None:
        self._networks = networks
        self._unix = unix
        self._field = field
        self._recursive = recursive
        self.by_connection = field == _BY_CONNECTION

    def trusts(self, address: str) -> bool:
        """Whether the peer at ``address``, empty for a UNIX socket, is believed."""
        if not address:
            return self._unix
        if not self._networks:
            return False
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def client(self, head: RequestHead, peer: str) -> str:
        """The address of the client behind the trusted ``peer``: nginx's realip rules.

        Addresses are separated by commas or spaces, and may have a port. X-Forwarded-For may come more than once; of
        any other field the first one counts.
        """
        if self.by_connection:
            return peer
        values = head.values(self._field)
        if self._field != b"x-forwarded-for":
            values = values[:1]
        found = peer
        for text in reversed(b" ".join(values).replace(b",", b" ").decode("latin-1").split(" ")):
            if not text:
                continue
            address = _address(text)
            if address is None:
                break
            found = str(address)
            if not self._recursive or not self.trusts(found):
                break
        return found


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, perhaps with a port, an IPv6 address then in brackets; None where it is none."""
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        if not 0 < int(match[3]) < 65536:
            return None
        text = match[1] or match[2]
    if "%" in text:
        return None
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


class Client:
    """Who a request came from: the TCP peer's ``address`` (empty for a UNIX socket), the ``port`` and ``scheme``
    of the listener it came to, and whether it is ``trusted``. ``http2`` tells that it came over HTTP/2, ``via`` what
    is said of that (RFC 9110 §7.6.3); ``sni`` is the server name it asked for in TLS.

    ``known`` is the address of the client as far as the connection tells: the peer's, or what a PROXY header of a
    trusted peer has ``told`` where the settings want that to count.
    """

    __slots__ = ("address", "http2", "known", "plain", "port", "scheme", "sni", "trust", "trusted", "via")

    def __init__(
        self,
        address: str,
        port: int,
        scheme: bytes,
        trust: Trust,
        *,
        http2: bool = False,
        sni: bytes | None = None,
        told: str | None = None,
    ) -> None:
        self.http2 = http2
        self.via = _VIA_OVER_HTTP2 if http2 else _VIA
        self.sni = sni
        self.address = address
        self.port = port
        self.scheme = scheme
        self.trust = trust
        self.trusted = trust.trusts(address)
        self.known = address if told is None or not self.trusted or not trust.by_connection else told
        name = address.encode() or b"unix:"
        self.plain = (
            b"X-Real-IP: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\nVia: %b\r\n"
            % (name, name, scheme, port, self.via)
        )
        """What there is to say of a client that says nothing of itself."""

    def real(self, head: RequestHead) -> str:
        """The address of the client behind whoever sent ``head``, as far as that one is believed."""
        return self.trust.client(head, self.known) if self.trusted else self.address


def came_by_https(head: RequestHead, client: Client, api: Api | None) -> bool:
    """Whether a request was encrypted on its way: to us, or to somebody before us who says so.

    Only a trusted peer is believed; but by an ``api`` with ``http_if_terminated`` anybody who says it once (Kong 0.10).
    """
    if client.scheme == b"https":
        return True
    if api is None:
        return client.trusted and head.meaning.value(b"x-forwarded-proto") == b"https"
    said = head.meaning.value(b"x-forwarded-proto") or b""
    return api.http_if_terminated and said.lower() == b"https"


def asks_for_websocket(head: RequestHead) -> bool:
    """Whether a request is the handshake of WebSocket (RFC 6455 §4.1); every other Upgrade is no business of ours."""
    meaning = head.meaning
    return meaning.websocket and not meaning.has_body and head.method == b"GET"


def forwarded(head: RequestHead, client: Client, prefix: bytes | None) -> bytes:
    """The lines that tell the origin about the client, ``prefix`` being what was stripped from the path."""
    if client.trusted or head.meaning.claims:
        return _forwarded_with_claims(head, client, prefix)
    block = b"%bX-Forwarded-Host: %b\r\nX-Forwarded-Path: %b\r\n" % (client.plain, head.hostname, head.path)
    return block if prefix is None else b"%bX-Forwarded-Prefix: %b\r\n" % (block, prefix)


def _forwarded_with_claims(head: RequestHead, client: Client, prefix: bytes | None) -> bytes:
    """The same where the client has said something of itself: a trusted one is believed, others are replaced."""
    value = head.meaning.value
    peer = client.address.encode() or b"unix:"
    real = client.real(head).encode() or peer
    before = value(b"x-forwarded-for")
    via = value(b"via")
    lines = [
        b"X-Real-IP: %b\r\n" % real,
        b"X-Forwarded-For: %b\r\n" % (real if before is None else b"%b, %b" % (before, peer)),
        b"Via: %b\r\n" % (client.via if via is None else b"%b, %b" % (via, client.via)),
    ]
    facts = (
        (b"Proto", client.scheme),
        (b"Host", head.hostname),
        (b"Port", b"%d" % client.port),
        (b"Path", head.path),
        (b"Prefix", prefix),
    )
    for name, ours in facts:
        claim = value(b"x-forwarded-" + name.lower()) if client.trusted else None
        told = ours if claim is None else claim
        if told is not None:
            lines.append(b"X-Forwarded-%b: %b\r\n" % (name, told))
    if b"trailers" in (value(b"te") or b"").lower():
        lines.append(b"TE: trailers\r\n")
    return b"".join(lines)


def peer_host(authority: bytes, port: int, named: bytes | None, *, secure: bool) -> bytes:
    """The Host for a peer: what it is ``named`` by its upstream, or its own name or address; and its ``port``, unless
    that is the scheme's own. ``authority`` is the peer's in the clear, without port 80."""
    if not secure:
        return authority if named is None else named if port == 80 else b"%b:%d" % (named, port)
    name = split_port(authority)[0] if named is None else named
    return name if port == 443 else b"%b:%d" % (name, port)


def server_name(host: bytes) -> str:
    """Who is asked for in TLS where ``host`` is the Host (Kong's rule): its name, or an address without brackets."""
    return split_port(host)[0].decode().strip("[]").lower()


class ResponseTokens:
    """The fields the setting ``headers`` selects; ``tokens`` are their names."""

    def __init__(self, tokens: Collection[str]) -> None:
        names = {token.lower() for token in tokens}
        self._server = "server" in names
        self._via = "via" in names
        self._upstream_latency = "x-kong-upstream-latency" in names
        self._proxy_latency = "x-kong-proxy-latency" in names
        self._response_latency = "x-kong-response-latency" in names
        self._upstream_status = "x-kong-upstream-status" in names
        self._request_id = "x-kong-request-id" in names
        self._named_by: tuple[dict[Meaning, bytes], ...] = ({}, {})  # over HTTP/1 and HTTP/2
        self._told: dict[tuple[int, int], bytes] = {}

    def proxied(
        self, head: ResponseHead, request_id: bytes, upstream: float, proxy: float, http2: bool = False
    ) -> bytes:
        """The lines of a peer's answer that are not passed on as they are; latencies in seconds.

        ``http2`` says how the request came, which Kong has in the Via of its answer.
        """
        meaning = head.meaning
        named = self._named_by[http2].get(meaning)
        if named is None:
            named = self._name(meaning, http2)
        lines = named + self._tried(request_id, upstream, proxy)
        return lines + b"X-Kong-Upstream-Status: %d\r\n" % head.status if self._upstream_status else lines

    def _name(self, meaning: Meaning, http2: bool) -> bytes:
        """Server and Via of a peer's answer, remembered with what they follow from."""
        server = meaning.value(b"server")
        via = meaning.value(b"via")
        lines = b"Server: %b\r\n" % server if server is not None else self._named()
        if self._via:
            ours = _VIA_OVER_HTTP2 if http2 else _VIA
            lines += b"Via: %b\r\n" % (ours if via is None else b"%b, %b" % (via, ours))
        elif via is not None:
            lines += b"Via: %b\r\n" % via
        if meaning.remembered:
            known = self._named_by[http2]
            if len(known) >= KNOWN_LINES:
                known.clear()
            known[meaning] = lines
        return lines

    def failed(self, request_id: bytes, upstream: float, proxy: float) -> bytes:
        """The lines of an answer the gateway makes up after attempts."""
        return self._named() + self._tried(request_id, upstream, proxy)

    def decided(self, request_id: bytes, total: float) -> bytes:
        """The lines of an answer the gateway makes up by itself."""
        latency = b"X-Kong-Response-Latency: %d\r\n" % (total * 1000) if self._response_latency else b""
        return self._named() + latency + self._identified(request_id)

    def _named(self) -> bytes:
        return _SERVER_LINE if self._server else b""

    def _identified(self, request_id: bytes) -> bytes:
        return b"X-Kong-Request-Id: %b\r\n" % request_id if self._request_id else b""

    def _tried(self, request_id: bytes, upstream: float, proxy: float) -> bytes:
        milliseconds = int(upstream * 1000), int(proxy * 1000)
        told = self._told.get(milliseconds)
        if told is None:
            told = self._tell(*milliseconds)
        return told + request_id + b"\r\n" if self._request_id else told

    def _tell(self, upstream: int, proxy: int) -> bytes:
        """The lines of these latencies, remembered, and the beginning of the one with the request's id."""
        lines = []
        if self._upstream_latency:
            lines.append(b"X-Kong-Upstream-Latency: %d\r\n" % upstream)
        if self._proxy_latency:
            lines.append(b"X-Kong-Proxy-Latency: %d\r\n" % proxy)
        if self._request_id:
            lines.append(b"X-Kong-Request-Id: ")
        told = b"".join(lines)
        if len(self._told) >= KNOWN_LINES:
            self._told.clear()
        self._told[upstream, proxy] = told
        return told
