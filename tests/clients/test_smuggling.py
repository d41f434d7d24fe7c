"""Requests that could be smuggled, and answers that could be split: through a gateway, alone and beside others.

Rows are refused, or passed on in one form (`smuggling_rows`). With nginx or HAProxy in front, whatever these let
through is to the gateway as many requests as to them, and every answer is for the request they take it for; with
either behind, they see as many as the gateway has passed on. After each row
somebody else asks, and gets what is theirs.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import http2_rows
import normal_form
import pytest
import spoken
from hpack import Decoder, Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame
from neighbours import NAMES, Neighbour
from normal_form import Message
from recorder import Recorder
from running_gateway import RunningGateway, running
from smuggling_rows import HOST, ROWS, Passed, Row
from splitting_rows import ANSWERS, Answered

from twisted_kong.proxy.http2.choice import PREFACE

OURS = re.compile(
    rb"host|connection|via|content-length|transfer-encoding|te|x-neighbour|x-real-ip|x-forwarded-\w+|x-kong-request-id"
)
QUIET = 0.5
"""Seconds after which a neighbour that waits for more of a request is left alone."""
LAST = b"GET /last HTTP/1.1\r\nHost: aa.test\r\nConnection: close\r\n\r\n"
BEHIND = {"nginx": b"bb.test", "haproxy": b"cc.test"}
"""Hosts, as long as any row's, that lead to the gateway's origin by way of a neighbour."""


class Street:
    """A gateway, its neighbours and the origin behind them all."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self.recorder = Recorder(b"x-kong-request-id")
        stack.callback(self.recorder.close)
        self.gateway: RunningGateway = stack.enter_context(running("http2"))
        self._fronts: dict[str, Neighbour] = {}
        self._backs: dict[str, Neighbour] = {}
        self._lead(b"", self.recorder.port)

    def _lead(self, host: bytes, port: int) -> None:
        name = host.decode().replace(".", "-") or "direct"
        with self.gateway.admin() as admin:
            service = {"name": name, "url": f"http://127.0.0.1:{port}", "retries": 0, "read_timeout": 3000}
            assert admin.ask("POST", "/services", service).status == 201
            route = {"paths": ["/"], "hosts": [host.decode()] if host else None}
            assert admin.ask("POST", f"/services/{name}/routes", route).status == 201

    def front(self, name: str) -> int:
        """The port of this neighbour in front of the gateway."""
        if name not in self._fronts:
            made = self._fronts[name] = Neighbour(name, self.gateway.proxy_port, self._directory / f"{name}-front")
            self._stack.callback(made.stop)
        return self._fronts[name].port

    def back(self, name: str) -> bytes:
        """The host that leads through this neighbour behind the gateway."""
        if name not in self._backs:
            made = self._backs[name] = Neighbour(name, self.recorder.port, self._directory / f"{name}-back")
            self._stack.callback(made.stop)
            self._lead(BEHIND[name], made.port)
        return BEHIND[name]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with ExitStack() as stack:
        yield Street(stack, tmp_path_factory.mktemp("street"))


def say(port: int, data: bytes, patience: float = 20) -> bytes:
    """All that is answered until the connection ends, or nothing comes for so many seconds."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                received += piece
        except (TimeoutError, ConnectionError):
            pass  # what has been answered by then counts
    return received


def read(received: bytes) -> list[spoken.Message]:
    """The final answers in what was received."""
    listener = spoken.AnswerListener()
    listener.parser.feed_data(received)
    return [each for each in listener.messages if each.status >= 200]


def told(request: Message) -> Passed:
    """A request that an origin has got."""
    fields = tuple(each for each in request.fields if not OURS.fullmatch(each[0]))
    return Passed(request.method, request.target, request.body, fields)


def named(row: Row) -> str:
    return f"{row.kind}-{row.name}"


every_row = pytest.mark.parametrize("row", ROWS, ids=named)


def exchange(street: Street, row: Row, host: bytes) -> tuple[list[Message], list[spoken.Message], list[Passed]]:
    """What origins get of a row with its requests for ``host``, what is answered, and what was to be passed on.

    Every answer of an origin is for the request that it is taken for.
    """
    street.recorder.take()
    ends = bool(row.status) or row.closes
    answers = read(say(street.gateway.proxy_port, (row.sent if ends else row.sent + LAST).replace(HOST, host)))
    requests = street.recorder.take()
    passed = [each._replace(body=each.body.replace(HOST, host)) for each in row.passed]
    assert answers[-1].value(b"connection") == b"close"
    ids = [each.value(b"x-kong-request-id") for each in requests]
    assert None not in ids, "a request that the gateway knows nothing of"
    assert len(set(ids)) == len(ids), "two requests that are one to the gateway"
    for answer in answers:
        if answer.values(b"x-seen"):
            assert answer.value(b"x-seen") == answer.value(b"x-kong-request-id") == ids.pop(0)
    assert ids == []
    return requests, answers, passed if ends else [*passed, Passed(b"GET", b"/last")]


@every_row
def test_alone(street: Street, row: Row) -> None:
    """The row is refused, or passed on in one form."""
    requests, answers, passed = exchange(street, row, HOST)
    assert [told(each) for each in requests] == passed
    assert [each.status for each in answers] == [200] * len(passed) + [row.status] * bool(row.status)


@pytest.mark.parametrize("name", NAMES)
@every_row
def test_in_front_of(street: Street, name: str, row: Row) -> None:
    """A neighbour behind the gateway sees the requests that the gateway has passed on, and no others.

    It may refuse some of them, and drop fields.
    """
    requests, answers, passed = exchange(street, row, street.back(name))
    assert len(answers) == len(passed) + bool(row.status)
    expected = [each._replace(fields=()) for each, answer in zip(passed, answers, strict=False) if answer.status == 200]
    assert [told(each)._replace(fields=()) for each in requests] == expected
    innocent(street, street.gateway.proxy_port, street.back(name), b"x-kong-request-id")


@pytest.mark.parametrize("name", NAMES)
@every_row
def test_behind(street: Street, name: str, row: Row) -> None:
    """To the gateway there are as many requests as to a neighbour in front of it, and each answer is for its own."""
    port = street.front(name)
    street.recorder.take()
    received = say(port, row.sent + LAST, QUIET)
    answers = read(received) if received.startswith(b"HTTP/1.") else []  # to HTTP/0.9 nginx answers without a head
    requests = street.recorder.take()
    ids = [each.value(b"x-neighbour") for each in requests]
    assert None not in ids, "a request that the neighbour knows nothing of"
    assert len(set(ids)) == len(ids), "two requests that are one to the neighbour"
    seen = {each.value(b"x-kong-request-id"): each.value(b"x-neighbour") for each in requests}
    for answer in answers:
        if answer.values(b"x-seen"):
            assert seen.pop(answer.value(b"x-seen")) == answer.value(b"x-asked")
    innocent(street, port, HOST, b"x-asked")


ASKED = b"GET / HTTP/1.1\r\nHost: aa.test\r\nConnection: close\r\n\r\n"
every_answer = pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.name)


@every_answer
def test_answer(street: Street, row: Answered) -> None:
    """The client gets the answer in its one form, or is told 502, or sees that its answer is broken."""
    street.recorder.raw = row.sent
    received = say(street.gateway.proxy_port, ASKED)
    street.recorder.raw = None
    (answer,) = normal_form.answers(received, [b"GET"])
    assert answer.status == row.status
    if row.status == 502:
        assert b"x-kong-request-id" in dict(answer.fields)
        assert b"hello" not in answer.body
    elif row.body is None:
        assert not answer.complete
    else:
        assert (answer.body, answer.complete, answer.trailers) == (row.body, True, [])
    assert not answer.values(b"x-evil")
    innocent(street, street.gateway.proxy_port, HOST, b"x-kong-request-id")


@pytest.mark.parametrize("name", NAMES)
@every_answer
def test_answer_behind(street: Street, name: str, row: Answered) -> None:
    """A neighbour in front of the gateway gets one answer as well, and the next request gets its own."""
    port = street.front(name)
    street.recorder.raw = row.sent
    received = say(port, ASKED)
    street.recorder.raw = None
    assert received.startswith(b"HTTP/1.1 %d " % row.status)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"X-Evil" not in head
    assert row.body is None or b"X-Evil" not in body.replace(row.body or b"\0", b"")
    innocent(street, port, HOST, b"x-asked")


@pytest.mark.parametrize("row", http2_rows.ROWS, ids=lambda row: row.name)
def test_from_http2(street: Street, row: http2_rows.Row) -> None:
    """A request over HTTP/2 is refused, or passed on in one form over HTTP/1.1."""
    street.recorder.take()
    answered = ask_over_http2(street.gateway.proxy_port, row)
    assert [told(each) for each in street.recorder.take()] == ([] if row.passed is None else [row.passed])
    assert answered is (row.passed is not None)
    innocent(street, street.gateway.proxy_port, HOST, b"x-kong-request-id")


def ask_over_http2(port: int, row: http2_rows.Row) -> bool:
    """Whether the one request on a connection was answered by the origin."""
    frames = [
        SettingsFrame(0),
        HeadersFrame(1, Encoder().encode(row.fields), flags=["END_HEADERS"]),
        DataFrame(1, row.body, flags=["END_STREAM"]),
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(PREFACE + b"".join(frame.serialize() for frame in frames))
        with connection.makefile("rb") as received:
            while True:
                frame, length = Frame.parse_frame_header(memoryview(received.read(9)))
                frame.parse_body(memoryview(received.read(length)))
                if isinstance(frame, HeadersFrame):
                    fields = {bytes(name): bytes(value) for name, value in Decoder().decode(frame.data, raw=True)}
                    return b"x-seen" in fields
                if isinstance(frame, (RstStreamFrame, GoAwayFrame)):
                    return False


def innocent(street: Street, port: int, host: bytes, identified: bytes) -> None:
    """Somebody else asks, and gets the answer to that."""
    street.recorder.take()
    (answer,) = read(say(port, LAST.replace(b"/last", b"/innocent").replace(HOST, host)))
    (request,) = street.recorder.take()
    assert (answer.status, request.target, request.body) == (200, b"/innocent", b"")
    assert answer.value(b"x-seen") == request.value(b"x-kong-request-id")
    ours = request.value(b"x-neighbour") if identified == b"x-asked" else request.value(identified)
    assert answer.value(identified) == ours
