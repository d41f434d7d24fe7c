"""Paths to handlers: the tree of resources that a table of endpoints describes.

An endpoint is an object with an ``async def`` for each method it takes. The table gives it a path, whose parameters
are in braces: ``/upstreams/{upstreams}/targets``. Here a request finds its endpoint or is refused, and whatever
becomes of it is answered; no handler deals with any of that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from twisted_kong.admin.answers import EMPTY, Answer, MethodNotAllowed, NotFound, Refused
from twisted_kong.admin.codec import NOTHING, Decoder, decoder_for
from twisted_kong.admin.forms import decode_query
from twisted_kong.admin.request import AdminRequest, Call
from twisted_kong.errors import AdminError
from twisted_kong.tasks import detach

log = Logger()

Handler = Callable[[Call], Awaitable[Answer]]

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
WITH_BODY = ("PATCH", "POST", "PUT")
SAFE = ("GET", "HEAD", "OPTIONS")
_AS_WRITTEN = "/%!$&'()*+,;=:@~"
UNEXPECTED = Answer(500, {"message": "An unexpected error occurred"})


class Endpoint:
    """One path. Derived classes define ``async def get(self, call: Call) -> Answer`` and its like."""

    with_body: tuple[str, ...] = WITH_BODY
    """The methods whose body is read; what comes with others is dropped."""
    safe: tuple[str, ...] = SAFE
    """The methods that change nothing, which who may only read may use."""

    def decoder_for(self, content_type: str | None) -> Decoder:
        """How a body of this content type is read here. See `codec.decoder_for`."""
        return decoder_for(content_type)

    def handlers(self) -> dict[str, Handler]:
        """By method, what answers it; a HEAD is a GET whose body is not sent."""
        found = {method: getattr(self, method.lower()) for method in METHODS if hasattr(self, method.lower())}
        return {**found, "HEAD": found["GET"]} if "GET" in found else found


class Place(Resource):
    """A place in a path: what answers there, if anything, and what may follow."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._handlers: Mapping[str, Handler] = {}
        self._with_body = Endpoint.with_body
        self._safe = Endpoint.safe
        self._decoder_for = decoder_for
        self._parameter: tuple[str, Place] | None = None

    def follow(self, segment: str) -> Place:
        """The place one segment further; it comes to be where it is not there yet."""
        if segment.startswith("{"):
            self._parameter = self._parameter or (segment.strip("{}"), Place())
            return self._parameter[1]
        child: Place = self.children.setdefault(segment.encode(), Place())
        return child

    def settle(self, endpoint: Endpoint) -> None:
        """Let ``endpoint`` answer here."""
        self._handlers = endpoint.handlers()
        self._with_body = endpoint.with_body
        self._safe = endpoint.safe
        self._decoder_for = endpoint.decoder_for

    def getChild(self, path: bytes, request: AdminRequest) -> IResource:
        """An empty segment leads nowhere else, so that a trailing slash changes nothing."""
        if not path:
            return self
        if self._parameter is None:
            return Place()
        name, child = self._parameter
        request.keys[name] = path
        return child

    def render(self, request: AdminRequest) -> int:
        detach(self._serve(request), f"answering {request}")
        return NOT_DONE_YET

    async def _serve(self, request: AdminRequest) -> None:
        try:
            answer = await self._answer(request)
        except AdminError as refusal:
            answer = Answer(refusal.status, refusal.body())
        except Exception:
            log.failure("{request} could not be answered", request=request)
            answer = UNEXPECTED
        request.send(answer)

    async def _answer(self, request: AdminRequest) -> Answer:
        """Who is let in hears Kong's refusals in Kong's order: size, content type, path, method, then what was sent."""
        method = request.method.decode("latin-1")
        request.admit(method, self._safe)
        body = request.body()
        content_type = request.header("Content-Type")
        announced = method in self._with_body and (body or content_type is not None)
        decode = self._decoder_for(content_type) if announced else None
        if not self._handlers:
            raise NotFound
        request.put_header("Access-Control-Allow-Credentials", "true")
        if method == "OPTIONS":
            return self._preflight(request)
        if method not in self._handlers:
            raise MethodNotAllowed
        path, _, query = request.uri.partition(b"?")
        call = Call(
            path=quote(path.rstrip(b"/"), safe=_AS_WRITTEN),
            keys=_decoded(request.keys),
            query=decode_query(query),
            document=decode(body) if decode else NOTHING,
            origin=request.origin(),
            author=request.author(),
        )
        return await self._handlers[method](call)

    def _preflight(self, request: AdminRequest) -> Answer:
        """Which methods this path takes, and to a browser that it may send the headers it asks for."""
        methods = ", ".join(sorted([*self._handlers, "OPTIONS"]))
        request.put_header("Allow", methods)
        request.put_header("Access-Control-Allow-Methods", methods)
        request.put_header(
            "Access-Control-Allow-Headers", request.header("Access-Control-Request-Headers") or "Content-Type"
        )
        return EMPTY


def _decoded(keys: Mapping[str, bytes]) -> dict[str, str]:
    try:
        return {name: key.decode() for name, key in keys.items()}
    except UnicodeDecodeError:
        raise Refused(400, "Cannot parse path: expected UTF-8") from None


def make_tree(endpoints: Mapping[str, Endpoint]) -> Place:
    """The root of the resources that ``endpoints`` describes, by path."""
    root = Place()
    for path, endpoint in endpoints.items():
        place = root
        for segment in filter(None, path.split("/")):
            place = place.follow(segment)
        place.settle(endpoint)
    return root
