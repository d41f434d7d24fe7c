"""Who is let into the Admin API, and what for: tokens on requests, as clients send them."""

from __future__ import annotations

import io
import secrets
from typing import Any

import pytest
from admin_api import AdminApi
from twisted.logger import capturedLogs

from twisted_kong.admin.doorkeeper import Doorkeeper
from twisted_kong.admin.logins import FailedLogins
from twisted_kong.admin.tokens import Role, make_token, read_callers
from twisted_kong.model.changes import Author, Change
from twisted_kong.store.memory import MemoryStore

WRITER, WRITES = make_token("deploy", Role.READ_WRITE, secrets.token_bytes)
READER, READS = make_token("prometheus", Role.READ_ONLY, secrets.token_bytes)
ADDRESS = "192.168.1.1"
"""Where clients in memory come from."""
REALM = 'Bearer realm="kong-admin"'


class Guarded(AdminApi):
    """An Admin API that asks who comes, three wrong tokens a minute; ``authors`` are those of all changes."""

    def __init__(self) -> None:
        self.authors: list[Author | None] = []
        self.doorkeeper = Doorkeeper(read_callers([WRITES, READS]), FailedLogins(3), lambda: self.clock.seconds())
        super().__init__(Noting(self.authors), doorkeeper=self.doorkeeper)


class Noting(MemoryStore):
    def __init__(self, authors: list[Author | None]) -> None:
        super().__init__()
        self._authors = authors

    def apply(self, change: Change) -> Any:
        self._authors.append(change.author)
        return super().apply(change)


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


def bearer(token: str) -> dict[str, Any]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {WRITER}"},
        {"authorization": f"bearer  {WRITER}"},
        {"Kong-Admin-Token": WRITER},
        {"kong_admin_token": WRITER, "Authorization": "Basic Zm9yOnNvbWVib2R5LWVsc2U="},
    ],
)
def test_let_in(guarded: Guarded, headers: dict[str, Any]) -> None:
    """A token that may write does, by either header, and what it writes bears its name and the client's address."""
    assert guarded.request("GET", "/services", **headers).status == 200
    made = guarded.request("POST", "/services", b'{"host": "a.test"}', Content_Type="application/json", **headers)
    assert made.status == 201
    assert guarded.authors == [Author("deploy", ADDRESS)]


@pytest.mark.parametrize("path", ["/", "/services", "/status", "/metrics", "/config", "/openapi.json", "/nowhere"])
def test_without_a_token(guarded: Guarded, path: str) -> None:
    """Who shows nothing is told what to show, wherever; that it did is no failed login."""
    for _ in range(5):
        answer = guarded.request("GET", path)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, REALM)
        assert answer.json == {"message": "a token is required: Authorization: Bearer, or Kong-Admin-Token"}


@pytest.mark.parametrize("credentials", ["Basic Zm9yOnNvbWVib2R5", "Bearer", WRITER, f"Token {WRITER}"])
def test_other_credentials(guarded: Guarded, credentials: str) -> None:
    """Authorization of another kind is for somebody else, and as good as none."""
    assert guarded.request("GET", "/", Authorization=credentials).status == 401


def test_read_only(guarded: Guarded) -> None:
    """Who may only read reads everything, has documents validated, and changes nothing."""
    reader = bearer(READER)
    assert guarded.request("GET", "/services", **reader).status == 200
    assert guarded.request("HEAD", "/services", **reader).status == 200
    validated = guarded.request(
        "POST", "/schemas/services/validate", b'{"host": "a"}', Content_Type="application/json", **reader
    )
    assert validated.status == 200
    for method, path in [
        ("POST", "/services"),
        ("PUT", "/services/a"),
        ("PATCH", "/services/a"),
        ("DELETE", "/services/a"),
        ("POST", "/config"),
        ("PUT", "/upstreams/u/targets/t/unhealthy"),
        ("POST", "/nowhere"),
    ]:
        answer = guarded.request(method, path, b"{}", Content_Type="application/json", **reader)
        assert (answer.status, answer.json) == (403, {"message": "'prometheus' may only read"})
        assert answer.headers["WWW-Authenticate"] == f'{REALM}, error="insufficient_scope"'
    assert guarded.authors == []


def test_preflight(guarded: Guarded) -> None:
    """A browser that asks whether its page may send a token is told, though it shows none yet."""
    asked: dict[str, Any] = {"Origin": "http://gui.test", "Access_Control_Request_Headers": "kong-admin-token"}
    answer = guarded.request("OPTIONS", "/services", **asked)
    assert (answer.status, answer.headers["Access-Control-Allow-Headers"]) == (204, "kong-admin-token")
    refused = guarded.request("GET", "/services", Origin="http://gui.test")
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, "http://gui.test")


def test_wrong_tokens(guarded: Guarded) -> None:
    """Wrong tokens are refused, too many of them with the time to wait; the right one is let in all the same."""
    for _ in range(3):
        answer = guarded.request("GET", "/", **bearer(WRITER[:-1]))
        assert (answer.status, answer.json) == (401, {"message": "this token is nobody's"})
        assert answer.headers["WWW-Authenticate"] == f'{REALM}, error="invalid_token"'
    answer = guarded.request("GET", "/", Kong_Admin_Token="x")
    assert (answer.status, answer.headers.get("Retry-After")) == (429, "20"), answer
    assert guarded.request("GET", "/", **bearer(WRITER)).status == 200
    guarded.clock.advance(20)
    assert guarded.request("GET", "/", Kong_Admin_Token="x").status == 401


def test_two_tokens(guarded: Guarded) -> None:
    """Which of two tokens would count cannot be told: neither does."""
    sent = f"GET / HTTP/1.1\r\nHost: a\r\nKong-Admin-Token: {WRITER}\r\nKong-Admin-Token: {WRITER}\r\n\r\n"
    protocol: Any = guarded.site.buildProtocol(None)
    from twisted.internet.testing import StringTransport

    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(sent.encode())
    assert transport.value().startswith(b"HTTP/1.1 401 ")


def test_bodies_of_strangers(guarded: Guarded) -> None:
    """What a stranger sends is not kept, however large, and the stranger hears who it is not, nothing else."""
    held = guarded.send("POST", "/services", b"x" * 100_000)
    assert held.answer is not None
    assert held.answer.status == 401
    protocol: Any = held._protocol
    channel = getattr(protocol, "_channel", protocol)
    kept = [each._body.getvalue() for each in channel.requests]
    assert not any(kept)


def test_no_token_is_logged(guarded: Guarded) -> None:
    """No log tells a token, right or wrong; lines of requests tell whose it was."""
    lines = io.StringIO()
    guarded.site.startFactory()
    guarded.site._logFile = lines
    wrong = "kga_wrong-but-perhaps-nearly-right"
    with capturedLogs() as events:
        for token in (WRITER, READER, wrong):
            guarded.request("DELETE", "/services/a", **bearer(token))
            guarded.request("GET", "/", Kong_Admin_Token=token)
    said = lines.getvalue() + repr([{**event} for event in events])
    guarded.site.stopFactory()
    printed, _, _ = said.partition("[{")
    assert " - deploy [" in printed
    assert " - prometheus [" in printed
    assert ADDRESS in repr(events)
    for token in (WRITER, READER, wrong):
        assert token not in said
        assert token.removeprefix("kga_") not in said


def test_nobody_is_asked(api: AdminApi) -> None:
    """Without a file of tokens a token says nothing, and everybody may do everything."""
    answer = api.request("POST", "/services", b'{"host": "a"}', Content_Type="application/json", **bearer("x"))
    assert answer.status == 201


def test_changed_meanwhile(guarded: Guarded) -> None:
    """Who is taken out of the file is a stranger with the next request."""
    assert guarded.request("GET", "/", **bearer(READER)).status == 200
    guarded.doorkeeper.callers = read_callers([WRITES])
    assert guarded.request("GET", "/", **bearer(READER)).status == 401
