"""Answers the gateway makes up itself: which media type, which bytes. Pure.

Kong's behaviour (3.9): the media type follows ``Accept``; without one, what the gateway decided by itself is told
in JSON, and what it failed at in the request's own type or the setting ``error_default_type``.
"""

from __future__ import annotations

import html
import json
from functools import lru_cache
from xml.sax.saxutils import escape

JSON, HTML, XML, PLAIN = b"application/json", b"text/html", b"application/xml", b"text/plain"
_KNOWN = frozenset([JSON, HTML, XML, PLAIN])


@lru_cache(maxsize=256)
def negotiate(accept: bytes) -> bytes | None:
    """The media type for an ``Accept`` value: by quality, then in the order given; None where all are refused."""
    best: bytes | None = None
    best_quality = 0.0
    for item in accept.split(b","):
        media_type, *parameters = (part.strip().lower() for part in item.split(b";"))
        quality = _quality(parameters)
        if media_type and quality > best_quality:
            best, best_quality = media_type, quality
    return None if best is None else _produced(best)


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _produced(media_type: bytes) -> bytes:
    """What we have for a media type that was asked for."""
    if media_type in _KNOWN:
        return media_type
    return PLAIN if media_type == b"text/*" else JSON


def media_type(accept: bytes | None, content_type: bytes | None, default: bytes, *, decided: bool) -> bytes:
    """The media type of an answer; ``decided`` tells a decision of the gateway from a failure."""
    if accept:
        return negotiate(accept[:1024]) or JSON
    if decided:
        return JSON
    return _produced((content_type or default).partition(b";")[0].strip().lower())


def body(message: str, request_id: str, media_type: bytes) -> bytes:
    """The body, byte for byte Kong's."""
    if media_type == JSON:
        text = f'{{\n  "message":{json.dumps(message, ensure_ascii=False)},\n  "request_id":"{request_id}"\n}}'
    elif media_type == HTML:
        text = _PAGE.format(message=html.escape(message, quote=False), id=request_id)
    elif media_type == XML:
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n'
            f"  <message>{escape(message)}</message>\n  <requestid>{request_id}</requestid>\n</error>\n"
        )
    else:
        text = f"{message}\nrequest_id: {request_id}\n"
    return text.encode()


def old_body(message: str) -> bytes:
    """The body as Kong 0.10 had it, always in JSON."""
    return json.dumps({"message": message}, separators=(",", ":")).encode() + b"\n"


_PAGE = """<!doctype html>
<html>
  <head>
    <meta charset="utf-8">
    <title>Error</title>
  </head>
  <body>
    <h1>Error</h1>
    <p>{message}.</p>
    <p>request_id: {id}</p>
  </body>
</html>
"""
