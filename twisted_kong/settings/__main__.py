"""``python -m twisted_kong.settings`` prints the tables of docs/supported.md's settings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from twisted_kong.settings.accepted import INERT, INERT_FAMILIES, REFUSED
from twisted_kong.settings.declared import DECLARED, PROXY_OVERRIDES


def tables() -> str:
    """Markdown: a table each for what is honoured, what is accepted but inert, and what is refused."""
    return "\n".join(
        [
            "### Honoured\n",
            *_table(("setting", "default", "meaning"), _honoured()),
            "\n### Accepted but inert\n",
            *_table(("settings", "why they have no effect"), _inert()),
            "\n### Refused\n",
            *_table(("setting", "may only be", "because otherwise"), _refused()),
        ]
    )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (heads, ("---",) * len(heads), *rows):
        yield f"| {' | '.join(cells)} |"


def _honoured() -> Iterator[tuple[str, ...]]:
    for name, declared in DECLARED.items():
        if not declared.inert:
            yield f"`{name}`", f"`{declared.default}`" if declared.default else "none", declared.meaning
    for name, overridden in PROXY_OVERRIDES.items():
        yield f"`{name}`", f"`{overridden}`", "Overrides it for the proxy."


def _inert() -> Iterator[tuple[str, ...]]:
    why = {name: declared.inert for name, declared in DECLARED.items() if declared.inert}
    why |= {**INERT, **{f"{prefix}*": reason for prefix, reason in INERT_FAMILIES.items()}}
    for reason in dict.fromkeys(why.values()):
        yield ", ".join(f"`{name}`" for name in why if why[name] == reason), reason


def _refused() -> Iterator[tuple[str, ...]]:
    for name, refused in REFUSED.items():
        yield f"`{name}`", f"`{refused.only}`" if refused.only else "left out", refused.reason


if __name__ == "__main__":
    sys.stdout.write(tables() + "\n")
