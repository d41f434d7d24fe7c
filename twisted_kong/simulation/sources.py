"""Where the upstream of a simulation comes from: a declarative file, or the Admin API of a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, urljoin
from urllib.request import urlopen

from twisted_kong.errors import GatewayError
from twisted_kong.model.entities import Entity, Target, Upstream
from twisted_kong.model.schema import Schema

PATIENCE = 10.0
"""Seconds that the Admin API has to answer."""


class NoUpstream(GatewayError):
    """There is no upstream to simulate."""


def from_entities(entities: Iterable[Entity], name: str | None) -> tuple[Upstream, dict[str, int]]:
    """The upstream of this name, or the only one, with the weights of its targets.

    :raise NoUpstream: there is none, or more than one and no name.
    """
    found = list(entities)
    upstreams = [one for one in found if isinstance(one, Upstream) and name in (None, one.name)]
    if len(upstreams) != 1:
        known = ", ".join(sorted(one.name for one in found if isinstance(one, Upstream))) or "none"
        raise NoUpstream(f"expected one upstream{'' if name is None else f' called {name!r}'}; there are: {known}")
    (upstream,) = upstreams
    targets = [one for one in found if isinstance(one, Target) and one.upstream.id == upstream.id]
    return upstream, {target.target: target.weight for target in targets}


def from_gateway(url: str, name: str | None, schema: Schema) -> tuple[Upstream, dict[str, int]]:
    """The same of the gateway whose Admin API is at ``url``.

    :raise NoUpstream: it does not answer, or has no such upstream.
    """
    if name is None:
        raise NoUpstream("which upstream of the gateway? --upstream NAME")
    base = urljoin(url.rstrip("/") + "/", f"upstreams/{quote(name, safe='')}")
    data = _get(base)
    known = {field: value for field, value in data.items() if field in Upstream.model_fields}
    upstream = schema.build(Upstream, known, now=float(data.get("updated_at", 0)))
    targets: dict[str, int] = {}
    page: str | None = f"{base}/targets?size=1000"
    while page:
        answer = _get(page)
        targets.update((target["target"], target["weight"]) for target in answer["data"])
        page = urljoin(url, answer["next"]) if answer.get("next") else None
    return upstream, targets


def _get(url: str) -> Mapping[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise NoUpstream(f"expected the http(s) URL of an Admin API, got {url!r}")
    try:
        with urlopen(url, timeout=PATIENCE) as answer:
            found: Mapping[str, Any] = json.load(answer)
            return found
    except (URLError, OSError, ValueError) as error:
        raise NoUpstream(f"{url}: {error}") from None
