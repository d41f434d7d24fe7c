"""What all exchanges of a proxy share: the gateway's configuration alive, the pool, parsers, deadlines, settings."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from random import Random
from typing import TYPE_CHECKING, Any

from twisted_kong.errors import (
    BodyTooLarge,
    Http2Required,
    HttpsRequired,
    Nobody,
    NoRoute,
    NoService,
    ProxyError,
    Unauthorized,
)
from twisted_kong.model.entities import Consumer
from twisted_kong.proxy import answers, grpc, keyauth
from twisted_kong.proxy.admission import Admission
from twisted_kong.proxy.forwarding import Client, ResponseTokens, Trust, came_by_https
from twisted_kong.proxy.headers import RequestHead, RequestParser, ResponseParser
from twisted_kong.proxy.http2.framed import Shared
from twisted_kong.proxy.http2.heads import RequestHeads
from twisted_kong.proxy.http2.pool import StreamPool
from twisted_kong.proxy.outgoing import Outgoing
from twisted_kong.proxy.pool import Pool
from twisted_kong.proxy.recording import Recorder
from twisted_kong.proxy.refusing import Refusals
from twisted_kong.proxy.tracing import Tracer
from twisted_kong.renewal import Prepared
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names
from twisted_kong.settings import Settings
from twisted_kong.tasks import Deadlines
from twisted_kong.telemetry.traffic import Traffic
from twisted_kong.tls import client_defaults

if TYPE_CHECKING:
    from twisted_kong.routing.router import Match


IDS_AT_ONCE = 64
"""How many request ids are made together."""


class ProxyCore:
    """One proxy. ``exchanges`` counts the requests under way, ``requests`` all there ever were."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        gateway: Gateway,
        names: Names,
        random: Random,
        recorder: Recorder | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.reactor = reactor
        self.seconds: Callable[[], float] = reactor.seconds
        self.gateway = gateway
        self.names = names
        self.recorder = Recorder(Traffic()) if recorder is None else recorder
        self.tracer = tracer
        self.deadlines = Deadlines(reactor)
        self.refusals = Refusals(self.recorder.traffic.refused, reactor.seconds)
        lines, size = settings.nginx_http_large_client_header_buffers
        self.request_parser = RequestParser(size, lines * size, settings.max_header_fields)
        charset = settings.nginx_http_charset
        self.response_parser = ResponseParser(None if charset is None else charset.encode())
        self.pool = Pool(
            settings.upstream_keepalive_pool_size,
            settings.upstream_keepalive_max_requests,
            settings.upstream_keepalive_idle_timeout or None,
        )
        self.http2 = Shared()
        self.http2_requests = RequestHeads(self.request_parser)
        self.streams = StreamPool(
            self.http2,
            self.deadlines,
            self.response_parser,
            size=settings.upstream_keepalive_pool_size,
            max_requests=settings.upstream_keepalive_max_requests,
            idle=settings.upstream_keepalive_idle_timeout or None,
        )
        self.outgoing = Outgoing(gateway, client_defaults(settings))
        self._follow(settings)
        self.admission = Admission(*self._bounds(settings), self.refusals)
        self._random_bytes = random.randbytes
        self._ids: list[bytes] = []
        self._date = -1, b""
        self.exchanges = 0
        self.requests = 0

    def _follow(self, settings: Settings) -> None:
        """What is looked up for every connection or request."""
        self.tokens = ResponseTokens(settings.headers)
        self.tell_request_id = bool(settings.headers_upstream)
        self.trust = Trust(
            settings.trusted_ips.networks,
            settings.trusted_ips.unix,
            settings.real_ip_header.lower().encode(),
            settings.real_ip_recursive,
        )
        self._body_limit = settings.nginx_http_client_max_body_size
        self.body_memory = settings.nginx_http_client_body_buffer_size
        self.debug_allowed = settings.allow_debug_header
        self._tell_reason = settings.gateway_reason_header
        self._error_type = settings.error_default_type.encode()

    def _bounds(self, settings: Settings) -> tuple[int | None, int, Trust]:
        """How many connections there may be."""
        return settings.nginx_events_worker_connections, settings.max_connections_per_client, self.trust

    def prepare(self, settings: Settings) -> Prepared:
        """Get ready for other settings; those that are not renewable stay.

        :raise StartupError: a certificate or an authority that they name cannot be used.
        """
        defaults = client_defaults(settings)
        bounds = (
            settings.upstream_keepalive_pool_size,
            settings.upstream_keepalive_max_requests,
            settings.upstream_keepalive_idle_timeout or None,
        )

        def commit() -> None:
            self._follow(settings)
            self.admission.limit(*self._bounds(settings))
            self.pool.limit(*bounds)
            self.streams.limit(*bounds)
            self.outgoing.renew(defaults)

        return Prepared(commit)

    def new_request_id(self) -> bytes:
        """32 hexadecimal digits nobody else has."""
        self.requests += 1
        ids = self._ids
        if not ids:
            digits = self._random_bytes(16 * IDS_AT_ONCE).hex().encode()
            ids += [digits[at : at + 32] for at in range(0, len(digits), 32)]
        return ids.pop()

    def match(self, head: RequestHead, client: Client) -> Match:
        """The route of a request.

        :raise NoRoute: there is none.
        :raise RequestRefused: the path is malformed or climbs above the root.
        """
        router = self.gateway.router
        https = client.scheme == b"https"
        match = router.remembered.get((head.method, head.host, head.path, https, client.sni))
        if match is None:
            match = router.match(head.method, head.host, head.path, head.values, https, client.sni)
            if match is None:
                raise NoRoute
        return match

    def date_line(self, now: float) -> bytes:
        """The field Date of an answer made ``now``; the same for everybody within a second."""
        second = int(now)
        if second != self._date[0]:
            self._date = second, b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self._date[1]

    def check(self, head: RequestHead, client: Client, match: Match) -> Consumer | None:
        """Check a request against what a ``match`` demands; who asks, where that was found out.

        :raise HttpsRequired: it did not come encrypted, and has to.
        :raise NoService: there is nobody to send it to.
        :raise ProxyError: it is not gRPC as it has to be (`grpc.check`), or may not be let in (`keyauth.admit`).
        """
        route, plugin = match.route, match.key_auth
        if route.https_only or route.grpc:
            https = came_by_https(head, client, route.api)
            if route.grpc:
                grpc.check(head, https=https, https_only=route.https_only)
            elif not https:
                raise HttpsRequired(route.route.https_redirect_status_code, by_api=route.api is not None)
        consumer = None
        if plugin is not None:
            consumer = keyauth.admit(plugin.config, head, self.gateway.snapshot, self.seconds())
        if match.service is None:
            raise NoService
        return consumer

    def check_body_size(self, size: int) -> None:
        """:raise BodyTooLarge: ``size`` is beyond ``client_max_body_size``."""
        if self._body_limit and size > self._body_limit:
            raise BodyTooLarge(f"a body of more than {self._body_limit} bytes")

    def debug_lines(self, head: RequestHead, match: Match) -> bytes:
        """What ``Kong-Debug: 1`` is answered with."""
        if head.values(b"kong-debug") != [b"1"]:
            return b""
        lines = []
        route = match.route
        told = (("Route", route.route), ("Service", match.service)) if route.api is None else (("Api", route.api),)
        for kind, entity in told:
            if entity is not None:
                lines.append(f"Kong-{kind}-Id: {entity.id}\r\n")
                if entity.name is not None:
                    lines.append(f"Kong-{kind}-Name: {entity.name}\r\n")
        return "".join(lines).encode()

    def made_up(self, error: ProxyError, head: RequestHead | None, request_id: bytes) -> tuple[bytes, bytes]:
        """The header lines and the body of an answer that tells ``error``; ``head`` is None if it was unreadable."""
        accept = content_type = None
        if error.limit:
            self.refusals.counts.requests[error.limit] += 1
        if head is not None:
            accept = b", ".join(head.values(b"accept"))
            content_type = next(iter(head.values(b"content-type")), None)
            if head.minor == 2 and (grpc.is_grpc(content_type) or grpc.is_grpc(accept)):
                return self.date_line(self.seconds()) + grpc.lines(error), b""
        if isinstance(error, HttpsRequired) and error.by_api:
            media_type, body = answers.JSON, answers.old_body(error.message)
        else:
            media_type = answers.media_type(accept, content_type, self._error_type, decided=error.decided)
            body = answers.body(error.message, request_id.decode(), media_type)
        lines = b"%bContent-Type: %b; charset=utf-8\r\n" % (self.date_line(self.seconds()), media_type)
        if self._tell_reason and isinstance(error, Nobody) and error.why:
            lines += b"X-Gateway-Reason: %b\r\n" % error.why.encode()
        if isinstance(error, Unauthorized):
            lines += b"WWW-Authenticate: %b\r\n" % error.challenge
        if isinstance(error, Http2Required):
            lines += b"Connection: Upgrade\r\nUpgrade: HTTP/2\r\n"
        if isinstance(error, HttpsRequired) and head is not None:
            if error.status == 426:
                lines += b"Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n"
            else:
                lines += b"Location: https://%b%b\r\n" % (head.hostname, head.path + head.query)
        return lines, body

    def close(self) -> None:
        """Let go of every connection that waits in the pool, and of every timer."""
        self.pool.close()
        self.streams.close()
        self.deadlines.close()
