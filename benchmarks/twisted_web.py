"""``python -m benchmarks.twisted_web PORT [ORIGIN…]``: twisted.web as it comes, on the epoll reactor.

With ports of origins, `twisted.web.proxy.ReverseProxyResource` in front of each, taken in turn; without, a
site that answers the benchmark's requests itself.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

from twisted.internet import epollreactor
from twisted.web import http
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from benchmarks.load import WORKLOADS


class Answers(Resource):
    """The origins' answers."""

    isLeaf = True

    def __init__(self) -> None:
        Resource.__init__(self)
        self._bodies = {workload.path.encode(): b"a" * workload.answer for workload in WORKLOADS}

    def render(self, request: Request) -> bytes:
        return self._bodies[request.path]


class Turns(Resource):
    """Each request to the next of several proxies."""

    def __init__(self, proxies: Sequence[Resource]) -> None:
        Resource.__init__(self)
        self._next = itertools.cycle(proxies)

    def getChild(self, path: bytes, request: Request) -> IResource:
        child: IResource = next(self._next).getChildWithDefault(path, request)
        return child


class Quiet(Site):
    """A site without an access log, which no other server writes either."""

    def __init__(self, root: Resource) -> None:
        Site.__init__(self, root)

    def log(self, request: http.Request) -> None:
        pass


def main(port: int, origins: Sequence[int]) -> None:
    """Serve until SIGTERM."""
    epollreactor.install()
    # Both import the reactor, so only now.
    from twisted.internet import reactor
    from twisted.web.proxy import ReverseProxyResource

    proxies = [ReverseProxyResource("127.0.0.1", origin, b"", reactor) for origin in origins]
    site = Quiet(Turns(proxies) if proxies else Answers())
    reactor.listenTCP(port, site, backlog=1024, interface="127.0.0.1")  # type: ignore[arg-type]  # http.HTTPFactory is untyped
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(origin) for origin in sys.argv[2:]])
