"""Bodies: what clients send becomes a document, what they are told becomes bytes.

A body announces itself as JSON or as a form (urlencoded or multipart). JSON has types of its own and keeps them; the
values of a form are text, for the schema to read as the types of its fields. What a document may contain is not
decided here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from functools import partial
from typing import Any

from twisted_kong.admin.answers import Refused, TooManyArguments
from twisted_kong.admin.forms import MAX_ARGUMENTS, Argument, decode_form, plant


@dataclass(frozen=True, slots=True)
class Document:
    """What a client sent: ``typed`` says that its values have their types already, as JSON's have."""

    tree: dict[str, Any]
    typed: bool = True


NOTHING = Document({})

Decoder = Callable[[bytes], Document]
"""From a body to a document; raises `Refused`."""


def decoder_for(content_type: str | None) -> Decoder:
    """How a body of this content type is read.

    :raise Refused: 415, nobody here reads such a body.
    """
    for prefix, decode in _DECODERS.items():
        if content_type is not None and content_type.startswith(prefix):
            return partial(decode, content_type)
    raise Refused(415, f"expected a content type among {', '.join(_DECODERS)}; got {content_type or 'none'}")


def _json(content_type: str, body: bytes) -> Document:
    """The empty list is an empty document, since Kong cannot tell them apart."""
    tree = parse_json(body)
    if isinstance(tree, dict):
        return Document(tree)
    if tree == []:
        return NOTHING
    raise Refused(400, "Cannot parse JSON body: expected an object")


def parse_json(text: bytes) -> Any:
    """Any JSON value (RFC 8259), its numbers whole where they have no fraction.

    :raise Refused: it is not JSON, or has text that UTF-8 cannot carry.
    """
    try:
        tree = json.loads(text.decode(), parse_float=_number, parse_constant=_no_number)
        if b"\\u" in text:
            json.dumps(tree, ensure_ascii=False).encode()  # half a surrogate pair fails here rather than in the store
    except (ValueError, RecursionError):
        raise Refused(400, "Cannot parse JSON body") from None
    return tree


def _number(text: str) -> int | float:
    """``20.0`` is the integer 20: Kong has one kind of number, and clients rely on whole ones printed whole."""
    number = float(text)
    if number.is_integer():
        return int(number)
    return number if abs(number) < float("inf") else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _form(content_type: str, body: bytes) -> Document:
    return Document(decode_form(body), typed=False)


def _multipart(content_type: str, body: bytes) -> Document:
    """A multipart form (RFC 7578): parts between boundaries, each a head and a content."""
    if not body:
        return NOTHING
    boundary = _head(f"Content-Type: {content_type}").get_boundary()
    if not boundary:
        raise Refused(400, "Cannot parse multipart body: expected a boundary in the content type")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    _, *parts = (b"\r\n" + body).split(delimiter, MAX_ARGUMENTS + 2)
    if len(parts) > MAX_ARGUMENTS + 1:
        raise TooManyArguments
    if not parts or not parts.pop().startswith(b"--"):
        raise Refused(400, "Cannot parse multipart body: expected parts between boundaries, and an end")
    return Document(plant([_argument(part) for part in parts]), typed=False)


def _argument(part: bytes) -> Argument:
    """The name of a part and its content; a part of JSON is decoded, a file is its content."""
    try:
        head, _, content = part.partition(b"\r\n\r\n")
        headers = _head(head.decode().lstrip())
        value = content.decode()
    except UnicodeDecodeError:
        raise Refused(400, "Cannot parse multipart body: expected UTF-8") from None
    name = headers.get_param("name", header="content-disposition")
    if not isinstance(name, str):
        raise Refused(400, "Cannot parse multipart body: expected a name of every part")
    return name, parse_json(content) if headers.get_content_type() == "application/json" else value


def _head(text: str) -> Message:
    """Headers and their parameters, as the standard library reads them."""
    return HeaderParser().parsestr(text)


_DECODERS: dict[str, Callable[[str, bytes], Document]] = {
    "application/json": _json,
    "application/x-www-form-urlencoded": _form,
    "multipart/form-data": _multipart,
}
"""By the beginning of the content type, in whatever follows it."""


def encode(document: Any) -> bytes:
    """JSON as clients get it."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
