"""What came over a connection, read by llhttp."""

from __future__ import annotations

from dataclasses import dataclass, field

import httptools


@dataclass
class Message:
    """A request (``method``, ``target``) or an answer (``status``); names of fields in lower case, in order."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each == name]

    def value(self, name: bytes) -> bytes | None:
        """The one value of the field ``name``, None without it."""
        values = self.values(name)
        assert len(values) < 2, (name, values)
        return values[0] if values else None


class _Listener:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def on_message_begin(self) -> None:
        self.messages.append(Message())

    def on_url(self, url: bytes) -> None:
        self.messages[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.messages[-1].fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].complete = True


class _RequestListener(_Listener):
    parser: httptools.HttpRequestParser

    def on_headers_complete(self) -> None:
        self.messages[-1].method = self.parser.get_method()


class _ResponseListener(_Listener):
    parser: httptools.HttpResponseParser

    def on_headers_complete(self) -> None:
        self.messages[-1].status = self.parser.get_status_code()


def requests(data: bytes) -> list[Message]:
    """The requests in ``data``, the last of which may be incomplete.

    :raise httptools.HttpParserError: they are malformed.
    """
    listener = _RequestListener()
    listener.parser = httptools.HttpRequestParser(listener)
    listener.parser.feed_data(data)
    return listener.messages


def answers(data: bytes) -> list[Message]:
    """The same of answers, none of them to a HEAD."""
    listener = _ResponseListener()
    listener.parser = httptools.HttpResponseParser(listener)
    listener.parser.feed_data(data)
    return listener.messages


def answer(data: bytes) -> Message:
    """The only answer in ``data``."""
    (message,) = answers(data)
    return message
