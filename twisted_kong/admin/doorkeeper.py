"""Who is let into the Admin API, and what for.

A request shows a token (``Authorization: Bearer``, or ``Kong-Admin-Token`` as clients of Kong send it), or the client
certificate of its connection, which TLS has verified. Where nobody has to show anything, everybody may do everything.
Who it is is decided when a request's head is there, so that the bodies of strangers are not kept.

A wrong token counts against the address it came from, and too many are answered 429. The right one is let in all the
same: it cannot be guessed, and else anybody behind the same address could keep its owner out. No token is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from cryptography import x509
from twisted.logger import Logger

from twisted_kong.admin.answers import Refused
from twisted_kong.admin.logins import FailedLogins
from twisted_kong.admin.tokens import Caller, Callers, Role

log = Logger()

ANONYMOUS = Caller("anonymous", Role.READ_WRITE)
"""Everybody, where nobody is asked."""
REALM = 'Bearer realm="kong-admin"'


class Shown(NamedTuple):
    """What a request shows of who it is from.

    ``tokens`` are the values of all headers that may hold one, ``certificate`` one that has been verified.
    """

    address: str
    tokens: Sequence[str] = ()
    certificate: x509.Certificate | None = None


class Denied(Refused):
    """Somebody is not let in; ``headers`` tell clients how they might be."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(status, message)
        self.headers = headers


def unauthorized(message: str, error: str = "") -> Denied:
    """401: it is not known who this is (RFC 6750 §3)."""
    return Denied(401, message, {"WWW-Authenticate": REALM + (f', error="{error}"' if error else "")})


def forbidden(message: str) -> Denied:
    """403: it is known who this is, who may not do that."""
    return Denied(403, message, {"WWW-Authenticate": f'{REALM}, error="insufficient_scope"'})


class Doorkeeper:
    """Knows who may come in. ``callers`` is None where nobody is asked; ``seconds`` is a clock."""

    def __init__(
        self,
        callers: Callers | None = None,
        failed: FailedLogins | None = None,
        seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.callers = callers
        """May be replaced at any time; counts from the next request on."""
        self._failed = FailedLogins(0) if failed is None else failed
        self._seconds = seconds

    def identify(self, shown: Shown) -> Caller:
        """Who a request is from.

        :raise Denied: nobody who may come in.
        """
        if self.callers is None:
            if shown.certificate is None:
                return ANONYMOUS
            return Caller(shown.certificate.subject.rfc4514_string(), Role.READ_WRITE)
        if shown.tokens:
            one = shown.tokens[0] if len(shown.tokens) == 1 else None
            found = None if one is None else self.callers.by_token(one)
            if found is None:
                raise self._stranger(shown.address)
            return found
        if shown.certificate is None:
            raise unauthorized("a token is required: Authorization: Bearer, or Kong-Admin-Token")
        found = self.callers.by_certificate(shown.certificate)
        if found is None:
            raise forbidden(f"admin_tokens names nobody with the certificate of {subject_of(shown.certificate)}")
        return found

    def _stranger(self, address: str) -> Denied:
        wait = self._failed.failed(address, self._seconds())
        if wait:
            return Denied(429, "too many wrong tokens came from this address", {"Retry-After": str(ceil(wait))})
        log.warn("the Admin API got a wrong token from {address}", address=address)
        return unauthorized("this token is nobody's", "invalid_token")


def subject_of(certificate: x509.Certificate) -> str:
    """Whom a certificate is for, in words."""
    return certificate.subject.rfc4514_string() or "nobody"


def may(caller: Caller, method: str, safe: Sequence[str]) -> None:
    """Whether somebody may do that; methods that are ``safe`` change nothing.

    :raise Denied: no.
    """
    if caller.role is Role.READ_ONLY and method not in safe:
        raise forbidden(f"'{caller.name}' may only read")
