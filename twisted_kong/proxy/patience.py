"""How long clients may take, and how much they may ask for: the settings, as connections need them. Pure."""

from __future__ import annotations

from twisted_kong.settings import Settings

LINGER = 5.0
"""Seconds a refused client may still send, so that it gets to read why (nginx's ``lingering_timeout``)."""

BEGINNING = 2048
"""Bytes of a request that could not be read that may be told."""


class Patience:
    """How many seconds a connection waits for what, and how many requests it may carry, in all and at a time."""

    def __init__(self, settings: Settings) -> None:
        self.head = settings.nginx_http_client_header_timeout
        self.body = settings.nginx_http_client_body_timeout
        self.send = settings.nginx_http_send_timeout
        self.idle = settings.nginx_http_keepalive_timeout
        self.streams = max(settings.nginx_http_http2_max_concurrent_streams, 1)
        self.requests = settings.nginx_http_keepalive_requests if settings.nginx_http_keepalive_timeout else 1
