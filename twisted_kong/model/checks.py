"""How values are checked: the bricks that `twisted_kong.model.values` builds its types of.

A brick is metadata of an annotation. Bricks apply from left to right, the first that refuses speaks, and what it
says is Kong's text. Their terms stay readable on the annotation, for whoever describes the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

REQUIRED = "required field missing"
UNKNOWN = "unknown field"


def refused(text: str) -> PydanticCustomError:
    """What a brick raises; ``text`` reaches the client as it stands, but for what UTF-8 cannot say."""
    return PydanticCustomError("refused", "{text}", {"text": text.encode(errors="replace").decode()})


def refused_parts(parts: Mapping[str | int, str], value: object) -> ValidationError:
    """What a brick raises that has something to say of several parts of ``value``."""
    lines = [InitErrorDetails(type=refused(text), loc=(part,), input=value) for part, text in parts.items()]
    return ValidationError.from_exception_data("value", lines)


@dataclass(frozen=True)
class Kind:
    """The type of a value where Python's own does not say it: Kong's name for it, and how JSON becomes it.

    ``read`` raises or gives what Python's type accepts; where that type is too narrow (``whole`` numbers in a
    ``float``) ``final`` leaves the value to ``read`` alone.
    """

    name: str
    read: Callable[[Any], Any]
    final: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if self.final:
            return core_schema.no_info_plain_validator_function(self.read)
        return core_schema.no_info_before_validator_function(self.read, handler(source))


class Brick:
    """A check of a value whose type is right already: refuses it, or gives it back, perhaps in better spelling."""

    def check(self, value: Any) -> Any:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


@dataclass(frozen=True)
class Auto:
    """Metadata of a value that is made where none is given."""

    make: Callable[[], Any]


@dataclass(frozen=True)
class Secret:
    """Metadata of a text that lets whoever has it in, or pass for us: it is kept where it is needed, and only there."""


SECRET = Secret()


@dataclass(frozen=True)
class Stamp:
    """Metadata of a moment that we note ourselves: how the present, seconds since the epoch, is written."""

    write: Callable[[float], float]


class Told:
    """Metadata for readers of the schema: what Kong says of such a value beside its type, as ``uuid``."""

    def __init__(self, *attributes: str) -> None:
        self.attributes = attributes


@dataclass(frozen=True)
class Between(Brick):
    """A number within two bounds, both allowed."""

    low: int
    high: int

    def check(self, value: float) -> float:
        if self.low <= value <= self.high:
            return value
        raise refused(f"value should be between {self.low} and {self.high}")


class OneOf(Brick):
    """One of a few values, told in this order."""

    def __init__(self, *values: object) -> None:
        self.values = values

    def check(self, value: object) -> object:
        if value in self.values:
            return value
        raise refused(one_of(self.values))


@dataclass(frozen=True)
class Named:
    """One of the names that the schema has under ``register``, such as the algorithms that are installed."""

    register: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def _check(self, value: object, info: ValidationInfo) -> object:
        return OneOf(*(info.context or {})[self.register]).check(value)


@dataclass(frozen=True)
class AtLeast(Brick):
    """A text or a list of at least so many characters or elements."""

    length: int

    def check(self, value: Any) -> Any:
        if len(value) >= self.length:
            return value
        raise refused(f"length must be at least {self.length}")


@dataclass(frozen=True)
class StartsWith(Brick):
    """A text with this beginning."""

    prefix: str

    def check(self, value: str) -> str:
        if value.startswith(self.prefix):
            return value
        raise refused(f"should start with: {self.prefix}")


@dataclass(frozen=True)
class Spelling(Brick):
    """Any other check: ``read`` gives the value back, or raises ValueError with the text for the client."""

    read: Callable[[Any], Any]

    def check(self, value: Any) -> Any:
        try:
            return self.read(value)
        except ValueError as error:
            raise refused(str(error)) from None


@dataclass(frozen=True)
class Whole:
    """Parts are checked one by one, but only the first refusal is told, of the value as a whole."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._first, handler(source))

    def _first(self, value: Any, parts: Callable[[Any], Any]) -> Any:
        try:
            return parts(value)
        except ValidationError as error:
            raise refused(said(error.errors(include_url=False)[0])) from None


_TEXTS = {
    "missing": REQUIRED,
    "extra_forbidden": UNKNOWN,
    "string_type": "expected a string",
    "int_type": "expected an integer",
    "bool_type": "expected a boolean",
    "model_type": "expected a record",
    "string_unicode": "expected names of fields in valid utf-8",
}
"""Kong's texts for what pydantic itself refuses."""


def said(error: Mapping[str, Any]) -> str:
    """Kong's text for one of pydantic's errors; null is a missing value, whatever type it should have had."""
    if error["input"] is None and error["type"] != "extra_forbidden":
        return REQUIRED
    return _TEXTS.get(error["type"]) or str(error["msg"])


def one_of(values: tuple[object, ...]) -> str:
    """Kong's text for a value outside a list."""
    return f"expected one of: {', '.join(map(str, values))}"
