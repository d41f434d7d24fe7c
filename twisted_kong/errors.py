"""Every failure that a person is told of, and the status it deserves.

Three families live here and nothing else: what stops start-up (`StartupError`), what an Admin API client is
told (`AdminError`), what a client of the proxy is told (`ProxyError`). The messages of the last two are Kong's;
clients compare them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GatewayError(Exception):
    """The root of everything below."""


# -- start-up --------------------------------------------------------------------------------------------------


class StartupError(GatewayError):
    """The gateway cannot start; the message is one line for the person at the terminal."""


class SettingsError(StartupError):
    """An unknown or malformed setting: where it stands, what was expected, what came."""


class ComponentError(StartupError):
    """A component that clashes, cannot be imported or does not provide its interface."""


# -- Admin API -------------------------------------------------------------------------------------------------


def braces(value: Any) -> str:
    """Kong's compact listing of keys inside messages: ``{id="…"}``, keys sorted, nested braces, ``null``."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}={braces(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, str):
        return f'"{value}"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


class AdminError(GatewayError):
    """A refusal in Kong's detailed shape: ``{"code", "name", "message", "fields"}``.

    ``fields`` is left out of the body where it is None.
    """

    status = 400
    code: int
    name: str

    def __init__(self, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def body(self) -> dict[str, Any]:
        """The JSON document of the answer."""
        body = {"code": self.code, "name": self.name, "message": self.message}
        return body if self.fields is None else {**body, "fields": self.fields}


class InvalidPrimaryKey(AdminError):
    code, name = 1, "invalid primary key"


class SchemaViolation(AdminError):
    """What a client sent breaks the entity's schema; ``fields`` is Kong's tree of messages."""

    code, name = 2, "schema violation"

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(_violations(fields), fields)


class PrimaryKeyViolation(AdminError):
    code, name = 3, "primary key violation"

    def __init__(self, key: Mapping[str, Any]) -> None:
        super().__init__(f"primary key violation on key '{braces(key)}'", key)


class ForeignKeyViolation(AdminError):
    """A reference to an entity that does not exist."""

    code, name = 4, "foreign key violation"

    def __init__(self, field: str, collection: str, key: Mapping[str, Any]) -> None:
        super().__init__(
            f"the foreign key '{braces(key)}' does not reference an existing '{collection}' entity.", {field: key}
        )


class StillReferenced(AdminError):
    """The deletion of an entity that others refer to."""

    code, name = 4, "foreign key violation"

    def __init__(self, collection: str, by: str) -> None:
        super().__init__(f"an existing '{by}' entity references this '{collection}' entity", {"@referenced_by": by})


class UniqueViolation(AdminError):
    """Another entity has this key already."""

    status = 409
    code, name = 5, "unique constraint violation"

    def __init__(self, key: Mapping[str, Any]) -> None:
        super().__init__(f"UNIQUE violation detected on '{braces(key)}'", key)


class EntityNotFound(AdminError):
    """The detailed 404 of a PATCH."""

    status = 404
    code, name = 6, "not found"

    def __init__(self, key: Mapping[str, Any]) -> None:
        what = "primary key " if "id" in key else ""
        super().__init__(f"could not find the entity with {what}'{braces(key)}'", key)


class InvalidOffset(AdminError):
    code, name = 7, "invalid offset"


class InvalidSize(AdminError):
    code, name = 9, "invalid size"


class InvalidUniqueKey(AdminError):
    """A key in the path that could never be the key of such an entity."""

    code = 10

    def __init__(self, field: str, message: str) -> None:
        self.name = f"invalid unique {field}"
        super().__init__(message)


class InvalidOptions(AdminError):
    """A query argument of a list that cannot be understood; told under ``options``."""

    code, name = 11, "invalid options"

    def body(self) -> dict[str, Any]:
        return {"code": self.code, "name": self.name, "message": self.message, "options": self.fields}


class ForeignKeysUnresolved(AdminError):
    """References by name to entities that do not exist: field → collection and the key that found nothing there."""

    code, name = 13, "foreign keys unresolved"

    def __init__(self, unresolved: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
        fields = {}
        for field, (collection, key) in sorted(unresolved.items()):
            (by,) = key
            why = f"the foreign key cannot be resolved with '{braces(key)}' for an existing '{collection}' entity"
            fields[field] = {by: why}
        items = [f"{field}.{by}: {why}" for field, told in fields.items() for by, why in told.items()]
        count = "foreign key" if len(items) == 1 else f"{len(items)} foreign keys"
        super().__init__(f"{count} unresolved ({'; '.join(items)})", fields)


def _violations(fields: Mapping[str, Any]) -> str:
    """Kong's one-line summary of a tree of violations: cross-field rules first, then fields by name."""
    items = list(fields.get("@entity", ()))
    for name in sorted(fields.keys() - {"@entity"}):
        found = fields[name]
        if isinstance(found, str):
            items.append(f"{name}: {found}")
            continue
        children = found.items() if isinstance(found, Mapping) else enumerate(found, 1)
        for key, text in sorted(children, key=lambda child: str(child[0])):
            if text is not None:
                items.append(f"{name}.{key}: {_dump(text)}")
    count = "schema violation" if len(items) == 1 else f"{len(items)} schema violations"
    return f"{count} ({'; '.join(items)})"


def _dump(found: Any, indent: int = 0) -> str:
    """A message, or a deeper tree the way Kong prints it: one key a line between braces."""
    if isinstance(found, str):
        return found if not indent else f'"{found}"'
    children = found.items() if isinstance(found, Mapping) else enumerate(found, 1)
    pad = "  " * (indent + 1)
    lines = [f"{pad}{key} = {_dump(value, indent + 1)}" for key, value in children if value is not None]
    return "{\n" + ",\n".join(lines) + "\n" + "  " * indent + "}"


# -- the proxy -------------------------------------------------------------------------------------------------


class ProxyError(GatewayError):
    """An answer the gateway makes up itself.

    ``status`` and ``message`` are what the client is told, the exception's text what the log is told. ``decided``
    tells what the gateway decides (nobody to ask) from what it fails at (a broken request or answer): Kong words
    the two differently. ``logged`` is what the log has been told of already. ``limit`` names the bound on requests
    that this one went beyond, for the metrics; empty for other errors.
    """

    status = 500
    message = "An unexpected error occurred"
    decided = True
    logged = False
    limit = ""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or self.message)


class RequestRefused(ProxyError):
    """The request is malformed, ambiguous or beyond a limit: answered, and its connection closed."""

    status = 400
    message = "Bad request"
    decided = False


class RequestTimedOut(RequestRefused):
    status, message = 408, "Request timeout"


class BodyTooLarge(RequestRefused):
    status, message = 413, "Payload too large"
    limit = "body"


class TargetTooLong(RequestRefused):
    status, message = 414, "URI too long"
    limit = "request_line"


class HeadTooLarge(RequestRefused):
    status, message = 431, "Request header or cookie too large"
    limit = "head"


class TooManyFields(HeadTooLarge):
    limit = "fields"


class VersionNotSupported(RequestRefused):
    status, message = 505, "HTTP version not supported"


class CodingNotSupported(RequestRefused):
    """A transfer coding other than chunked (RFC 9112 §6.1)."""

    status, message = 501, "Not implemented"


class MethodRefused(RequestRefused):
    """TRACE and CONNECT, which no gateway should relay."""

    status, message = 405, "Method not allowed"


class NoRoute(ProxyError):
    status, message = 404, "no Route matched with those values"


class NoService(ProxyError):
    status, message = 503, "no Service found with those values"


class HttpsRequired(ProxyError):
    """A plain request to a route that takes only https; ``redirect`` is 426 or a redirect status.

    ``by_api`` is told as Kong 0.10 did: in JSON, whatever the client accepts.
    """

    message = "Please use HTTPS protocol"

    def __init__(self, redirect: int, *, by_api: bool = False) -> None:
        super().__init__()
        self.status = redirect
        self.by_api = by_api


class NotGrpc(ProxyError):
    """The route is for gRPC, the request is not (Kong's answer)."""

    status, message = 415, "Non-gRPC request matched gRPC route"


class Http2Required(ProxyError):
    """gRPC over HTTP/1."""

    status, message = 426, "Please use HTTP2 protocol"


class GrpcsRequired(ProxyError):
    """gRPC in the clear on a route for gRPC over TLS, which is told in gRPC's own way: a status behind a 200."""

    status, message = 200, "gRPC request matched gRPCs route"


class Unauthorized(ProxyError):
    """The request has no key, or one that nobody owns; ``challenge`` tells what would do (RFC 9110 §11.6.1)."""

    status = 401

    def __init__(self, message: str, challenge: bytes) -> None:
        self.message = message
        self.challenge = challenge
        super().__init__()


class NoAnonymous(ProxyError):
    """The consumer taken for those without a key is not there."""

    def __init__(self, name: str) -> None:
        self.message = f"anonymous consumer {name} is configured but doesn't exist"
        super().__init__()


class Nobody(ProxyError):
    """There is nobody to send a request to; ``why`` is what a person may be told beside Kong's text."""

    status = 503

    def __init__(self, why: str | None = None) -> None:
        self.why = why
        super().__init__(why or "")


class NoPeer(Nobody):
    """The first pick found nobody to send the request to."""

    message = "failure to get a peer from the ring-balancer"


class NoPeerLeft(Nobody):
    """A retry found nobody to send the request to."""

    message = "The upstream server is currently unavailable"
    decided = False


class NameFailure(ProxyError):
    """A name has no address, as far as anybody knows; ``reason`` is told where targets are listed.

    ``asked`` are the questions that found it out, each as `twisted_kong.model.traffic.Asked` has it.
    """

    def __init__(self, reason: str, asked: tuple[tuple[str, str, str, str], ...] = (), words: str = "") -> None:
        self.reason = reason
        self.asked = asked
        super().__init__(words)


class NameNotFound(NameFailure):
    """The name does not exist; or, where it is ``empty``, it does and has no address. The rest is Kong's words."""

    status, message = 503, "name resolution failed"

    def __init__(
        self, reason: str | None = None, asked: tuple[tuple[str, str, str, str], ...] = (), *, empty: bool = False
    ) -> None:
        self.empty = empty
        kongs = "dns client error: 101 empty record received" if empty else "dns server error: 3 name error"
        super().__init__(reason or kongs, asked, reason or "")


class NameNotResolved(NameFailure):
    """Nobody could tell, which says nothing of the name."""

    def __init__(self, host: str, reason: str, asked: tuple[tuple[str, str, str, str], ...] = ()) -> None:
        self.message = f"failed the initial dns/balancer resolve for '{host}' with: {reason}"
        super().__init__(reason, asked, self.message)


class BadGateway(ProxyError):
    """Every attempt ended in a refused or broken connection, or an answer that is not HTTP."""

    status, message = 502, "An invalid response was received from the upstream server"
    decided = False


class GatewayTimeout(ProxyError):
    status, message = 504, "The upstream server is timing out"
    decided = False
