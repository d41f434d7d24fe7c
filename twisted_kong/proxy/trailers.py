"""Fields that follow a body: which of them are passed on, and announced. Pure.

A trailer may not say where the message ends, where it goes, who asks or what its content is (RFC 9110 §6.5.1): what
somebody has decided by the head would be decided anew by somebody behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from twisted_kong.proxy.fields import CONNECTION_BOUND, TOKEN

_FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")

_NEVER = CONNECTION_BOUND | {
    b"age",
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"expires",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"range",
    b"retry-after",
    b"server",
    b"set-cookie",
    b"trailer",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
    b"x-real-ip",
}
_NEVER_FAMILIES = (b"if-", b"x-forwarded-", b"x-kong-", b"x-accel-", b"access-control-")


def passed_on(lines: Iterable[bytes]) -> bytes:
    """The block of those of ``lines``, checked already and without their ends, that go on; empty where none do."""
    block = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            continue
        name, value = match.groups()
        lowered = name.lower()
        if lowered not in _NEVER and not lowered.startswith(_NEVER_FAMILIES):
            block.append(b"%b: %b\r\n" % (name, value.rstrip(b" \t")))
    return b"".join(block)


def announced(names: bytes) -> bytes:
    """The line that announces those of the fields named that would go on (``Trailer``, RFC 9110 §6.6.2); or none."""
    said = [name.strip(b" \t") for name in names.split(b",")]
    going = [name for name in said if passed_on([name + b":"])]
    return b"Trailer: %b\r\n" % b", ".join(going) if going else b""
