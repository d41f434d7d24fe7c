"""What a handler hands back: an answer, or a refusal in Kong's short shape.

The detailed refusals are in `twisted_kong.errors`; how either is put on the wire is `twisted_kong.admin.request`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted_kong.errors import AdminError


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a document to send as JSON; text is sent as it stands, None is an empty body.

    ``media_type`` is that of text, where it is not plain.
    """

    status: int
    document: dict[str, Any] | str | None = None
    media_type: str = "text/plain; charset=utf-8"


EMPTY = Answer(204)


class Refused(AdminError):
    """A refusal that has nothing to tell but a message: ``{"message": …}``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def body(self) -> dict[str, Any]:
        return {"message": self.message}


class NotFound(Refused):
    """Nothing is there: neither the path nor the entity it names, or not below that parent."""

    def __init__(self) -> None:
        super().__init__(404, "Not found")


class MethodNotAllowed(Refused):
    def __init__(self) -> None:
        super().__init__(405, "Method not allowed")


class TooManyArguments(Refused):
    """A form or a query of more arguments than anybody needs."""

    def __init__(self) -> None:
        super().__init__(400, "Too many arguments")
