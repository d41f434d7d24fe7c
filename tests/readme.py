"""README.md as a script: the commands of a section, and the answers it promises.

A block of ``sh`` is run; a block of ``json`` right after it holds what it answers, perhaps shortened. Blocks of any
other language are for people only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
_STEP = re.compile(r"^```sh\n(.*?)^```\n(?:\s*^```json\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """Commands of a shell, and the text of the documents they are to answer; empty where nothing is promised."""

    commands: str
    answers: str


def steps(title: str, document: str = "README.md") -> list[Step]:
    """The steps of the section ``title``."""
    sections = re.split(r"^## (.+)\n", (ROOT / document).read_text(), flags=re.MULTILINE)
    return [Step(*found) for found in _STEP.findall(sections[sections.index(title) + 1])]


def documents(text: str) -> Iterator[Any]:
    """The JSON documents in ``text``, one after the other."""
    position = 0
    while found := re.compile(r"\s*(?=\S)").match(text, position):
        document, position = json.JSONDecoder().raw_decode(text, found.end())
        yield document


def is_part(promised: Any, told: Any) -> bool:
    """Whether ``promised`` is ``told``, but for members of objects that are left out."""
    if isinstance(promised, dict) and isinstance(told, dict):
        return all(name in told and is_part(value, told[name]) for name, value in promised.items())
    if isinstance(promised, list) and isinstance(told, list):
        return len(promised) == len(told) and all(map(is_part, promised, told))
    return bool(promised == told)


def missing(promised: list[Any], told: list[Any]) -> list[Any]:
    """Which of the promised documents have not been told; in which order they come depends on what was asked before."""
    left = list(told)
    lost = []
    for document in promised:
        found = next((index for index, each in enumerate(left) if is_part(document, each)), None)
        if found is None:
            lost.append(document)
        else:
            del left[found]
    return lost
