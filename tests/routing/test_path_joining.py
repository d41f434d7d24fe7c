"""The path an origin is sent: service path, route path, strip_path and path_handling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.routing.paths import join

# service path, what the route's path matches, strip_path, request -> what the origin sees with v0, and with v1
TABLE = """
/         /         yes  /route          /route               /route
/         /         no   /route          /route               /route
/         /route    yes  /route          /                    /
/         /route    yes  /route/         /                    /
/         /route    yes  /routereq       /req                 /req
/         /route    no   /routereq       /routereq            /routereq
/         /route/   yes  /route/         /                    /
/         -         yes  /route          /route               /route
/         /users/1  yes  /users/1/x      /x                   /x
/srv      /rou      yes  /roureq         /srv/req             /srvreq
/srv      /rou      yes  /rou/req        /srv/req             /srv/req
/srv      /rou      no   /roureq         /srv/roureq          /srvroureq
/srv      /rou/     no   /rou/req        /srv/rou/req         /srvrou/req
/srv/     /rou      yes  /rou            /srv                 /srv/
/srv/     /rou      yes  /roureq         /srv/req             /srv/req
/srv/     /rou/     yes  /rou/           /srv/                /srv/
/service  /         yes  /               /service             /service
/service  /         yes  /route          /service/route       /serviceroute
/service  /         no   /               /service             /service
/service  /route    yes  /route          /service             /service
/service  /route    yes  /route/         /service/            /service/
/service  /route    yes  /routereq       /service/req         /servicereq
/service  /route/   yes  /route/         /service/            /service
/service  /route    no   /route          /service/route       /serviceroute
/service/ /route    yes  /route          /service             /service/
/service/ /route    yes  /route/         /service/            /service/
/service/ /route    yes  /route/req      /service/req         /service/req
/service  -         yes  /               /service             /service
/service  -         no   /               /service             /service
/service  -         yes  /route          /service/route       /serviceroute
/service  -         no   /route          /service/route       /serviceroute
/service/ -         no   /route          /service/route       /service/route
/service  /route    yes  /route./req     /service/req         /servicereq
/service  /route    yes  /route../req    /service/req         /servicereq
/service  /route    yes  /route.         /service             /service
/service  /route    yes  /route..        /service             /service
/service  /route    yes  /route.req      /service/.req        /service.req
/service  /route    no   /route./req     /service/route./req  /serviceroute./req
"""
ROWS = [tuple(line.split()) for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize("handling", ["v0", "v1"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:4]))
def test_table(row: tuple[str, str, str, str, str, str], handling: str) -> None:
    """Kong's table, both ways of path_handling."""
    base, path, strip, request, v0, v1 = row
    matched = 0 if path == "-" else len(path)
    sent, _ = join(base.encode(), request.encode(), matched, strip=strip == "yes", concatenate=handling == "v1")
    assert sent.decode() == (v0 if handling == "v0" else v1)


@pytest.mark.parametrize(
    ("matched", "strip", "prefix"),
    [(2, True, b"/x"), (4, True, b"/x/y"), (2, False, None), (1, True, None), (0, True, None)],
)
def test_prefix(matched: int, strip: bool, prefix: bytes | None) -> None:
    """The prefix is what was stripped: nothing, and the slash alone, are none."""
    assert join(b"/", b"/x/y", matched, strip=strip, concatenate=False)[1] == prefix


SEGMENTS = st.lists(st.sampled_from(["a", "b.", ".c", "..d", "e.."])).map(lambda parts: "/" + "/".join(parts))


@given(SEGMENTS, SEGMENTS, st.integers(0, 12), st.booleans(), st.booleans())
def test_never_above_the_base(base: str, path: str, matched: int, strip: bool, concatenate: bool) -> None:
    """Whatever is cut off a path, the origin is sent one below the service's, without dot segments."""
    sent, _ = join(base.encode(), path.encode(), min(matched, len(path)), strip=strip, concatenate=concatenate)
    assert sent.decode().startswith(base.removesuffix("/"))
    if not concatenate:
        assert not {b".", b".."} & set(sent.split(b"/"))
        assert b"//" not in sent
