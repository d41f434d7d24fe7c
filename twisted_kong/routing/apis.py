"""What an api is made into before requests come: a route and a service in one, with candidates of its own order.

Apis are the proxy entity of Kong 0.10. A request that no route wants is offered to them, under the rules of their
time: what they compare is the path as it came. All there is to their precedence is in this file.
"""

from __future__ import annotations

from twisted_kong.model.entities import Api, Route, Service
from twisted_kong.routing.candidates import Candidate, CompiledRoute, Destination, Rank


def api_candidates(api: Api) -> tuple[Candidate, ...]:
    """All candidates of ``api``: none if it asks for nothing in particular, as it may after a change."""
    if not (api.hosts or api.uris or api.methods):
        return ()
    ready = _compile(api)
    return tuple(
        Candidate(_rank(api, host, uri), ready, _bytes(host and host.lower()), _bytes(uri), None)
        for uri in dict.fromkeys(api.uris or (None,))
        for host in dict.fromkeys(api.hosts or (None,))
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _rank(api: Api, host: str | None, uri: str | None) -> Rank:
    """Kong's order (0.10): the more kinds of criteria, hosts before uris before methods; then the longer uri, then a
    plain host before one with a wildcard. The older one where that does not decide is our choice."""
    kinds = (bool(api.hosts), bool(api.uris), bool(api.methods))
    return (
        -sum(kinds),
        *(not kind for kind in kinds),
        -len(uri or ""),
        host is not None and "*" in host,
        api.created_at,
        api.id,
    )


def _compile(api: Api) -> CompiledRoute:
    return CompiledRoute(
        route=_route(api),
        strip_path=api.strip_uri,
        preserve_host=api.preserve_host,
        concatenate=False,
        https_only=api.https_only,
        grpc=False,
        methods=frozenset(method.encode() for method in api.methods or ()),
        headers=(),
        snis=None,
        api=api,
        destination=Destination.of(_service(api)),
    )


def _service(api: Api) -> Service:
    """The half of an api that says where requests go."""
    upstream = api.upstream
    return Service.from_document(
        {
            **_identity(api),
            "protocol": upstream.scheme,
            "host": upstream.host,
            "port": upstream.port,
            "path": upstream.path,
            "retries": api.retries,
            "connect_timeout": api.upstream_connect_timeout,
            "write_timeout": api.upstream_send_timeout,
            "read_timeout": api.upstream_read_timeout,
        }
    )


def _route(api: Api) -> Route:
    """The half of an api that says which requests go there."""
    return Route.from_document(
        {
            **_identity(api),
            "protocols": ("https",) if api.https_only else ("http", "https"),
            "hosts": api.hosts,
            "paths": api.uris,
            "methods": api.methods,
            "strip_path": api.strip_uri,
            "preserve_host": api.preserve_host,
            "service": {"id": api.id},
        }
    )


def _identity(api: Api) -> dict[str, object]:
    seconds = {"created_at": api.created_at // 1000, "updated_at": api.updated_at // 1000}
    return {"id": api.id, "name": api.name, "tags": api.tags, **seconds}
