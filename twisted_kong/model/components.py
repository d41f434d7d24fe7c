"""What is told of a component: what it is, what it is called, where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Component:
    """One component. ``name`` is unique among those of its ``kind``.

    ``origin`` is ``built-in``, the distribution whose entry point names it, or the file that it was found in;
    ``version`` is that of the distribution, or what the file says in ``__version__``; None where nobody tells.
    """

    kind: str
    name: str
    origin: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.origin})"
