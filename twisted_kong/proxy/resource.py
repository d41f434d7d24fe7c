"""The proxy as a resource of a ``twisted.web`` site: an `Exchange` works for a request of the site.

What lives here is what lies between the two, and no decision about a request. Its head is put together again and read
by our own parser, so that what the gateway refuses elsewhere is refused here; its body, which the site has received
already, is brought in pieces; the answer is written as fast as the client takes it. What is heard of the client after
that goes back to the exchange.
"""

from __future__ import annotations

from random import Random
from typing import IO, TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from twisted_kong.errors import RequestRefused
from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.exchange import Exchange
from twisted_kong.proxy.forwarding import Client
from twisted_kong.proxy.headers import RequestHead
from twisted_kong.proxy.wire import READ_SIZE, Wire
from twisted_kong.runtime.checkers import guarded_checkers
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.guard import Guards
from twisted_kong.runtime.monitor import Monitor
from twisted_kong.runtime.names import make_names
from twisted_kong.runtime.probetls import ProbeTls
from twisted_kong.runtime.resolvers import make_resolver
from twisted_kong.settings import Settings
from twisted_kong.tasks import Waiter
from twisted_kong.tls import client_defaults

if TYPE_CHECKING:
    from twisted_kong.registry import Registry


class ReverseProxyResource(Resource):
    """Answers every request as the proxy would.

    Wherever the resource is mounted, the whole URI of the request is matched and forwarded, the path to the resource
    included: the routes decide what to match, and by ``strip_path`` what to leave out.

    The site does the rest of HTTP/1, in its own way: it reads a request's body to the end before anybody hears of the
    request, without a limit, and in memory as well if it is a form, unless the site was made with
    ``parsePOSTFormSubmission=False``. HTTP/2 is refused.

    :param core: what requests share. ``core.close()`` lets go of the connections and timers it keeps.
    """

    isLeaf = True

    def __init__(self, core: ProxyCore, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self.core = core
        self._port_maps = settings.port_maps
        self._send = settings.nginx_http_send_timeout

    @classmethod
    def from_store(
        cls, reactor: Any, store: IConfigStore, registry: Registry, settings: Settings | None = None
    ) -> ReverseProxyResource:
        """A proxy of its own under the configuration in ``store``, now and after every change.

        :raise ComponentError: a setting names a component that the registry has not got.
        """
        settings = settings or Settings()
        factory = registry.resolver(settings.dns_resolver_plugin)
        guards = Guards(registry.components, reactor.seconds)
        fallback = registry.fallback(settings.algorithm_fallback)
        resolver = make_resolver(factory, reactor, settings, guards.of("resolver", factory.name))
        names = make_names(reactor, settings, resolver)
        checkers = guarded_checkers(registry.checkers, guards)
        monitor = Monitor(reactor, Random(), checkers, names, ProbeTls(store.snapshot, client_defaults(settings)))
        gateway = Gateway(registry.algorithms, settings.router_flavor, names, guards, fallback, monitor)
        gateway.apply(EMPTY, store.snapshot())
        store.subscribe(gateway.apply)
        return cls(ProxyCore(reactor, settings, gateway, names, Random()), settings)

    def render(self, request: Request) -> int:
        """Begin to answer ``request``, whatever its method."""
        downstream = SiteDownstream(request, self.core, self._send)
        try:
            head = self._read_head(request)
        except RequestRefused as error:
            downstream.refuse(error)
        else:
            downstream.begin(head, self._client(request))
        return NOT_DONE_YET

    def _read_head(self, request: Request) -> RequestHead:
        """The request's head, as strictly as our own server reads it."""
        lines = [b"%b %b %b" % (request.method, request.uri, request.clientproto)]
        for name, values in request.requestHeaders.getAllRawHeaders():
            lines += [b"%b: %b" % (name, value) for value in values]
        return self.core.request_parser.parse(b"\r\n".join(lines))

    def _client(self, request: Request) -> Client:
        scheme, port = (b"https", 443) if request.isSecure() else (b"http", 80)
        port = getattr(request.getHost(), "port", port)
        address = getattr(request.getClientAddress(), "host", "")
        return Client(address, self._port_maps.get(port, port), scheme, self.core.trust)


@implementer(IPushProducer)
class SiteDownstream(Waiter):
    """One request of a site, as its exchange sees it: a `twisted_kong.proxy.downstream.Downstream`.

    It is the producer of the answer for the site's transport. A client that does not take the answer for ``send``
    seconds is cut off.
    """

    congested = False
    switching = False  # a site's connection is its own

    def __init__(self, request: Request, core: ProxyCore, send: float) -> None:
        super().__init__(core.deadlines)
        self._request = request
        self._core = core
        self._send = send
        self._exchange: Exchange | None = None
        self._body: IO[bytes] | None = None  # what of it has not been brought
        self._held = False
        self._bringing = False  # the next piece of the body has its turn
        self._closing = False
        self._streaming = False

    def begin(self, head: RequestHead, client: Client) -> None:
        """Let an exchange find the answer."""
        _ = self._request.notifyFinish().addCallbacks(lambda _: None, self._gone)
        self._exchange = exchange = Exchange(self._core, self, head, client)
        exchange.start()

    def refuse(self, error: RequestRefused) -> None:
        """Answer a request that could not be read."""
        core = self._core
        request_id = core.new_request_id()
        lines, body = core.made_up(error, None, request_id)
        self.close_after()
        self.answer(error.status, b"", lines + core.tokens.decided(request_id, 0.0), len(body), body, True)

    def _gone(self, reason: Failure) -> None:
        self._rest()
        if self._exchange is not None:
            self._exchange.client_gone()

    def _rest(self) -> None:
        """There is nothing more to do, neither now nor later."""
        self._body = None
        self._deadlines.forget(self)

    # -- the body ----------------------------------------------------------------------------------------------

    def expect_body(self) -> None:
        self._body = self._request.content
        self._bring_later()

    def hold_body(self, hold: bool) -> None:
        self._held = hold
        if not hold:
            self._bring_later()

    def _bring_later(self) -> None:
        """Every piece has a turn of the reactor, so that nobody waits for the end of a long body on disk."""
        if self._body is not None and not self._bringing:
            self._bringing = True
            self._core.reactor.callLater(0, self._bring)

    def _bring(self) -> None:
        self._bringing = False
        body, exchange = self._body, self._exchange
        if self._held or body is None or exchange is None:
            return
        content = body.read(READ_SIZE)
        ended = len(content) < READ_SIZE
        if ended:
            self._body = None
        if content:
            exchange.body_received(content)
        if ended:
            exchange.body_ended()
        else:
            self._bring_later()

    # -- the answer --------------------------------------------------------------------------------------------

    def answer(self, status: int, reason: bytes, lines: bytes, length: int | None, content: bytes, ended: bool) -> None:
        request = self._request
        request.setResponseCode(status, reason or None)
        request.defaultContentType = None
        self._put_headers(lines)
        headers = request.responseHeaders
        if length is not None and status != 204:
            headers.setRawHeaders(b"Content-Length", [b"%d" % length])
        if self._closing:
            headers.setRawHeaders(b"Connection", [b"close"])
        if not ended:
            self._streaming = True
            request.registerProducer(self, True)
        self._write(content, ended)

    def _put_headers(self, lines: bytes) -> None:
        """Our header lines, in place of what the site says by itself of its server and the time."""
        headers = self._request.responseHeaders
        headers.removeHeader(b"Server")
        headers.removeHeader(b"Date")
        for line in lines.split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            headers.addRawHeader(name, value)

    def answer_more(self, content: bytes, ended: bool) -> None:
        self._write(content, ended)

    def _write(self, content: bytes, ended: bool) -> None:
        self._request.write(content)  # which leaves it out where there can be none
        if ended:
            self._finish()

    def _finish(self) -> None:
        self._rest()
        request = self._request
        if self._streaming:
            request.unregisterProducer()
        if self._closing:
            request.channel.persistent = False  # or it would begin with what the client has sent behind this request
        request.finish()

    def answer_trailers(self, lines: bytes) -> None:
        """A site has no means to send them."""

    def switch(self, lines: bytes) -> tuple[Wire, bytes]:
        raise NotImplementedError

    def close_after(self) -> None:
        self._closing = True

    def answer_broken(self) -> None:
        self._rest()
        self._abort()

    def _abort(self) -> None:
        transport: Any = self._request.transport  # whatever a site listens on can do this, but no interface says so
        transport.abortConnection()

    # -- what the site's transport says ------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self.congested = True
        self.arm(self._send)

    def resumeProducing(self) -> None:
        self.disarm()
        if self.congested:
            self.congested = False
            if self._exchange is not None:
                self._exchange.drained()

    def stopProducing(self) -> None:
        self.congested = True

    def timed_out(self) -> None:
        """The client has taken nothing for too long."""
        self._abort()
