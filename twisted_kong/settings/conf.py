"""The syntax of kong.conf: lines of ``name = value``. What names and values mean is not known here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from twisted_kong.errors import SettingsError

_QUOTED = re.compile(r"""(["'])(?P<text>((?!\1).)*)\1(\s*|\s+#.*)""")
_COMMENT = re.compile(r"(^|\s)#")


@dataclass(frozen=True, slots=True)
class Given:
    """A setting as somebody wrote it: ``where`` begins a message about its name, ``whose`` one about its value."""

    name: str
    text: str
    where: str
    whose: str


def shown(text: str) -> str:
    """What came, fit for one line of an error message."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def read(lines: Iterable[bytes], path: str) -> Iterator[Given]:
    """The settings in the ``lines`` of the file ``path``, in order, repetitions included.

    :raise SettingsError: a line that is neither a setting nor a comment, or not UTF-8.
    """
    for number, raw in enumerate(lines, 1):
        where = f"{path}:{number}"
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError:
            raise SettingsError(f"{where}: expected UTF-8, got {raw.strip()[:80]!r}") from None
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not name:
            raise SettingsError(f"{where}: expected name = value, got {shown(line)}")
        yield Given(name, _text(value.strip()), where, f"{where}: {name}")


def _text(value: str) -> str:
    """The value without its quotes, if it is all quoted, or without its comment; ``\\#`` is a number sign."""
    quoted = _QUOTED.fullmatch(value)
    text = quoted["text"] if quoted else _COMMENT.split(value, maxsplit=1)[0].strip()
    return text.replace("\\#", "#")
