"""Where components come from that are not ours: entry points of installed distributions, and drop-in modules.

Everything found is imported here, and nothing that goes wrong is passed over: whoever installed a component wants it
to work, and a gateway that quietly balances in another way than it was told is worse than one that does not start.
Whether what was found is any good is for `twisted_kong.registry` to say.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import traceback
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from twisted.plugin import IPlugin, pluginPackagePaths

from twisted_kong.errors import ComponentError

GROUP = "twisted_kong.plugins"
"""The group of entry points, and the package that drop-ins belong to."""


class Candidate(NamedTuple):
    """What may be the factory of a component, and what `twisted_kong.model.components.Component` tells of it."""

    factory: object
    origin: str
    version: str | None


def entry_points() -> Iterator[Candidate]:
    """What the entry points of the group ``twisted_kong.plugins`` name, in the order of their distributions.

    :raise ComponentError: one of them cannot be imported.
    """
    found = [(one.dist, one) for one in metadata.entry_points(group=GROUP)]
    for dist, one in sorted(found, key=lambda pair: (pair[0].name if pair[0] else "", pair[1].name)):
        origin = f"entry point of {dist.name} {dist.version}" if dist else f"entry point {one.name}"
        try:
            factory = one.load()
        except (Exception, SystemExit) as error:
            raise ComponentError(f"{origin}: cannot import {one.value}: {_reason(error)}") from error
        yield Candidate(factory, origin, dist.version if dist else None)


def drop_ins(directories: Iterable[Path] = ()) -> Iterator[Candidate]:
    """The factories in the drop-in modules on ``sys.path`` and in ``directories``.

    A module whose name begins with ``_`` is none: drop-ins may share such a one.

    :raise ComponentError: a directory or a module cannot be read, or a module is no drop-in.
    """
    seen: dict[str, Path] = {}
    for name, file in _modules(_search(directories)):
        if name in seen:
            raise ComponentError(f"{file}: expected a module of another name, there is {seen[name]} already")
        seen[name] = file
        module = _imported(name, file)
        version = getattr(module, "__version__", None)
        factories = [value for value in vars(module).values() if IPlugin.providedBy(value)]
        if not factories:
            raise ComponentError(
                f"{file}: expected a component, found none: no value at its top level provides IPlugin, as instances of"
                " a class with @implementer(IAlgorithmFactory) do"
            )
        for factory in factories:
            yield Candidate(factory, str(file), version if isinstance(version, str) else None)


def _search(directories: Iterable[Path]) -> Iterator[Path]:
    """The directories of drop-ins, which from now on are the package's; each of them once."""
    package = importlib.import_module(GROUP)
    assert package.__file__ is not None
    here = [Path(package.__file__).parent, *filter(Path.is_dir, map(Path, pluginPackagePaths(GROUP)))]
    importlib.invalidate_caches()
    seen = set()
    for directory in (*here, *directories):
        if directory.resolve() in seen:
            continue
        seen.add(directory.resolve())
        try:
            os.listdir(directory)  # whoever searches it passes over what cannot be read
        except OSError as error:
            raise ComponentError(
                f"plugin_dirs: expected a directory we can read, got {directory}: {error.strerror}"
            ) from None
        if str(directory) not in package.__path__:
            package.__path__.append(str(directory))
        yield directory


def _modules(directories: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """The modules and packages in ``directories``, by name, and the file of each."""
    for directory in directories:
        for found in pkgutil.iter_modules([str(directory)]):
            spec = found.module_finder.find_spec(found.name, None)
            if not found.name.startswith("_") and spec is not None and spec.origin is not None:
                yield found.name, Path(spec.origin)


def _imported(name: str, file: Path) -> ModuleType:
    """The module of the package, which must be the one in ``file``."""
    try:
        module = importlib.import_module(f"{GROUP}.{name}")
    except (Exception, SystemExit) as error:
        raise ComponentError(f"{file}: cannot be imported: {_reason(error)}") from error
    if Path(module.__file__ or "").resolve() != file.resolve():
        raise ComponentError(f"{file}: expected a module of another name, {module.__file__} has been imported already")
    return module


def _reason(error: BaseException) -> str:
    """One line: what was raised, and where."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_import(frame.filename)]
    return f"{said} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else said


def _is_import(filename: str) -> bool:
    """Whether that is the machinery that imports, ourselves included."""
    return filename.startswith("<frozen") or filename in (__file__, importlib.__file__, metadata.__file__)
