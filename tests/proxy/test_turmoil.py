"""Many clients and origins at once, doing anything at any moment: what must hold whatever happens.

Every run is decided by its seed. Each request asks for a path of its own, and an origin answers with the path it was
asked for, so an answer in the wrong place is seen at once.
"""

from __future__ import annotations

from random import Random

import pytest
import spoken
from loopback import Dial, Lab, Line

STEPS = 800
SETTINGS = {
    "nginx_http_client_header_timeout": "7s",
    "nginx_http_client_body_timeout": "9s",
    "nginx_http_send_timeout": "11s",
    "nginx_http_keepalive_timeout": "13s",
    "nginx_http_keepalive_requests": "5",
    "nginx_http_client_body_buffer_size": "10k",
    "upstream_keepalive_pool_size": "2",
    "upstream_keepalive_idle_timeout": "5",
    "upstream_keepalive_max_requests": "4",
}
SERVICE = {"connect_timeout": 3000, "write_timeout": 5000, "read_timeout": 8000, "retries": 3}
TARGETS = ("10.0.0.1:80", "10.0.0.2:80", "n.test:80")


class Client:
    """Sends requests, in pieces and perhaps before the last one has been answered."""

    def __init__(self, random: Random, line: Line, number: int) -> None:
        self.line = line
        self.paths: list[bytes] = []
        self._random = random
        self._number = number
        self._unsent = b""

    def request(self) -> None:
        """Have one more request to send."""
        random = self._random
        path = b"/%d-%d" % (self._number, len(self.paths))
        self.paths.append(path)
        body = path * random.choice([0, 1, 1, 500, 40_000])
        head = b"%b %b HTTP/1.%d\r\nHost: a.test\r\n" % (
            random.choice([b"GET", b"PUT", b"POST"]),
            path,
            random.random() < 0.9,
        )
        if random.random() < 0.1:
            head += b"Expect: 100-continue\r\n"
        if body and random.random() < 0.5 and b"HTTP/1.1" in head:
            spoilt = random.random() < 0.1
            half = len(body) // 2
            chunks = (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]) if piece)
            self._unsent += (
                head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + (b"x" if spoilt else b"0\r\n\r\n")
            )
        elif body:
            self._unsent += head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        else:
            self._unsent += head + b"\r\n"

    def act(self) -> None:
        random = self._random
        kind = random.random()
        if self.line.lost is not None:
            return
        if kind < 0.2:
            self.request()
        elif kind < 0.7 and self._unsent:
            size = random.choice([1, 30, 1000, 100_000, 100_000])
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            self.line.send(piece)
        elif kind < 0.9:
            self.line.make_room(random.choice([100, 10_000, None]))
        elif kind < 0.91:
            self.line.close()
        elif kind < 0.92:
            self.line.reset()

    def check(self) -> None:
        """The answers are those of the requests, in their order; only the last one may be incomplete."""
        found = [each for each in spoken.answers(self.line.received) if each.status >= 200]
        assert len(found) <= len(self.paths)
        for path, answer in zip(self.paths, found, strict=False):
            if answer.status == 200:
                expected = path * 3000
                assert answer.body == expected if answer.complete else expected.startswith(answer.body)
            else:
                assert answer.status in {400, 408, 500, 502, 503, 504}
        assert all(answer.complete for answer in found[:-1])


class Origin:
    """Answers, in pieces, early or late, or breaks off."""

    def __init__(self, random: Random, line: Line) -> None:
        self.line = line
        self.asked: list[tuple[bytes, bytes]] = []
        self._random = random
        self._listener = spoken.RequestListener()
        self._answered = 0
        self._unsent = b""

    def act(self) -> None:
        random = self._random
        kind = random.random()
        self.listen()
        if self.line.lost is not None:
            return
        if kind < 0.7:
            self._answer()
            size = random.choice([1, 30, 1000, 100_000, 100_000, 100_000])
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            if piece:
                self.line.send(piece)
        elif kind < 0.9:
            self.line.make_room(random.choice([100, 100_000, None]))
        elif kind < 0.93:
            self.line.close()
        elif kind < 0.95:
            self.line.reset()

    def listen(self) -> None:
        """Take in what has come."""
        self._listener.parser.feed_data(self.line.take())
        self.asked = [(each.method, each.target) for each in self._listener.messages if each.method]

    def _answer(self) -> None:
        messages = self._listener.messages[self._answered :]
        if self._unsent or not messages or not messages[0].method:
            return
        if messages[0].complete or self._random.random() < 0.1:
            self._answered += 1
            body = messages[0].target * 3000
            self._unsent = self._random.choice(
                [
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body),
                    b"HTTP/1.1 100 Continue\r\n\r\n"
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\nspoilt" % (len(body), body),
                    b"nonsense",
                ]
            )


class Turmoil:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.lab = Lab(TARGETS, service=SERVICE, settings=SETTINGS, route={"request_buffering": random.random() < 0.5})
        self.clients: list[Client] = []
        self.origins: list[Origin] = []

    def step(self) -> None:
        random, lab = self.random, self.lab
        kind = random.random()
        if kind < 0.05:
            room = random.choice([None, None, 1000])
            self.clients.append(Client(random, lab.client(room=room), len(self.clients)))
        elif kind < 0.45 and self.clients:
            random.choice(self.clients).act()
        elif kind < 0.6:
            self.decide()
        elif kind < 0.9 and self.origins:
            random.choice(self.origins).act()
        else:
            lab.wait(random.choice([0, 0, 0, 0, 0, 0.1, 0.1, 0.5, 3]))

    def decide(self) -> None:
        """Somebody the gateway wants to reach is there, or is not."""
        random, lab = self.random, self.lab
        waiting: list[Dial] = [dial for dial in lab.dials if dial.waiting]
        if waiting and random.random() < 0.8:
            dial = random.choice(waiting)
            if random.random() < 0.8:
                self.origins.append(Origin(random, dial.accept(room=random.choice([None, None, 1000]))))
            else:
                dial.refuse()
        elif lab.names.asked:
            lab.names.answer("n.test", "10.0.0.3")

    def run(self) -> None:
        for _ in range(STEPS):
            self.step()
        for client in self.clients:
            if client.line.lost is None:
                client.line.reset()
        self.lab.assert_idle()
        self.lab.wait(10)
        for origin in self.origins:
            origin.listen()
        for client in self.clients:
            client.check()
        assert all(origin.line.lost is not None for origin in self.origins)
        posted = [path for origin in self.origins for method, path in origin.asked if method == b"POST"]
        assert len(posted) == len(set(posted))


@pytest.mark.parametrize("seed", range(60))
def test_turmoil(seed: int) -> None:
    """Every answer is that of its request, no POST is sent twice, and in the end nothing is left of anything."""
    Turmoil(seed).run()
