"""HTTP/2 as h2spec examines it, against a whole gateway and an origin behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from h2spec_program import BUILDING, examine, find_h2spec
from running_gateway import running

pytestmark = [pytest.mark.needs("h2spec"), pytest.mark.timeout(BUILDING + 300)]


class Origin(BaseHTTPRequestHandler):
    """Reads a body in any framing, and answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "chunked" in (self.headers["Transfer-Encoding"] or ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
        content = b"0123456789" * 10
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_POST = do_HEAD = do_PUT = do_OPTIONS = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""


@contextmanager
def an_origin() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


AS_HTTP1 = "Sends invalid connection preface"
"""In the clear, what does not begin with HTTP/2's preface is a request of HTTP/1, and is answered as one."""


@pytest.mark.parametrize("buffering", [False, True])
def test_in_the_clear(buffering: bool, tmp_path: Path) -> None:
    """By prior knowledge every case passes, but for the one that a listener for HTTP/1 as well cannot pass."""
    program = find_h2spec()
    with running("http2") as gateway, an_origin() as port, gateway.admin() as admin:
        service = {"name": "s", "url": f"http://127.0.0.1:{port}"}
        assert admin.ask("POST", "/services", service).status == 201
        route = {"paths": ["/"], "request_buffering": buffering}
        assert admin.ask("POST", "/services/s/routes", route).status == 201
        cases = examine(program, gateway.proxy_port, tmp_path / "report.xml")
        assert "Traceback" not in gateway.printed()
    assert len(cases) >= 140
    assert [case for case in cases if case.failure and case.title != AS_HTTP1] == []


def test_over_tls(tmp_path: Path) -> None:
    """Over TLS, where HTTP/2 has been agreed on, every case passes."""
    program = find_h2spec()
    with running("ssl http2") as gateway, an_origin() as port, gateway.admin() as admin:
        service = {"name": "s", "url": f"http://127.0.0.1:{port}"}
        assert admin.ask("POST", "/services", service).status == 201
        assert admin.ask("POST", "/services/s/routes", {"paths": ["/"]}).status == 201
        cases = examine(program, gateway.proxy_port, tmp_path / "report.xml", "-t", "-k")
        assert "Traceback" not in gateway.printed()
    assert len(cases) >= 140
    assert [case for case in cases if case.failure] == []
