"""What an exchange needs of whoever brings its request: our own server, or a site of somebody else."""

from __future__ import annotations

from typing import Protocol

from twisted_kong.proxy.wire import Wire


class Downstream(Protocol):
    """Where an exchange's answer goes. It calls ``client_gone`` and ``drained`` of the exchange."""

    congested: bool
    switching: bool
    """Whether it can `switch`."""

    def expect_body(self) -> None:
        """The body is wanted: ``body_received`` is to be called with its pieces, then ``body_ended``."""

    def hold_body(self, hold: bool) -> None:
        """Bring no more of the body for now, or go on."""

    def answer(self, status: int, reason: bytes, lines: bytes, length: int | None, content: bytes, ended: bool) -> None:
        """The answer begins: complete header ``lines``, the announced ``length`` (None: unknown), the first content."""

    def answer_more(self, content: bytes, ended: bool) -> None:
        """The answer goes on."""

    def answer_trailers(self, lines: bytes) -> None:
        """These lines follow the content; told before its last piece. Passed on where the client can take them."""

    def switch(self, lines: bytes) -> tuple[Wire, bytes]:
        """Answer 101 with these header lines; the connection, to be used as one likes, and what has come on it since
        the request."""

    def close_after(self) -> None:
        """The connection ends with this answer."""

    def answer_broken(self) -> None:
        """The answer cannot be completed: the client must notice."""
