"""Whatever a client sends over HTTP/1: a whole gateway in memory takes it, and origins that are sound answer.

What must hold:

- origins get requests of the normal form and nothing else; one that is incomplete ends with its connection;
- the client gets answers of the normal form, those of origins in the order of the requests and each to its own, and
  nothing behind one that closes;
- how the bytes were cut on their way makes no difference;
- what origins get is what llhttp, which is somebody else's parser, reads in the same bytes, or less of it.

The first byte says how: bit 0 whether bodies are streamed, bits 1 to 5 how the bytes are cut. The others are sent.
"""

from __future__ import annotations

import normal_form
from agreement import acceptable, assert_read_alike
from loopback import Lab, Line
from normal_form import Message
from pieces import cut, without_ids

REFUSALS = {400, 405, 408, 414, 417, 494, 501, 505}
"""Statuses of answers that no origin gives."""
LONGEST = 4096
"""Bytes of an input that are looked at."""


class Origins:
    """All there are behind a gateway. Each request is answered once it is complete, with its number."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.answered: list[Message] = []
        self._lines: list[tuple[Line, int]] = []

    def serve(self) -> None:
        """Answer whatever there is to be answered, until there is nothing."""
        lab = self._lab
        while True:
            before = len(self.answered)
            for dial in lab.dials:
                if dial.waiting:
                    self._lines.append((dial.accept(), 0))
            for index, (line, count) in enumerate(self._lines):
                complete = [each for each in normal_form.requests(line.received) if each.complete]
                assert len(complete) <= count + 1, "a request before the last one was answered"
                if len(complete) > count:
                    self._lines[index] = line, count + 1
                    self._answer(line, complete[count])
            lab.turns()
            if len(self.answered) == before and not any(dial.waiting for dial in lab.dials):
                return

    def _answer(self, line: Line, request: Message) -> None:
        body = b"" if request.method == b"HEAD" else b"%d" % len(self.answered)
        number = b"%d" % len(self.answered)
        self.answered.append(request)
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Number: %b\r\n\r\n%b" % (len(number), number, body))

    def check(self) -> None:
        """A request that is incomplete has ended with its connection."""
        for line, count in self._lines:
            if len(normal_form.requests(line.received)) > count:
                assert line.aborted

    def leave(self) -> None:
        """Close whatever is kept."""
        for line, _ in self._lines:
            if line.lost is None:
                line.close()

    def end(self, client: Line) -> None:
        """The client leaves: check what there was, and leave nothing behind in the lab."""
        lab = self._lab
        client.close()
        lab.turns()
        self.check()
        self.leave()
        lab.forget()


class Run:
    """The same bytes sent once: ``requests`` the origins got, and ``answers`` the client got."""

    def __init__(self, lab: Lab, pieces: list[bytes]) -> None:
        origins = Origins(lab)
        client = lab.client()
        for piece in pieces:
            client.send(piece)
            lab.turns()
            origins.serve()
        ended = client.ended
        origins.end(client)
        self.requests = [(*each.first, without_ids(repr(each.fields).encode()), each.body) for each in origins.answered]
        self.answered = origins.answered
        self.answers = [self._told(each) for each in self._read(client.received, ended)]

    def _read(self, received: bytes, ended: bool) -> list[Message]:
        """The answers, checked."""
        methods = [each.method for each in self.answered]
        try:
            answers = normal_form.answers(received, [*methods, b"GET"])  # one more may have been refused
        except AssertionError:
            answers = normal_form.answers(received, [*methods, b"HEAD"])
        numbers = [each.value(b"x-number") for each in answers if each.values(b"x-number")]
        assert numbers == [b"%d" % number for number in range(len(methods))]
        assert all(each.complete or each.value(b"connection") == b"close" for each in answers)
        closing = [each.value(b"connection") == b"close" for each in answers]
        assert not any(closing[:-1]), "an answer behind the last one"
        assert not any(closing) or ended
        return answers

    def _told(self, answer: Message) -> object:
        """What of an answer has to be the same however the bytes come; of two faults either may be the one told."""
        if answer.values(b"x-number"):
            return answer.status, without_ids(repr(answer.fields).encode()), answer.body
        assert answer.status in REFUSALS, answer
        return "refused", answer.value(b"connection")


class Target:
    """Runs; `__call__` is one execution."""

    def __init__(self) -> None:
        self._labs = [Lab(route={"request_buffering": not streamed}) for streamed in (False, True)]
        self._count = 0

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        plan, sent = data[0], acceptable(data[1:LONGEST])
        lab = self._labs[plan & 1]
        self._count += 1
        if not self._count % 64:
            for each in self._labs:
                each.network.advance(1000)  # let go of deadlines that nobody waits for any more
        whole = Run(lab, [sent])
        pieces = Run(lab, cut(sent, plan >> 1 & 31))
        assert whole.requests == pieces.requests, (whole.requests, pieces.requests)
        assert whole.answers == pieces.answers, (whole.answers, pieces.answers)
        if b"upgrade" not in sent.lower():  # llhttp takes no body from who wants to go on in another protocol
            assert_read_alike(sent, whole.answered)
