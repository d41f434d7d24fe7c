"""The Admin API on the wire: how a request is received and how its answer is sent.

Everything an answer has in common with every other is put on it here: name and version, cross-origin headers, the
time it took. What is answered is decided elsewhere, and so is who is let in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import quote

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, combinedLogFormatter
from twisted.web.iweb import IAccessLogFormatter
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import provider

from twisted_kong import VERSION
from twisted_kong.admin import codec
from twisted_kong.admin.answers import Answer, Refused
from twisted_kong.admin.doorkeeper import ANONYMOUS, Denied, Doorkeeper, Shown, may
from twisted_kong.model.changes import Author
from twisted_kong.settings import Settings

SERVER = f"kong/{VERSION}"
JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """A request as its handler sees it."""

    path: str
    """As written, without the query and without a trailing slash; ASCII."""
    keys: Mapping[str, str]
    """By parameter, what stands for it in the path, percent-decoded."""
    query: Mapping[str, Any]
    document: codec.Document
    origin: str
    """Scheme and authority by which the client reached us: ``http://127.0.0.1:8001``."""
    author: Author
    """Who asks."""


class AdminRequest(Request):
    """A request whose body stays in memory up to a limit; what is beyond is received and dropped."""

    defaultContentType = None

    def __init__(self, channel: HTTPChannel, *args: Any, **options: Any) -> None:
        super().__init__(channel, *args, **options)  # type: ignore[no-untyped-call]  # Twisted's
        self._site: AdminSite = channel.site  # type: ignore[attr-defined]  # Site.buildProtocol sets it
        self._site.requests += 1
        self._began = self._site.reactor.seconds()
        self._body = BytesIO()
        self._size = 0
        self._gone = False
        self._stranger: Denied | None = None
        self.caller = ANONYMOUS
        """Who asks, once that is known."""
        self.keys: dict[str, bytes] = {}
        """What `Call.keys` is made of, noted while the path is walked."""

    def gotLength(self, length: int | None) -> None:
        """The head is there."""
        self.content = self._body
        try:
            self.caller = self._site.doorkeeper.identify(self._shown())
        except Denied as denied:
            self._stranger = denied

    def handleContentChunk(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._site.max_body and self._stranger is None:
            self._body.write(data)

    def _shown(self) -> Shown:
        """What there is to tell who asks. Authorization may be of a kind that is for somebody in front of us."""
        found = self.requestHeaders.getRawHeaders(b"kong-admin-token") or [
            value[7:]
            for value in self.requestHeaders.getRawHeaders(b"authorization", ())
            if value[:7].lower() == b"bearer "
        ]
        peer = getattr(self.channel.transport, "getPeerCertificate", lambda: None)()
        certificate = None if peer is None else peer.to_cryptography()
        return Shown(self.address, [value.decode("latin-1").strip() for value in found], certificate)

    @property
    def address(self) -> str:
        """Where the connection comes from: an IP address, or ``unix:``."""
        client = self.getClientAddress()  # type: ignore[no-untyped-call]  # Twisted's
        return "unix:" if isinstance(client, UNIXAddress) else str(getattr(client, "host", client))

    def admit(self, method: str, safe: Sequence[str]) -> None:
        """Let the request in, for methods that change nothing, which are ``safe``, or for all.

        Browsers ask beforehand, with OPTIONS, whether they may send a token: they are told.

        :raise Denied: no.
        """
        if method == "OPTIONS":
            return
        try:
            if self._stranger is not None:
                raise self._stranger
            may(self.caller, method, safe)
        except Denied as denied:
            for name, value in denied.headers.items():
                self.put_header(name, value)
            raise

    def author(self) -> Author:
        """Who asks, for the log of changes."""
        return Author(self.caller.name, self.address)

    def connectionLost(self, reason: Failure) -> None:
        self._gone = True
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # Twisted's

    def body(self) -> bytes:
        """The whole body.

        :raise Refused: 413, it is beyond the limit.
        """
        if self._size > self._site.max_body:
            raise Refused(413, f"expected a body of at most {self._site.max_body} bytes; got {self._size}")
        return self._body.getvalue()

    def header(self, name: str) -> str | None:
        """The last header of this name, its bytes read as Latin-1."""
        value = self.getHeader(name.encode())
        return None if value is None else value.decode("latin-1")

    def origin(self) -> str:
        """How the client reached us; by the address of the listener where it does not say so (HTTP/1.0)."""
        here = self.getHost()  # type: ignore[no-untyped-call]  # Twisted's
        host = self.header("Host") or f"{getattr(here, 'host', 'localhost')}:{getattr(here, 'port', 80)}"
        scheme = "https" if self.isSecure() else "http"  # type: ignore[no-untyped-call]  # Twisted's
        return f"{scheme}://{host}"

    def put_header(self, name: str, value: str) -> None:
        """Let the answer have this header, and no other of its name; what `header` gave can be given back."""
        self.responseHeaders.setRawHeaders(name.encode(), [value.encode("latin-1")])

    def send(self, answer: Answer) -> None:
        """Answer, unless the client has gone."""
        if self._gone:
            return
        self.setResponseCode(answer.status)
        self._put_common_headers()
        match answer.document:
            case None:
                body = b""
            case str() as text:
                body = text.encode()
                self.put_header("Content-Type", answer.media_type)
            case document:
                body = codec.encode(document)
                self.put_header("Content-Type", JSON)
        if answer.status != 204:  # RFC 9110 §8.6: no length where there can be no body
            self.put_header("Content-Length", str(len(body)))
        self.write(body)  # type: ignore[no-untyped-call]  # Twisted's
        self.finish()  # type: ignore[no-untyped-call]  # Twisted's

    def _put_common_headers(self) -> None:
        """``Server`` and the time it took, in milliseconds, are sent where the settings' ``headers`` have them."""
        took = max(0.0, self._site.reactor.seconds() - self._began)
        self.responseHeaders.removeHeader("Server")
        for name, value in (("Server", SERVER), ("X-Kong-Admin-Latency", str(round(took * 1000)))):
            if name in self._site.headers:
                self.put_header(name, value)
        self.put_header("Access-Control-Allow-Origin", self._allowed_origin())

    def _allowed_origin(self) -> str:
        """The origin of pages that may read this: the one that asks, or where some are named, one of these (Kong)."""
        asking, named = self.header("Origin"), self._site.origins
        if not named:
            return asking or "*"
        return asking if asking is not None and asking in named else named[0]


def largest_body(settings: Settings) -> float:
    """Bytes of a body that is read at most."""
    return settings.nginx_admin_client_max_body_size or float("inf")


@provider(IAccessLogFormatter)
def _line(timestamp: str, request: AdminRequest) -> str:
    """A line of the log in nginx's format, with the name of who asked where it has the name of a user."""
    line: str = combinedLogFormatter(timestamp, request)
    if request.caller is ANONYMOUS:
        return line
    return line.replace(" - - ", f" - {quote(request.caller.name, safe='.@=,')} ", 1)


class AdminSite(Site):
    """A site of requests that are `AdminRequest`.

    ``max_body`` is in bytes; ``headers`` are the names of those of our own that answers carry; ``origins`` are those of
    the pages that may read answers, or all where there are none; ``doorkeeper`` knows who is let in.
    """

    noisy = False  # that it listens is logged with the port

    def __init__(
        self,
        root: IResource,
        *,
        max_body: float,
        headers: Collection[str],
        origins: Sequence[str] = (),
        doorkeeper: Doorkeeper | None = None,
        reactor: IReactorTime,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # Twisted's
            root, AdminRequest, parsePOSTFormSubmission=False, reactor=reactor, logFormatter=_line
        )
        self.doorkeeper = doorkeeper or Doorkeeper()
        self.max_body = max_body
        self.headers = headers
        self.origins = origins
        self.accepted = 0
        """The connections there ever were."""
        self.requests = 0
        """The requests there ever were, with those under way."""

    def renew(self, settings: Settings) -> None:
        """These are the settings for requests that come from now on."""
        self.max_body = largest_body(settings)
        self.origins = settings.admin_gui_url
        self.renew_headers(settings)

    def renew_headers(self, settings: Settings) -> None:
        """The same where there is nothing to send, and for nobody's page to read."""
        self.headers = settings.headers

    def buildProtocol(self, addr: Any) -> Any:
        self.accepted += 1
        return super().buildProtocol(addr)  # type: ignore[no-untyped-call]  # Twisted's
