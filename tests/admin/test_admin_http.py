"""How the Admin API speaks HTTP, whatever it speaks about."""

from __future__ import annotations

import pytest
from admin_api import CLIENT, FORM, NOT_FOUND, AdminApi
from twisted.internet.testing import StringTransport

from twisted_kong import VERSION
from twisted_kong.settings import Settings, load

NOT_ALLOWED = {"message": "Method not allowed"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 200), ("GET", "/services", 200), ("GET", "/nowhere", 404), ("PUT", "/services", 405)],
)
def test_common_headers(api: AdminApi, method: str, path: str, status: int) -> None:
    """Every answer has our name, the time it took, its type and length, and allows any origin."""
    answer = api.request(method, path)
    assert answer.status == status
    assert answer.headers["Server"] == f"kong/{VERSION}"
    assert answer.headers["X-Kong-Admin-Latency"] == "0"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert ("Access-Control-Allow-Credentials" in answer.headers) == (status != 404)


def test_latency_counts_from_the_first_byte(api: AdminApi) -> None:
    """The time a request takes includes its arrival, in whole milliseconds."""
    transport = StringTransport()
    channel = api.site.buildProtocol(CLIENT)
    assert channel is not None
    channel.makeConnection(transport)
    channel.dataReceived(b"GET /services HTTP/1.1\r\n")
    api.clock.advance(0.25)
    channel.dataReceived(b"Host: a.test\r\n\r\n")
    assert b"X-Kong-Admin-Latency: 250\r\n" in transport.value()


def test_headers_that_are_switched_off() -> None:
    """The settings decide whether answers carry our name and the time they took."""
    answer = AdminApi(settings=load(None, {}, {"headers": "off"})).request("GET", "/services")
    assert not {"Server", "X-Kong-Admin-Latency"} & answer.headers.keys()


def test_origin_is_echoed(api: AdminApi) -> None:
    """Who tells an origin is allowed that one."""
    answer = api.request("GET", "/services", Origin="http://gui.test:8002")
    assert answer.headers["Access-Control-Allow-Origin"] == "http://gui.test:8002"


@pytest.mark.parametrize(
    ("asking", "allowed"),
    [
        ("http://gui.test:8002", "http://gui.test:8002"),
        ("https://other.test", "https://other.test"),
        ("http://evil.test", "http://gui.test:8002"),
        ("http://gui.test", "http://gui.test:8002"),
        (None, "http://gui.test:8002"),
    ],
)
def test_origins_that_are_named(asking: str | None, allowed: str) -> None:
    """Where pages are named that may read answers, no others may; their paths do not matter, nor does a usual port."""
    urls = "http://GUI.test:8002/manager, https://other.test:443"
    api = AdminApi(settings=load(None, {}, {"admin_gui_url": urls}))
    headers = {} if asking is None else {"Origin": asking}
    answer = api.request("GET", "/services", b"", **headers)
    assert answer.headers["Access-Control-Allow-Origin"] == allowed


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/services", "GET, HEAD, OPTIONS, POST"),
        ("/routes/r/service", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/upstreams/u/targets/all", "GET, HEAD, OPTIONS"),
        ("/upstreams/u/targets/t", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
    ],
)
def test_options(api: AdminApi, path: str, methods: str) -> None:
    """OPTIONS tells the methods of a path, and allows the headers that were asked for."""
    answer = api.request("OPTIONS", path, Access_Control_Request_Headers="X-A, X-B")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"] == answer.headers["Access-Control-Allow-Methods"] == methods
    assert answer.headers["Access-Control-Allow-Headers"] == "X-A, X-B"
    assert "Content-Length" not in answer.headers


def test_preflight_without_wishes(api: AdminApi) -> None:
    """Who asks for no header is allowed Content-Type; an answer to anything else speaks of none of it."""
    assert api.request("OPTIONS", "/services").headers["Access-Control-Allow-Headers"] == "Content-Type"
    told = api.request("GET", "/services").headers.keys()
    assert not {"Allow", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers"} & told


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "GEEEET"])
@pytest.mark.parametrize("path", ["/nowhere", "/services/a/b", "/targets", "/upstreams/u/targets/t/x", "/status/x"])
def test_unknown_paths(api: AdminApi, method: str, path: str) -> None:
    """What is not there is not there for any method."""
    answer = api.request(method, path)
    assert (answer.status, answer.json) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/"), ("PATCH", "/services"), ("POST", "/services/s"), ("GEEEET", "/services")]
)
def test_methods_not_allowed(api: AdminApi, method: str, path: str) -> None:
    """A path takes its methods and no other."""
    answer = api.request(method, path)
    assert (answer.status, answer.json) == (405, NOT_ALLOWED)


@pytest.mark.parametrize("path", ["/services/", "//services", "/services//s", "/services/s/"])
def test_needless_slashes(api: AdminApi, path: str) -> None:
    """An empty segment leads nowhere else."""
    api.create("/services", name="s", host="a.test")
    assert api.get(path) == api.get(path.replace("//", "/").rstrip("/"))


@pytest.mark.parametrize(("path", "status"), [("/services", 200), ("/nowhere", 404)])
def test_head(api: AdminApi, path: str, status: int) -> None:
    """HEAD is GET without the body."""
    head, get = api.request("HEAD", path), api.request("GET", path)
    assert (head.status, head.body) == (status, b"")
    assert {**head.headers, "Date": ""} == {**get.headers, "Date": ""}


def test_order_of_refusals(api: AdminApi) -> None:
    """First the content type counts, then the path, then the method, then what was sent."""
    broken = b"{"
    assert api.request("POST", "/nowhere", broken, Content_Type="text/html").status == 415
    assert api.request("POST", "/nowhere", broken, Content_Type="application/json").status == 404
    assert api.request("PUT", "/services", broken, Content_Type="application/json").status == 405
    assert api.request("PUT", "/services/s", broken, Content_Type="application/json").status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_content_types(api: AdminApi, method: str) -> None:
    """Who sends something says what it is; who sends nothing need not."""
    path = "/services" if method == "POST" else "/services/s"
    assert api.request(method, path, b"host=a.test").status == 415
    assert api.request(method, path, Content_Type="text/html").status == 415
    assert api.request(method, path).status in (400, 404)
    assert api.request(method, path, Content_Type=FORM).status in (400, 404)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_bodies_nobody_reads(api: AdminApi, method: str) -> None:
    """Where a body means nothing, it may be anything."""
    answer = api.request(method, "/services/nobody", b"{", Content_Type="application/json")
    assert answer.status == (204 if method == "DELETE" else 404)


def test_query_says_nothing_about_an_entity(api: AdminApi) -> None:
    """What is created is described by the body alone."""
    assert api.form("POST", "/services?host=b.test&name=s", "host=a.test").json["name"] is None


def test_too_many_query_arguments(api: AdminApi) -> None:
    """A query has at most 1000 arguments."""
    assert api.request("GET", "/services?" + "&".join(["a=1"] * 1000)).status == 200
    answer = api.request("GET", "/services?" + "&".join(["a=1"] * 1001))
    assert (answer.status, answer.json) == (400, {"message": "Too many arguments"})


@pytest.mark.parametrize("path", ["/services/%ff", "/services?a=%ff"])
def test_paths_and_queries_are_text(api: AdminApi, path: str) -> None:
    """What is not UTF-8 is refused."""
    assert api.request("GET", path).status == 400


def test_body_limit() -> None:
    """A body up to the limit of the settings is read, one beyond it is refused whatever it is."""
    api = AdminApi(settings=Settings(nginx_admin_client_max_body_size=20))
    assert api.form("POST", "/services", "host=a.test&port=443").status == 201
    assert api.form("POST", "/services", "host=a.test&port=8443").status == 413
    assert api.request("POST", "/nowhere", b"x" * 21).status == 413


def test_body_limit_of_an_unannounced_length() -> None:
    """A body in chunks has the same limit, and the connection lives on."""
    api = AdminApi(settings=Settings(nginx_admin_client_max_body_size=20))
    chunked = b"POST /services HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    transport = StringTransport()
    channel = api.site.buildProtocol(CLIENT)
    assert channel is not None
    channel.makeConnection(transport)
    channel.dataReceived(chunked + b"b\r\nhost=a.test\r\n" * 2 + b"0\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    first, second = transport.value().split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"413", b"200")


def test_no_body_limit() -> None:
    """A limit of zero is none."""
    api = AdminApi(settings=Settings(nginx_admin_client_max_body_size=0))
    assert api.form("POST", "/services", "host=a.test").status == 201


def test_counted(api: AdminApi) -> None:
    """Every connection and every request is counted, whatever becomes of it."""
    for number, path in enumerate(("/services", "/nowhere", "/status"), 1):
        api.request("GET", path)
        assert (api.site.accepted, api.site.requests) == (number, number)
