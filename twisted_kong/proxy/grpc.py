"""gRPC, as far as a gateway has to know it: which requests are, and how they are told of a failure. Pure.

Sources: the gRPC protocol over HTTP/2 for names and the coding of a message; Kong's documented behaviour (3.9) for
the status each HTTP status is told as.
"""

from __future__ import annotations

import re

from twisted_kong.errors import GrpcsRequired, Http2Required, NotGrpc, ProxyError
from twisted_kong.proxy.headers import RequestHead

PROTOCOLS = frozenset(["grpc", "grpcs"])
"""The protocols of services that are asked over HTTP/2."""

_TYPE = b"application/grpc"
_STATUSES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}
_CANCELLED, _UNKNOWN, _INVALID_ARGUMENT, _INTERNAL = 1, 2, 3, 13
_NOT_PLAIN = re.compile(rb"[^\x20-\x24\x26-\x7e]")


def is_grpc(media_type: bytes | None) -> bool:
    """Whether a media type is gRPC's, whatever messages are coded in; ``application/grpc-web`` is something else."""
    if media_type is None:
        return False
    kind = media_type.lower().partition(b";")[0].strip()
    return kind == _TYPE or kind.startswith(_TYPE + b"+")


def check(head: RequestHead, *, https: bool, https_only: bool) -> None:
    """Whether a request fits a route for gRPC; ``https`` says that it came encrypted.

    :raise NotGrpc: it is not gRPC.
    :raise Http2Required: it did not come over HTTP/2.
    :raise GrpcsRequired: it did not come encrypted, and has to.
    """
    if not is_grpc(next(iter(head.values(b"content-type")), None)):
        raise NotGrpc
    if head.minor != 2:
        raise Http2Required
    if https_only and not https:
        raise GrpcsRequired


def status(http: int) -> int:
    """gRPC's status for one of HTTP."""
    found = _STATUSES.get(http)
    if found is not None:
        return found
    if http < 300:
        return 0
    return _INTERNAL if http >= 500 else _INVALID_ARGUMENT if http >= 400 else _UNKNOWN


def lines(error: ProxyError) -> bytes:
    """The lines that tell a gRPC client of ``error``, in the place of a body."""
    code = _CANCELLED if isinstance(error, GrpcsRequired) else status(error.status)
    message = _NOT_PLAIN.sub(lambda match: b"%%%02X" % match[0][0], error.message.encode())
    return b"Content-Type: %b\r\ngrpc-status: %d\r\ngrpc-message: %b\r\n" % (_TYPE, code, message)
