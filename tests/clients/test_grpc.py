"""gRPC through a whole gateway, with a real client and real servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # carries no types
import pytest
import trustme
from running_gateway import RunningGateway, free_ports, running

pytestmark = pytest.mark.timeout(120)

MEGABYTE = 1 << 20
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # carries no types
    """A service whose messages are plain bytes. ``cancelled`` is set when a call is taken back."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.cancelled = threading.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        found = {
            "/t.T/Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "/t.T/Who": grpc.unary_unary_rpc_method_handler(lambda request, context: self.name),
            "/t.T/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/t.T/Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "/t.T/Count": grpc.unary_stream_rpc_method_handler(self.count),
            "/t.T/Endless": grpc.unary_stream_rpc_method_handler(self.endless),
            "/t.T/Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "/t.T/Talk": grpc.stream_stream_rpc_method_handler(self.talk),
        }
        return found.get(details.method)

    def echo(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        given = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
        context.send_initial_metadata([("x-initial", "1"), *given])
        context.set_trailing_metadata((("x-trailing", "2"), ("x-binary-bin", b"\0\xff")))
        return request

    def fail(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: 100 % \u00fc")
        raise AssertionError

    def wait(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(30)
        return b""

    def count(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from (b"%d" % number for number in range(int(request)))

    def endless(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        while context.is_active():
            yield b"x" * 10_000

    def sum(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"%d" % sum(int(each) for each in requests)

    def talk(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for each in requests:
            yield b"<" + each + b">"


class Server:
    """One server of gRPC."""

    def __init__(
        self, name: str, options: list[tuple[str, int]] | None = None, shown: trustme.LeafCert | None = None
    ) -> None:
        self.handler = Handler(name)
        self.server = grpc.server(futures.ThreadPoolExecutor(8), options=[*UNLIMITED, *(options or [])])
        self.server.add_generic_rpc_handlers((self.handler,))
        if shown is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            chain = b"".join(blob.bytes() for blob in shown.cert_chain_pems)
            identity = grpc.ssl_server_credentials([(shown.private_key_pem.bytes(), chain)])
            self.port = self.server.add_secure_port("127.0.0.1:0", identity)
        self.server.start()


@pytest.fixture(name="serve")
def serving() -> Iterator[Callable[..., Server]]:
    """Starts servers, which end with the test."""
    servers: list[Server] = []

    def start(
        name: str = "one", options: list[tuple[str, int]] | None = None, shown: trustme.LeafCert | None = None
    ) -> Server:
        servers.append(Server(name, options, shown))
        return servers[-1]

    yield start
    for each in servers:
        each.handler.cancelled.set()
        each.server.stop(None).wait(10)


@pytest.fixture(name="gateway", scope="module")
def one_gateway() -> Iterator[RunningGateway]:
    with running("http2") as gateway:
        yield gateway


@pytest.fixture(name="channel")
def a_channel(gateway: RunningGateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{gateway.proxy_port}", options=UNLIMITED) as channel:
        yield channel


@pytest.fixture(name="route")
def routing(gateway: RunningGateway) -> Iterator[Callable[..., None]]:
    """Makes a service for ports of servers, and a route to it that takes all calls."""
    with gateway.admin() as admin:

        def make(*ports: int, **fields: Any) -> None:
            assert admin.ask("POST", "/upstreams", {"name": "grpc.test"}).status == 201
            for port in ports:
                assert admin.ask("POST", "/upstreams/grpc.test/targets", {"target": f"127.0.0.1:{port}"}).status == 201
            service = {"name": "s", "protocol": "grpc", "host": "grpc.test", **fields}
            assert admin.ask("POST", "/services", service).status == 201
            route = {"name": "r", "protocols": ["grpc"], "paths": ["/"]}
            assert admin.ask("POST", "/services/s/routes", route).status == 201

        yield make
        for path in ("/routes/r", "/services/s", "/upstreams/grpc.test"):
            admin.ask("DELETE", path)


def test_unary(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel) -> None:
    """A message there and back, with metadata of all kinds before and behind."""
    route(serve().port)
    answer, call = channel.unary_unary("/t.T/Echo").with_call(b"hello", metadata=(("x-a", "b"), ("x-c-bin", b"\1\0")))
    assert answer == b"hello"
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert (initial["x-initial"], initial["x-a"], initial["x-c-bin"]) == ("1", "b", b"\1\0")
    assert (trailing["x-trailing"], trailing["x-binary-bin"]) == ("2", b"\0\xff")


@pytest.mark.parametrize("size", [0, 1, 16384, 65536, 5 * MEGABYTE], ids=str)
def test_sizes(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel, size: int) -> None:
    """Messages of any size come back as they went."""
    route(serve().port)
    message = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert channel.unary_unary("/t.T/Echo")(message, timeout=60) == message


def test_streams(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel) -> None:
    """Messages stream from the server, from the client, and in both directions."""
    route(serve().port)
    assert [int(each) for each in channel.unary_stream("/t.T/Count")(b"1000", timeout=60)] == list(range(1000))
    assert channel.stream_unary("/t.T/Sum")(iter([b"%d" % number for number in range(1000)]), timeout=60) == b"499500"
    said = [b"%d" % number for number in range(100)]
    assert list(channel.stream_stream("/t.T/Talk")(iter(said), timeout=60)) == [b"<" + each + b">" for each in said]


def test_conversation(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel) -> None:
    """Each side may wait for what the other has said before it goes on."""
    route(serve().port)
    heard: list[bytes] = []
    more = threading.Semaphore(1)

    def say() -> Iterator[bytes]:
        for number in range(20):
            assert more.acquire(timeout=30)
            yield b"%d" % number

    for answer in channel.stream_stream("/t.T/Talk")(say(), timeout=60):
        heard.append(answer)
        more.release()
    assert heard == [b"<%d>" % number for number in range(20)]


def test_failure(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel) -> None:
    """A server's status, message and metadata reach the client."""
    route(serve().port)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Fail")(b"")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "no: 100 % \u00fc")
    assert dict(caught.value.trailing_metadata())["x-why"] == "because"
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Nothing")(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_deadline(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel) -> None:
    """When a client's deadline has passed the server hears of it."""
    server = serve()
    route(server.port)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Wait")(b"", timeout=1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.handler.cancelled.wait(30)


def test_cancelled(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel) -> None:
    """A stream that the client takes back in the middle ends at the server."""
    server = serve()
    route(server.port)
    call = channel.unary_stream("/t.T/Endless")(b"")
    assert next(call) == b"x" * 10_000
    call.cancel()
    assert server.handler.cancelled.wait(30)


def test_calls_take_turns(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel) -> None:
    """The calls of one connection are spread over all targets, each for itself."""
    servers = [serve(name) for name in ("one", "two", "three")]
    route(*(server.port for server in servers))
    who = channel.unary_unary("/t.T/Who")
    heard = [who(b"", timeout=30) for _ in range(30)]
    assert {name: heard.count(name) for name in set(heard)} == {b"one": 10, b"two": 10, b"three": 10}


def test_target_that_is_not_there(
    serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel
) -> None:
    """Calls for a target that nobody listens on are made to another."""
    route(serve("one").port, *free_ports(1))
    assert [channel.unary_unary("/t.T/Who")(b"", timeout=30) for _ in range(6)] == [b"one"] * 6


def test_nobody(route: Callable[..., None], channel: grpc.Channel) -> None:
    """What the gateway fails at, and what it decides, is told as a status of gRPC."""
    route(*free_ports(1), retries=0)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Who")(b"")
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.INTERNAL,
        "An invalid response was received from the upstream server",
    )


def test_no_route(channel: grpc.Channel) -> None:
    """A call for which there is no route is told so."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Who")(b"")
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "no Route matched with those values",
    )


def test_connections_that_end(serve: Callable[..., Server], route: Callable[..., None], channel: grpc.Channel) -> None:
    """A server that ends its connections every moment, as servers with a maximum age do, fails no call."""
    route(serve("one", [("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 5000)]).port)
    echo = channel.unary_unary("/t.T/Echo")
    calls = [echo.future(b"%d" % number, timeout=60) for number in range(50)]
    for _ in range(20):
        assert echo(b"x", timeout=60) == b"x"
        assert list(channel.unary_stream("/t.T/Count")(b"200", timeout=60))[-1] == b"199"
    assert [call.result() for call in calls] == [b"%d" % number for number in range(50)]


def test_many_at_once(serve: Callable[..., Server], route: Callable[..., None], gateway: RunningGateway) -> None:
    """Calls of many clients at once, small and large, keep apart."""
    servers = [serve(name) for name in ("one", "two")]
    route(*(server.port for server in servers))
    address = f"127.0.0.1:{gateway.proxy_port}"
    options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(address, options=options) for _ in range(4)]
    try:
        sent = [bytes([number % 256]) * (1 + number * 997 % 90_000) for number in range(200)]
        calls = [
            channels[number % 4].unary_unary("/t.T/Echo").future(message, timeout=90)
            for number, message in enumerate(sent)
        ]
        assert [call.result() for call in calls] == sent
    finally:
        for channel in channels:
            channel.close()


# -- over TLS --------------------------------------------------------------------------------------------------


def test_grpcs(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Over TLS on both sides calls share connections as they do in the clear."""
    authority = trustme.CA()
    ours = authority.issue_cert("gateway.test")
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "ours.pem"))
    settings = {"ssl_cert": str(tmp_path / "ours.pem"), "ssl_cert_key": str(tmp_path / "ours.pem")}
    server = serve("secure", None, authority.issue_cert("origin.test"))
    with running("ssl http2", settings) as gateway, gateway.admin() as admin:
        service = {"name": "s", "protocol": "grpcs", "host": "127.0.0.1", "port": server.port}
        assert admin.ask("POST", "/services", service).status == 201
        assert admin.ask("POST", "/services/s/routes", {"protocols": ["grpcs"], "paths": ["/"]}).status == 201
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        options = [*UNLIMITED, ("grpc.ssl_target_name_override", "gateway.test")]
        with grpc.secure_channel(f"127.0.0.1:{gateway.proxy_port}", credentials, options) as channel:
            assert channel.unary_unary("/t.T/Who")(b"", timeout=30) == b"secure"
            message = bytes(range(256)) * 10_000
            calls = [channel.unary_unary("/t.T/Echo").future(message, timeout=60) for _ in range(5)]
            assert all(call.result() == message for call in calls)
            said = [b"%d" % number for number in range(50)]
            answers = channel.stream_stream("/t.T/Talk")(iter(said), timeout=60)
            assert list(answers) == [b"<" + each + b">" for each in said]
