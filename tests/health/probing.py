"""Upstreams whose peers are probed, for the tests of checkers."""

from __future__ import annotations

from typing import Any

from twisted_kong.model.entities import Upstream
from twisted_kong.model.schema import Schema


def upstream(host_header: str | None = None, **active: Any) -> Upstream:
    """An upstream with these active checks."""
    data = {"name": "u", "host_header": host_header, "healthchecks": {"active": active}}
    return Schema().build(Upstream, data, now=1.0)
