"""docs/migrating-from-kong.md from its first line to its last: see `pages`. A gateway stands in for Kong."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from pages import BLOCK, blocks, follow, reading
from readme import ROOT

from twisted_kong.settings.accepted import INERT, REFUSED

PAGE = (ROOT / "docs" / "migrating-from-kong.md").read_text()
PORT = re.compile(r"(?<=[: ])[89]\d0\d\b")
KONG = "--proxy-listen 127.0.0.1:8000 --admin-listen 127.0.0.1:8001"


@pytest.fixture
def exported() -> str:
    """The file of the page, less what no Kong of ours has."""
    (text,) = (block.text for block in blocks(PAGE) if block.text.startswith("# kong.yml"))
    return re.sub(r"- name: rate-limiting\n(  .*\n)+", "", text)


def test_page(tmp_path: Path, exported: str) -> None:
    """Whoever follows the page finds what it says, and one in eleven requests comes to the new one."""
    with reading(tmp_path, PAGE, PORT) as reader:
        (reader.home / "www" / "orders").mkdir(parents=True)
        (reader.home / "www" / "orders" / "index.html").write_text("all orders")
        (reader.home / "old.yml").write_text(reader.here(exported))
        reader.start(f"'{reader.environment.python}' -m http.server --bind 127.0.0.1 --directory www 9001")
        reader.run("kong-gateway config db_import old.yml --prefix old")
        reader.start(f"twistd --nodaemon --pidfile= kong-gateway --prefix old {KONG}")
        follow(reader, PAGE)
    log = (reader.home / "divide" / "logs" / "access.log").read_text()
    assert log.count("GET /orders ") == 11
    served = [(reader.home / prefix / "logs" / "access.log").read_text() for prefix in ("old", "new")]
    compared = 1
    assert [each.count("GET /orders ") - compared for each in served] == [10, 1]


def test_everything_is_in_blocks() -> None:
    """No code on the page is only indented, and what it promises is what was asked for."""
    assert not re.search(r"^ {4}\S", BLOCK.sub("", PAGE), re.MULTILINE)
    kinds = [block.kind for block in blocks(PAGE)]
    assert all(before == "sh" for before, kind in pairwise(kinds) if kind in ("json", "text"))


def test_what_it_says_is_inert() -> None:
    """The settings that the page takes for inert or refused are."""
    assert {"pg_host", "plugins"} <= INERT.keys()
    assert {"role", "stream_listen", "wasm"} <= REFUSED.keys()
