"""Requests to apis: what of them differs from requests to routes, and what does not."""

from __future__ import annotations

import pytest
from asking import Head, Proxy, make

from twisted_kong.model.entities import Api, Target, Upstream

URL = "http://10.0.0.1:8080/address"


def api(**fields: object) -> Api:
    """An api for a.test."""
    made: Api = make(
        Api,
        **{
            "id": "00000001-0000-4000-8000-000000000000",
            "name": "my-api",
            "hosts": ["a.test"],
            "upstream_url": URL,
            **fields,
        },
    )
    return made


def dialled(proxy: Proxy) -> list[tuple[str, int]]:
    return [(host, port) for host, port, *_ in proxy.clock.tcpClients]


def test_exchange() -> None:
    """An api's origin is asked as a service's is: its own Host, a prefix where one was stripped."""
    proxy = Proxy(api(uris=["/a"]))
    answer, asked = proxy.ask("/a/b?c")
    assert asked is not None
    assert (answer.first, asked.first) == ("HTTP/1.1 200 OK", "GET /address/b?c HTTP/1.1")
    assert (asked["host"], asked["x-forwarded-prefix"], asked["x-forwarded-path"]) == (
        ["10.0.0.1:8080"],
        ["/a"],
        ["/a/b"],
    )
    assert dialled(proxy) == [("10.0.0.1", 8080)]


def test_preserve_host() -> None:
    """An api may keep the client's Host."""
    _, asked = Proxy(api(preserve_host=True)).ask()
    assert asked is not None
    assert asked["host"] == ["a.test"]


@pytest.mark.parametrize(
    ("terminated", "lines", "passes"),
    [
        (False, [], False),
        (False, ["X-Forwarded-Proto: https"], False),
        (True, [], False),
        (True, ["X-Forwarded-Proto: HTTPS"], True),
        (True, ["X-Forwarded-Proto: http"], False),
        (True, ["X-Forwarded-Proto: https", "X-Forwarded-Proto: https"], False),
    ],
)
def test_https_only(terminated: bool, lines: list[str], passes: bool) -> None:
    """A plain request to an api for https is told to upgrade, as in 0.10, unless somebody before us ended TLS."""
    proxy = Proxy(api(https_only=True, http_if_terminated=terminated))
    answer, asked = proxy.ask("/", *lines, "Accept: text/html")
    assert (asked is not None) is passes
    if not passes:
        assert answer.first == "HTTP/1.1 426 Upgrade Required"
        assert answer["content-type"] == ["application/json; charset=utf-8"]
        assert answer["upgrade"] == ["TLS/1.2, HTTP/1.1"]
        assert "Upgrade" in answer["connection"]
        assert answer.body == b'{"message":"Please use HTTPS protocol"}\n'


@pytest.mark.parametrize("lines", [[], ["Kong-Debug: 1"]])
def test_debug_header(lines: list[str]) -> None:
    """Who asks is told the name of the api, and of no route or service, since there are none."""
    answer, _ = Proxy(api(), allow_debug_header="on").ask("/", *lines)
    assert answer["kong-api-name"] == (["my-api"] if lines else [])
    assert not any(name.startswith(("kong-route", "kong-service")) for name in answer.fields)


def test_blue_green() -> None:
    """A change of upstream_url moves the next request; the one under way is answered by whom it was sent to."""
    upstreams = [make(Upstream, name=f"{color}.service") for color in ("blue", "green")]
    targets = [
        make(Target, upstream={"id": upstream.id}, target=f"10.0.0.{number}:80")
        for number, upstream in enumerate(upstreams, 1)
    ]
    proxy = Proxy(*upstreams, *targets, api(upstream_url="http://blue.service/address"))
    client = proxy.send()
    proxy.put(api(upstream_url="http://green.service/address"))
    origin = proxy.accept()
    assert Head(origin.value()).first == "GET /address HTTP/1.1"
    proxy.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nblue")
    assert client.value().endswith(b"\r\n\r\nblue")
    proxy.ask()
    assert dialled(proxy) == [("10.0.0.1", 80), ("10.0.0.2", 80)]


def test_destinations_are_kept_apart() -> None:
    """The addresses of an api that stays are not forgotten when another one goes."""
    stays, goes = api(), make(Api, name="other", hosts=["b.test"], upstream_url="http://10.0.0.2")
    proxy = Proxy(stays, goes)
    proxy.ask()
    service = proxy.gateway.router.apis.by_id[stays.id][0].route.destination.service  # type: ignore[union-attr]
    found, _ = proxy.gateway.balancer(service)  # type: ignore[arg-type]
    proxy.delete(goes)
    again, _ = proxy.gateway.balancer(service)  # type: ignore[arg-type]
    assert again is found
