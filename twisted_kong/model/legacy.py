"""The proxy entity of Kong 0.10, with the rules and the words of its time.

Values are read leniently, in forms and in JSON alike: texts are trimmed, numbers and booleans may come as texts, lists
as texts with commas. What is not set is not told, and the times of creation and change are in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from math import isfinite
from typing import Annotated, Any, NamedTuple

from twisted_kong.model import hosts, paths
from twisted_kong.model.checks import REQUIRED, UNKNOWN, Between, Kind, Spelling, Stamp, refused
from twisted_kong.model.entity import Entity
from twisted_kong.model.records import Timeouts
from twisted_kong.model.rules import ENTITY, Faults, Values, expand_url

# -- kinds -----------------------------------------------------------------------------------------------------

NOT_A_NUMBER = "expected a number"
NOT_A_URL = "expected a url"


def _read_text(value: object) -> object:
    if isinstance(value, str) and not (value := value.strip()):
        raise refused(REQUIRED)
    return value


def _read_number(value: object) -> object:
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        raise refused(NOT_A_NUMBER) from None
    if isinstance(number, bool) or not (isinstance(number, int) or (isinstance(number, float) and isfinite(number))):
        raise refused(NOT_A_NUMBER)
    return int(number) if number == int(number) else number


def _read_boolean(value: object) -> object:
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


class _Within(Between):
    """A whole number within two bounds."""

    def check(self, value: float) -> float:
        if self.low <= value <= self.high and isinstance(value, int):
            return value
        raise refused(f"must be an integer between {self.low} and {self.high}")


def _list_of(noun: str, read: Callable[[str], str]) -> Kind:
    """A list, or a text with commas, of what ``read`` gives back or refuses by a ValueError."""

    def split(value: object) -> object:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, (list, tuple)) and value != {}:
            raise refused("expected an array")
        parts = (part for each in value for part in (each.split(",") if isinstance(each, str) else [each]))
        return () if value in ([""], ("",)) else tuple(map(checked, parts))

    def checked(part: object) -> str:
        try:
            if not isinstance(part, str):
                raise ValueError("must be a string")
            if not part.strip():
                raise ValueError(f"{noun} is empty")
            return read(part.strip())
        except ValueError as error:
            raise refused(f"{noun} with value '{part}' is invalid: {error}") from None

    return Kind("array", split)


# -- values ----------------------------------------------------------------------------------------------------


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", text):
        raise ValueError("name must only contain alphanumeric and '., -, _, ~' characters")
    return text


def _host(text: str) -> str:
    try:
        found = hosts.parse(text.replace("*", "abc"))
    except ValueError:
        raise ValueError("Invalid hostname") from None
    if found.port is not None:
        raise ValueError("Invalid hostname")
    if text.count("*") > 1:
        raise ValueError("Only one wildcard is allowed")
    if "*" in text and not re.fullmatch(r"\*\..+|.+\.\*", text):
        raise ValueError("Invalid wildcard placement")
    return text


def _uri(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be prefixed with slash")
    if "//" in text:
        raise ValueError("invalid")
    if not re.fullmatch(r"[A-Za-z0-9._~/%-]*", text):
        raise ValueError("must only contain alphanumeric and '., -, _, ~, /, %' characters")
    if escape := paths.bad_escape(text):
        raise ValueError(f"must use proper encoding; '{escape}' is invalid")
    return text.rstrip("/") or "/"


def _method(text: str) -> str:
    if not re.fullmatch("[A-Z]+", text):
        raise ValueError("invalid value")
    return text


class Url(NamedTuple):
    """The parts of a URL that say where to go: no query, no fragment, no user."""

    scheme: str
    host: str
    port: int
    path: str


def _parts(text: str) -> Url:
    """What a URL says; its host is a name or an address without brackets, its path at least a slash.

    :raise ValueError: it is none, or one that no request could be sent to.
    """
    scheme, _, rest = text.partition(":")
    found: dict[str, Any] = {}
    expand_url(found, {"url": f"{scheme.lower()}:{rest}"})
    scheme, host, port, path = found["protocol"], found["host"], found["port"], found["path"] or "/"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]+", text) or not host or not isinstance(port, int):
        raise ValueError(NOT_A_URL)
    try:
        host = hosts.parse(host).host
    except ValueError:
        raise ValueError(NOT_A_URL) from None
    if scheme not in ("http", "https"):
        raise ValueError("Supported protocols are HTTP and HTTPS")
    if port > hosts.LAST_PORT:
        raise ValueError(NOT_A_URL)
    return Url(scheme, host, port, path)


def _url(text: str) -> str:
    _parts(text)
    return text


def _past(value: float) -> float:
    if value <= 0 or not isinstance(value, int):
        raise ValueError("expected a valid timestamp")
    return value


Text = Annotated[str, Kind("string", _read_text)]
Flag = Annotated[bool, Kind("boolean", _read_boolean)]
Timeout = Annotated[int, Kind("number", _read_number, final=True), _Within(1, 2147483647)]
"""Milliseconds."""
Moment = Annotated[int, Kind("number", _read_number, final=True), Stamp(lambda now: int(now * 1000)), Spelling(_past)]
"""Milliseconds since the epoch."""


# -- the entity ------------------------------------------------------------------------------------------------


def _some_matcher(values: Values) -> Faults:
    if not any(values[name] for name in ("hosts", "uris", "methods")):
        yield ENTITY, "at least one of 'hosts', 'uris' or 'methods' must be specified"


_WORDS = {
    REQUIRED: "{} is required",
    UNKNOWN: "{} is an unknown field",
    NOT_A_NUMBER: "{} is not a number",
    NOT_A_URL: "{} is not a url",
    "expected a boolean": "{} is not a boolean",
    "expected a string": "{} is not a string",
    "expected an array": "{} is not an array",
}


class Api(Entity):
    """Which requests go where: a service and its route in one. Timeouts are milliseconds, ``uris`` plain prefixes."""

    collection = "apis"
    first_rules = (_some_matcher,)

    created_at: Moment
    updated_at: Moment
    name: Annotated[Text, Spelling(_name)]
    upstream_url: Annotated[Text, Spelling(_url)]
    hosts: Annotated[tuple[str, ...], _list_of("host", _host)] | None = None
    uris: Annotated[tuple[str, ...], _list_of("uri", _uri)] | None = None
    methods: Annotated[tuple[str, ...], _list_of("method", _method)] | None = None
    strip_uri: Flag = True
    preserve_host: Flag = False
    retries: Annotated[int, Kind("number", _read_number, final=True), _Within(0, 32767)] = 5
    upstream_connect_timeout: Timeout = 60000
    upstream_send_timeout: Timeout = 60000
    upstream_read_timeout: Timeout = 60000
    https_only: Flag = False
    http_if_terminated: Flag = True

    @classmethod
    def told(cls, field: str, text: str) -> str:
        return _WORDS[text].format(field) if text in _WORDS else text  # others may quote the client, braces and all

    @cached_property
    def upstream(self) -> Url:
        """Where `upstream_url` leads."""
        return _parts(self.upstream_url)

    @cached_property
    def timeouts(self) -> Timeouts:
        """The three timeouts in seconds."""
        milliseconds = (self.upstream_connect_timeout, self.upstream_send_timeout, self.upstream_read_timeout)
        return Timeouts(*(each / 1000 for each in milliseconds))

    def document(self) -> dict[str, Any]:
        """Every field that is set."""
        return {name: value for name, value in super().document().items() if value is not None}
