"""The house rules that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "twisted_kong").rglob("*.py"))
DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks/README.md"))
PAGE = 60
"""Lines of a module that may do without a charter."""
LONGEST = 450
"""Lines of a module that are still one thing."""

IMPORT_EVERYTHING = """
import importlib, pathlib, sys
for path in sorted(pathlib.Path("twisted_kong").rglob("*.py")):
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if not module.endswith((".__main__", ".migrations.env")):  # programs: one of people's, one of Alembic's
        importlib.import_module(module)
        if "twisted.internet.reactor" in sys.modules:
            sys.exit(f"{module} or what it imports imports the reactor")
"""


def name(path: Path) -> str:
    """A path as it is told."""
    return str(path.relative_to(ROOT))


def test_nobody_imports_the_reactor() -> None:
    """No module imports ``twisted.internet.reactor`` when it is imported, not even through others."""
    done = subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_module(module: Path) -> None:
    """What is longer than a page opens with its charter, and nothing is longer than one can live in."""
    text = module.read_text()
    length = len(text.splitlines())
    assert length <= PAGE or ast.get_docstring(ast.parse(text)) is not None
    assert length <= LONGEST


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links(document: Path) -> None:
    """What a document links to is there."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_named_modules(document: Path) -> None:
    """The modules that a document names, `proxy/wire.py` for one, are there."""
    named = re.findall(r"`([a-z0-9_/]+\.py)`", document.read_text())
    assert [path for path in named if not ((ROOT / path).exists() or (ROOT / "twisted_kong" / path).exists())] == []


def test_decisions_are_numbered() -> None:
    """Decisions are numbered without gaps, and each says what it was about, what was decided and what follows."""
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        headings = re.findall(r"^## (.+)$", path.read_text(), flags=re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], path.name
