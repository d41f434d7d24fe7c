"""The spelling of a route's paths: plain ones in their normal form, regular ones as Python understands them.

Requests are normalised, matched and joined in `twisted_kong.routing`; here is only what a configured path may say.
"""

from __future__ import annotations

import re
import warnings

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_GROUP = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(\(\?)(?=<[A-Za-z_])", re.DOTALL)
"""An escaped character, a character class, or the opening of a named group; only the last is captured."""


def bad_escape(path: str) -> str | None:
    """The first percent sign that two hexadecimal digits do not follow, with what follows it instead."""
    found = re.search(r"%(?![0-9A-Fa-f]{2})", path)
    return path[found.start() : found.start() + 3] if found else None


def normal_form(path: str) -> str:
    """``path`` without needless escapes and without dots (RFC 3986 §6.2.2), which is how requests are matched.

    Escapes of unreserved characters are decoded, others get capital digits, ``.`` and ``..`` segments are resolved.
    """
    return _without_dots(_ESCAPE.sub(_needed, path))


def _needed(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4 for a path that starts with a slash."""
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def translated(pattern: str) -> str:
    """A PCRE pattern in Python's spelling: ``(?<name>…)`` becomes ``(?P<name>…)``, the rest stays."""
    return _GROUP.sub(lambda found: "(?P" if found[1] else found[0], pattern)


def compiled(pattern: str) -> re.Pattern[bytes]:
    """A regular path, without its ``~``, ready to match a request's path from its start.

    :raise ValueError: it is no regular expression, or one that Python reads in another way than PCRE.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # Python's name for "[[:alpha:]] may not mean what you think"
            return re.compile(translated(pattern).encode())
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise ValueError(str(error)) from None
