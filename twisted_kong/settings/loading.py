"""What wins over what, and the one line that says what is wrong: file, then environment, then command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from twisted_kong.errors import SettingsError
from twisted_kong.settings.accepted import INERT, REFUSED, Refused, why_inert
from twisted_kong.settings.conf import Given, read, shown
from twisted_kong.settings.declared import DECLARED, PROXY_OVERRIDES, Settings
from twisted_kong.settings.values import MalformedError


def load(
    path: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    others: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """The settings of the file ``path``, if there is one; what comes later wins: ``KONG_*`` of ``environ``, ``others``,
    ``overrides``.

    ``overrides`` and ``others`` are named as settings are; messages call those by their option (``--proxy-listen``),
    these by ``--set``. An empty value anywhere restores the default. Of a setting given twice in the file, the last
    one wins.

    :raise SettingsError: one line: where it stands, its name, what was expected, what came.
    """
    given = {one.name: one for one in _file(path)}
    given |= {one.name: one for one in _environment(environ)}
    given |= {name: Given(name, text.strip(), "--set", f"--set {name}") for name, text in others.items()}
    given |= {one.name: one for one in _options(overrides)}
    values: dict[str, Any] = {}
    inert = []
    # Sorted, so that of several mistakes it is always the same that is told; and `nginx_proxy_…` comes after
    # `nginx_http_…`, which it overrides wherever either was given.
    for name, one in sorted(given.items()):
        _refuse_unknown(one)
        if not one.text:
            continue
        field = PROXY_OVERRIDES.get(name, name)
        if field in DECLARED:
            values[field] = _parsed(one, field)
            if DECLARED[field].inert:
                inert.append(name)
        elif name in REFUSED:
            _refuse(one, REFUSED[name])
        else:
            inert.append(name)
    _check_declarative(given, values)
    ignored = sorted(key for key in environ if key.startswith("KONG_") and _setting_of(key) is None)
    texts = {name: one.text for name, one in given.items() if one.text}
    return Settings(**values, inert=tuple(inert), ignored_environment=tuple(ignored), given=texts)


def is_known(name: str) -> bool:
    """Whether Kong 3.9 or we have a setting of this name."""
    return name in DECLARED or name in PROXY_OVERRIDES or name in REFUSED or why_inert(name) is not None


def _file(path: str | None) -> Iterator[Given]:
    if path is None:
        return
    try:
        with open(path, "rb") as lines:
            yield from read(lines, path)
    except OSError as error:
        raise SettingsError(f"{path}: expected a readable file, got {error.strerror}") from None


def _environment(environ: Mapping[str, str]) -> Iterator[Given]:
    for key, text in environ.items():
        name = _setting_of(key)
        if name is not None:
            where = f"environment {key}"
            yield Given(name, text.strip(), where, where)


def _options(overrides: Mapping[str, str]) -> Iterator[Given]:
    for name, text in overrides.items():
        where = f"--{name.replace('_', '-')}"
        yield Given(name, text.strip(), where, where)


def _setting_of(key: str) -> str | None:
    """The setting a variable of the environment stands for; None for any other variable."""
    name = key.removeprefix("KONG_").lower()
    return name if key == f"KONG_{name.upper()}" and is_known(name) else None


def _refuse_unknown(given: Given) -> None:
    if is_known(given.name):
        return
    known = [*DECLARED, *PROXY_OVERRIDES, *REFUSED, *INERT]
    near = difflib.get_close_matches(given.name[:64].lower(), known, n=1)
    hint = f" such as {near[0]}" if near else ""
    raise SettingsError(f"{given.where}: expected the name of a setting{hint}, got {shown(given.name)}")


def _parsed(given: Given, field: str) -> object:
    try:
        return DECLARED[field].parse(given.text)
    except MalformedError as malformed:
        raise SettingsError(f"{given.whose}: {malformed.describe(given.text)}") from None


def _check_declarative(given: Mapping[str, Given], values: Mapping[str, Any]) -> None:
    """A document is the whole configuration: there is one, and no database beside it."""
    named = [name for name in ("declarative_config", "declarative_config_string") if values.get(name) is not None]
    if named and values.get("database") != "off":
        database = shown(values.get("database", DECLARED["database"].default))
        raise SettingsError(f"{given[named[0]].whose}: expected database = off beside it, got {database}")
    if len(named) > 1:
        raise SettingsError(f"{given[named[1]].whose}: expected no value beside that of {named[0]}, got one")


def _refuse(given: Given, refused: Refused) -> None:
    if given.text != refused.only:
        expected = f"{refused.only} and nothing else" if refused.only else "no value"
        raise SettingsError(f"{given.whose}: expected {expected}, got {shown(given.text)}: {refused.reason}")
