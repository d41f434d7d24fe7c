"""An origin that keeps what came over each connection, to the byte, and answers every request with its id."""

from __future__ import annotations

import socket
import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer

import normal_form
from normal_form import Message


class Recorder:
    """Listens on ``port``. ``identified`` is the field that has the id of a request, in lower case.

    What it is sent must be of the normal form; what is not is in ``malformed``. ``raw`` instead of an answer is sent
    as it is, and the connection closed behind it.
    """

    def __init__(self, identified: bytes) -> None:
        self.identified = identified
        self.raw: bytes | None = None
        self._lock = threading.Lock()
        self._requests: list[Message] = []
        self._malformed: list[bytes] = []
        self._received = 0
        recorder = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                recorder._serve(self.request)

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self) -> list[Message]:
        """The requests since the last time; there has been nothing else."""
        with self._lock:
            taken, self._requests = self._requests, []
            malformed, self._malformed = self._malformed, []
            received, self._received = self._received, 0
        assert malformed == []
        assert taken or not received, "something came that is no request"
        return taken

    def _serve(self, connection: socket.socket) -> None:
        unread = b""
        while True:
            try:
                piece = connection.recv(65536)
            except OSError:
                return
            with self._lock:
                self._received += len(piece)
            if not piece:
                return
            unread += piece
            try:
                while unread:
                    message, rest = normal_form.request(unread)
                    if not message.complete:
                        break
                    unread = rest
                    with self._lock:
                        self._requests.append(message)
                    if self._answer(connection, message):
                        return
            except AssertionError:
                with self._lock:
                    self._malformed.append(unread)
                return

    def _answer(self, connection: socket.socket, request: Message) -> bool:
        """Whether that was all on this connection."""
        if self.raw is not None:
            connection.sendall(self.raw)
            return True
        ids = b", ".join(request.values(self.identified))
        body = b"" if request.method == b"HEAD" else request.target[:1]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Seen: %b\r\n\r\n%b" % (len(body), ids, body))
        return False
