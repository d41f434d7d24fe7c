"""docs/plugins.md from its first line to its last: see `pages`."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from pages import BLOCK, blocks, follow, reading
from readme import ROOT

PAGE = (ROOT / "docs" / "plugins.md").read_text()
_PORT = re.compile(r"(?<=[: ])[89][12]0\d\b")
BLOCKS = blocks(PAGE)


def test_page(tmp_path: Path) -> None:
    """Whoever follows the page finds what it says."""
    with reading(tmp_path, PAGE, _PORT) as reader:
        follow(reader, PAGE)


def test_everything_is_in_blocks() -> None:
    """The page has blocks of every kind, no code that is only indented, and what it promises is what is asked for."""
    assert {block.kind for block in BLOCKS} == {"python", "toml", "sh", "shell", "json", "text"}
    assert not re.search(r"^ {4}\S", BLOCK.sub("", PAGE), re.MULTILINE)
    kinds = [block.kind for block in BLOCKS]
    assert all(before == "sh" for before, kind in pairwise(kinds) if kind in ("json", "text"))


def test_names_of_the_page() -> None:
    """What the page says of `twisted_kong.testing` and the interfaces is there."""
    from twisted_kong import interfaces, testing

    prose = BLOCK.sub("", PAGE)
    assert set(re.findall(r"`(I[A-Z]\w+)`", prose)) <= set(vars(interfaces))
    suites = {name for name in testing.__all__ if name.endswith("_contract")}
    assert set(re.findall(r"`(\w+_contract)\(", prose)) == suites
    assert set(re.findall(r"\]\(\.\./plugins/(\w+\.py)\)", prose)) == {
        path.name for path in (ROOT / "plugins").glob("*.py")
    }


def test_same_as_the_package() -> None:
    """The algorithm of the page is that of the package in the repository, but for its types."""
    (page,) = (block.text for block in BLOCKS if block.text.startswith("# plugins/first_available.py"))
    package = (ROOT / "plugins/wheel-example/src/kong_first_available/__init__.py").read_text()
    spelled = re.sub(r": (?:Iterable|Sequence)?\[?\b(?:IPeer|Upstream|Pick|Outcome)\b\]?| -> [\w| ]+(?=:)", "", package)
    for line in page.splitlines()[1:]:
        if "self._order = []" not in line and "import" not in line:
            assert line in spelled.splitlines(), line
