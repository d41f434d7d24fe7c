"""What two readers of the same bytes have to agree on, and the second reader, llhttp."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import httptools
import spoken
from spoken import Message

Fields = list[tuple[bytes, bytes]]


def acceptable(data: bytes) -> bytes:
    """``data`` without what llhttp alone refuses some of.

    The gateway encodes bytes beyond ASCII in targets, and drops chunk extensions and trailers.
    """
    data = re.sub(rb"[^\r\n]+ HTTP/1", lambda line: re.sub(rb"[\x80-\xff]", b"~", line[0]), data)
    data = re.sub(rb"(?m)^([0-9A-Fa-f]+)[ \t]*(;[^\x00-\x08\x0a-\x1f\x7f]*)?(?=\r\n)", rb"\1", data)
    return re.sub(rb"(?m)^(0+\r\n)([!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)+(?=\r\n)", rb"\1", data)


def read_by_llhttp(data: bytes, methods: list[bytes]) -> list[Message]:
    """The complete requests that llhttp finds before it gives up; ``methods`` are those the gateway has found.

    Methods it does not know are replaced by LINK, which it does.
    """
    found: list[Message] = []
    while data:
        listener = spoken.RequestListener()
        end = complete = 0
        try:
            for at in range(len(data)):
                listener.parser.feed_data(data[at : at + 1])
                if len(listener.complete) > complete:
                    end, complete = at + 1, len(listener.complete)
        except httptools.HttpParserError as error:
            data = data[end:].lstrip(b"\r\n")
            method = b"".join(methods[len(found) + len(listener.complete) :][:1])
            unknown = isinstance(error, httptools.HttpParserInvalidMethodError) and not _is_known(method)
            data = b"LINK" + data[len(method) :] if unknown and data.startswith(method + b" ") else b""
        else:
            data = b""
        found += listener.complete
    return found


@lru_cache(maxsize=1000)
def _is_known(method: bytes) -> bool:
    """Whether llhttp knows a method."""
    try:
        spoken.requests(method + b" / HTTP/1.1\r\n\r\n")
    except httptools.HttpParserError:
        return False
    return True


OURS = re.compile(
    rb"connection|content-length|transfer-encoding|host|via|x-real-ip|x-forwarded-(for|proto|host|port|path|prefix)"
    rb"|x-kong-request-id|te|trailer|keep-alive|proxy|proxy-connection|upgrade|expect|http2-settings"
)


def end_to_end(fields: Fields) -> Fields:
    """The fields of a message that are not the gateway's to change."""
    named = {each.strip().lower() for name, value in fields if name == b"connection" for each in value.split(b",")}
    return [(name, value.strip(b" \t")) for name, value in fields if not OURS.fullmatch(name) and name not in named]


class Request(Protocol):
    """A request that an origin got; names of fields in lower case."""

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def fields(self) -> Fields: ...
    @property
    def body(self) -> bytes: ...


def assert_read_alike(data: bytes, ours: Sequence[Request]) -> None:
    """The requests that the origin got are the first ones that llhttp reads in what the client sent.

    ``data`` is `acceptable`.
    """
    theirs = read_by_llhttp(data, [each.method for each in ours])
    assert len(ours) <= len(theirs), (ours, theirs)
    for our, their in zip(ours, theirs, strict=False):
        path = re.sub(
            rb"\Ahttps?://[^/?]*(?=([/?]?))", lambda match: b"" if match[1] == b"/" else b"/", their.target, flags=re.I
        )
        assert [value for name, value in our.fields if name == b"x-forwarded-path"] == [path.partition(b"?")[0]], (
            our,
            their,
        )
        assert our.target.partition(b"?")[1:] == path.partition(b"?")[1:], (our, their)
        assert our.method == their.method or their.method == b"LINK", (our, their)
        assert our.body == their.body, (our, their)
        assert end_to_end(our.fields) == end_to_end(their.fields), (our, their)
