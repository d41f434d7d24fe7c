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
        self._in_head = False

    @property
    def complete(self) -> list[Message]:
        """Those of the messages that are."""
        return [message for message in self.messages if message.complete]

    def on_message_begin(self) -> None:
        self.messages.append(Message())
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # or else it is a trailer
            self.messages[-1].fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].complete = True


class RequestListener(_Listener):
    """Gathers the requests in what its ``parser`` is fed."""

    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.messages[-1].target += url

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.messages[-1].method = self.parser.get_method()


class AnswerListener(_Listener):
    """Gathers the answers in what its ``parser`` is fed."""

    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.messages[-1].status = self.parser.get_status_code()


def requests(data: bytes) -> list[Message]:
    """The requests in ``data``, the last of which may be incomplete.

    :raise httptools.HttpParserError: they are malformed.
    """
    listener = RequestListener()
    listener.parser.feed_data(data)
    return listener.messages


def answers(data: bytes) -> list[Message]:
    """The same of answers, none of them to a HEAD."""
    listener = AnswerListener()
    listener.parser.feed_data(data)
    return listener.messages


def answer(data: bytes) -> Message:
    """The only answer in ``data``."""
    (message,) = answers(data)
    return message
