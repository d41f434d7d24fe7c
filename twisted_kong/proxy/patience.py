"""How long clients may take, and how much they may ask for: the settings, as connections need them. Pure."""

from __future__ import annotations

from twisted_kong.settings import Settings

LINGER = 5.0
"""Seconds a refused client may still send, so that it gets to read why (nginx's ``lingering_timeout``)."""

BEGINNING = 2048
"""Bytes of a request that could not be read that may be told."""


class Patience:
    """How many seconds a connection waits for what, and how many requests it may carry, in all and at a time.

    ``body_rate`` is how many bytes of a body have to come in a second, 0 for any number; ``resets`` and ``idle_frames``
    bound what makes work for nothing over HTTP/2.
    """

    def __init__(self, settings: Settings) -> None:
        self.head = settings.nginx_http_client_header_timeout
        self.body = settings.nginx_http_client_body_timeout
        self.body_rate = settings.client_body_min_rate
        self.told_of_body = f"nothing of the body came for {self.body} s"
        if self.body_rate:
            self.told_of_body += f", or less than {self.body_rate} bytes a second"
        self.send = settings.nginx_http_send_timeout
        self.idle = settings.nginx_http_keepalive_timeout
        self.streams = max(settings.nginx_http_http2_max_concurrent_streams, 1)
        self.resets = settings.max_http2_resets
        self.idle_frames = settings.max_http2_idle_frames
        self.requests = settings.nginx_http_keepalive_requests if settings.nginx_http_keepalive_timeout else 1

    def for_body(self, now: float) -> Pace | None:
        """The pace of a body that begins ``now``; None where a pause is all that is bounded."""
        return Pace(self.body, self.body_rate, now) if self.body_rate else None


class Pace:
    """How long a client may take for the next piece of a body that has to come at a least ``rate`` in bytes a second.

    It has ``patience`` seconds to begin with. Waiting for it uses them up, and every ``rate`` bytes earn one back.
    While it is not read from they last.
    """

    def __init__(self, patience: float, rate: int, now: float) -> None:
        self._patience = patience
        self._rate = rate
        self._left = patience
        self._since: float | None = now

    def wait(self, came: int, now: float) -> float:
        """Seconds to wait for more, ``came`` bytes having come."""
        if self._since is not None:
            self._left -= now - self._since
        self._left = min(self._left + came / self._rate, self._patience)
        self._since = now
        return max(self._left, 0.0)

    def hold(self, now: float) -> None:
        """It is not read from until the next `wait`."""
        if self._since is not None:
            self._left -= now - self._since
            self._since = None
