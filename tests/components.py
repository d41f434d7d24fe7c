"""Components of strangers: what a drop-in may say, and how a distribution names one by an entry point."""

from __future__ import annotations

from pathlib import Path

ALGORITHM = """\
from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.interfaces import IAlgorithmFactory
from zope.interface import implementer


@implementer(IAlgorithmFactory)
class Factory:
    name = "{name}"

    def build(self, upstream):
        return RoundRobin()


factory = Factory()
"""
"""The text of a module with one algorithm, round robin by another name."""


def put_drop_in(directory: Path, module: str, text: str) -> Path:
    """A drop-in of this text."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{module}.py"
    file.write_text(text)
    return file


def put_distribution(site: Path, name: str, module: str, text: str, version: str = "1.2") -> None:
    """An installed distribution whose entry point is ``factory`` of a module of this text."""
    put_drop_in(site, module, text)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[twisted_kong.plugins]\n{module} = {module}:factory\n")
