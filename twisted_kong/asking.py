"""The Admin API asked by our own commands, over TCP or a socket in the file system, with the environment's token."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any

from twisted_kong.errors import StartupError
from twisted_kong.settings import Listener, Settings

PATIENCE = 5.0
"""Seconds that the Admin API has to answer."""
TOKEN = "KONG_ADMIN_TOKEN"
"""The variable of the environment that holds a token for it, if it wants one."""


class TokenWanted(StartupError):
    """The Admin API asks who we are."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP through a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


def ask(settings: Settings, path: str) -> Any:
    """What the Admin API answers to a GET.

    :raise StartupError: it does not, or not as it should.
    """
    where = admin_address(settings)
    token = os.environ.get(TOKEN)
    connection = next(filter(None, map(connection_to, settings.admin_listen)), None)
    if connection is None:
        raise StartupError(
            f"cannot ask the Admin API: expected an address or a unix: socket without ssl in admin_listen, got {where}"
        )
    try:
        connection.request("GET", path, headers={"Kong-Admin-Token": token} if token else {})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200:
            return json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StartupError(f"the Admin API does not answer at {where}: {error}") from None
    finally:
        connection.close()
    told = f"the Admin API at {where} answers GET {path} with {answer.status}"
    if answer.status in (401, 403, 429):
        raise TokenWanted(f"{told}: expected a token of its admin_tokens in {TOKEN}")
    raise StartupError(told)


def admin_address(settings: Settings) -> str:
    """Where the Admin API listens, as the settings say it."""
    return ", ".join(map(str, settings.admin_listen)) or "off"


def connection_to(listener: Listener) -> http.client.HTTPConnection | None:
    """A connection to who listens there; None where we do not know the way, or would have to trust a certificate."""
    if listener.ssl:
        return None
    if listener.endpoint is None:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)
        return http.client.HTTPConnection(host, listener.port, timeout=PATIENCE)
    kind, _, rest = listener.endpoint.partition(":")
    return UnixConnection(rest.partition(":")[0]) if kind == "unix" else None
