"""How the Admin API is kept from those it is not for: who may come in, and where it may listen.

Whoever may use it rules the gateway. So it listens on this machine alone unless somebody says otherwise, and does not
start where others could reach it and nobody would ask them who they are. TLS alone is no door: it keeps secret what is
said, to anybody who comes. A token, or a client certificate that is demanded, is one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from twisted_kong.admin.doorkeeper import Doorkeeper
from twisted_kong.admin.logins import FailedLogins
from twisted_kong.admin.request import AdminSite
from twisted_kong.admin.tokens import Callers, Malformed, read_callers
from twisted_kong.certified import admin_context, over_tls
from twisted_kong.errors import StartupError
from twisted_kong.listening import listen
from twisted_kong.renewal import Prepared, Renewals
from twisted_kong.settings import Listener, Settings

log = Logger()

REMEDY = (
    "name a file of tokens in admin_tokens (`kong-gateway token` makes them), or demand client certificates with"
    " nginx_admin_ssl_verify_client = on; or, if really everybody may, set admin_open_to_everyone = on"
)


def make_doorkeeper(settings: Settings, reactor: Any) -> Doorkeeper:
    """Who lets people in where these settings hold.

    :raise StartupError: their file of tokens cannot be used.
    """
    return Doorkeeper(callers_of(settings), FailedLogins(settings.admin_failed_logins), reactor.seconds)


def prepare_callers(doorkeeper: Doorkeeper, settings: Settings) -> Prepared:
    """Read the file of tokens anew.

    :raise StartupError: it cannot be used; who may come in stays as it is.
    """
    return Prepared(partial(setattr, doorkeeper, "callers", callers_of(settings)))


def callers_of(settings: Settings) -> Callers | None:
    """Everybody who may use the Admin API; None where nobody is asked.

    :raise StartupError: the file cannot be read or understood, or anybody could write to it.
    """
    path = settings.admin_tokens
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as lines:
            if os.fstat(lines.fileno()).st_mode & stat.S_IWOTH:
                raise StartupError(f"admin_tokens: expected a file that not everybody can write to, got {path}")
            return read_callers(lines)
    except OSError as error:
        raise StartupError(f"admin_tokens: expected a file that can be read, got {path}: {error.strerror}") from None
    except Malformed as malformed:
        raise StartupError(f"admin_tokens: {path}: {malformed}") from None
    except UnicodeDecodeError:
        raise StartupError(f"admin_tokens: expected UTF-8 in {path}") from None


def check_doors(settings: Settings) -> None:
    """Whether the Admin API may listen where the settings say, as far as they tell.

    :raise StartupError: others could reach it, and nobody would ask them who they are.
    """
    for listener in _unguarded(settings):
        if _is_local(listener) is False:
            raise _refusal(str(listener))


def listen_for_admin(reactor: Any, site: AdminSite, settings: Settings, renewals: Renewals) -> list[IListeningPort]:
    """Listen wherever the settings have the Admin API listen.

    :raise StartupError: it cannot, or others could reach it, and nobody would ask them who they are.
    """
    secured = over_tls(site, settings.admin_listen, settings, renewals, admin_context)
    unguarded = set(_unguarded(settings))
    ports: list[IListeningPort] = []
    for listener in settings.admin_listen:
        port = listen(reactor, listener, secured if listener.ssl else site, "admin_listen")
        ports.append(port)
        # A socket that was handed over, or an endpoint that others made, tells only now where it is. Nobody is
        # answered before the reactor runs.
        if listener in unguarded and not _is_near(port.getHost()):
            for each in ports:
                each.stopListening()
            raise _refusal(f"{listener}, which is {_told(port.getHost())}")
    if settings.admin_open_to_everyone and any(_is_local(listener) is False for listener in settings.admin_listen):
        log.warn("the Admin API is open to whoever reaches {where}", where=", ".join(map(str, settings.admin_listen)))
    elif any(_is_local(listener) is False and not listener.ssl for listener in settings.admin_listen):
        log.warn("the Admin API listens without TLS where others may listen in: tokens can be read on their way")
    return ports


def _unguarded(settings: Settings) -> Iterator[Listener]:
    """The listeners at which nobody is asked who he is."""
    if settings.admin_open_to_everyone or settings.admin_tokens is not None:
        return
    demanding = settings.nginx_admin_ssl_verify_client == "on"
    for listener in settings.admin_listen:
        if not (listener.ssl and demanding):
            yield listener


def _refusal(where: str) -> StartupError:
    return StartupError(f"admin_listen: expected an address of this machine alone, got {where}: {REMEDY}")


def _is_local(listener: Listener) -> bool | None:
    """Whether only this machine reaches a listener; None where that shows when it listens."""
    if listener.endpoint is None:
        return listener.host == "localhost" or _is_loopback(listener.host)
    return True if listener.endpoint.startswith("unix:") else None


def _is_near(address: object) -> bool:
    return isinstance(address, UNIXAddress) or _is_loopback(getattr(address, "host", ""))


def _told(address: object) -> str:
    return f"at {getattr(address, 'host', address)!s}"


def _is_loopback(host: str) -> bool:
    """Whether packets to this address never leave the machine."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
