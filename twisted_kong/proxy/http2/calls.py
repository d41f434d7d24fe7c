"""What an exchange does in HTTP/2's way where its service is asked over that: gRPC's do.

An exchange has a `Call` for all of its attempts, and else knows of streams what it knows of connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_kong.proxy.headers import RequestHead
from twisted_kong.proxy.http2.client import UpstreamStream

if TYPE_CHECKING:
    from twisted_kong.proxy.core import ProxyCore


class Call:
    """One request to a peer over HTTP/2, whatever its attempts.

    ``trailers`` are the lines behind its body, ``scheme`` is ``https`` where it goes encrypted.
    """

    def __init__(self, core: ProxyCore, scheme: bytes) -> None:
        self.trailers = b""
        self._core = core
        self._scheme = scheme
        self._stream: UpstreamStream | None = None
        self._sent: bytes | None = b""  # of the body, as long as it is kept
        self._replaced = False

    def begin(self, stream: UpstreamStream, head: RequestHead, authority: bytes, path: bytes, lines: bytes) -> bytes:
        """Let ``stream`` send the head; what is left for an attempt to send of it is nothing."""
        self._stream = stream
        if b"\r\nTE: " not in lines:
            lines += b"TE: trailers\r\n"  # we can take them, and some servers of gRPC insist
        stream.head(head.method, self._scheme, authority, path + head.query, lines)
        return b""

    def sends(self, content: bytes, ended: bool) -> None:
        """A piece of the body is about to go. It is kept while it is little: a peer may not have looked at it."""
        if self._sent is not None:
            self._sent = self._sent + content if len(self._sent) + len(content) <= self._core.body_memory else None
        if ended and self.trailers and self._stream is not None:
            self._stream.trailers(self.trailers)

    def refused(self) -> bytes | None:
        """The peer has not looked at the request: what has gone of its body, to go again; None where it is lost."""
        kept, self._sent = self._sent, b""
        return kept

    def may_replace(self) -> bool:
        """Whether another connection may take the place of this one without counting: once."""
        first, self._replaced = not self._replaced, True
        return first
