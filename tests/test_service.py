"""A whole gateway: its command line, how it starts, how it stops, and what is left when it could not stop."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from components import put_drop_in
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.usage import UsageError
from twisted.trial.unittest import TestCase

from twisted_kong.prefix import node_id
from twisted_kong.service import GatewayService, Options
from twisted_kong.settings import load

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def ask(port: int, method: str, path: str, document: object = None) -> tuple[int, Any]:
    """The status and the document of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text[:1] in b"[{" else text
    finally:
        connection.close()


# -- the command line ------------------------------------------------------------------------------------------


def options(*arguments: str) -> Options:
    parsed = Options()
    parsed.parseOptions(list(arguments))
    return parsed


class TestOptions:
    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without options the settings are the defaults."""
        for name in [name for name in os.environ if name.startswith("KONG_")]:
            monkeypatch.delenv(name)
        assert options().settings == load(None, {}, {})

    def test_precedence(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """An option wins over the environment, which wins over the file."""
        file = tmp_path / "kong.conf"
        file.write_text("prefix = file\ndatabase = off\nport_maps = 80:8000\nerror_default_type = text/html\n")
        monkeypatch.setenv("KONG_PREFIX", "environment")
        monkeypatch.setenv("KONG_ERROR_DEFAULT_TYPE", "application/xml")
        settings = options("--conf", str(file), "--prefix", str(tmp_path)).settings
        assert (settings.prefix, settings.error_default_type, settings.database) == (
            tmp_path,
            "application/xml",
            "off",
        )

    def test_set(self) -> None:
        """Any setting may be given with --set, as often as one likes; blanks around it do not matter."""
        given = ("--set", "upstream_keepalive_pool_size=7", "--set", " port_maps = 80:8000 ", "--set", "headers=Via")
        settings = options(*given).settings
        assert (settings.upstream_keepalive_pool_size, dict(settings.port_maps)) == (7, {8000: 80})
        assert settings.headers == {"Via"}

    def test_listeners(self) -> None:
        """Where to listen are options of their own."""
        settings = options("--proxy-listen", "127.0.0.1:1, [::1]:2", "--admin-listen", "off").settings
        assert [str(each) for each in settings.proxy_listen] == ["127.0.0.1:1", "[::1]:2"]
        assert settings.admin_listen == ()

    def test_plugin_directories(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Directories of drop-ins may be given one by one, in the place of those of the environment."""
        monkeypatch.setenv("KONG_PLUGIN_DIRS", "/theirs")
        assert options().settings.plugin_dirs == (Path("/theirs"),)
        settings = options("--plugin-dir", "/a", "--plugin-dir", "b").settings
        assert settings.plugin_dirs == (Path("/a"), Path("b").absolute())

    @pytest.mark.parametrize("arguments", [["--frobnicate"], ["--set", "x"], ["--set"], ["extra"]])
    def test_misuse(self, arguments: list[str]) -> None:
        """What is no option at all is told with how to use the command."""
        with pytest.raises(UsageError, match=re.escape(arguments[-1].lstrip("-"))):
            options(*arguments)

    @pytest.mark.parametrize(
        ("arguments", "names"),
        [
            (["--set", "nope=1"], "--set"),
            (["--set", "upstream_keepalive_pool_size=x"], "--set upstream_keepalive_pool_size"),
            (["--set", "database=postgres"], "--set database"),
            (["--set", "database=postgres", "--database", "mysql"], "--database"),
            (["--database", "postgres"], "database"),
            (["--proxy-listen", "999.1.1.1:1"], "proxy.listen"),
            (["--conf", "/nowhere/kong.conf"], "/nowhere/kong.conf"),
        ],
    )
    def test_bad_settings(self, arguments: list[str], names: str) -> None:
        """A bad setting ends the process with one line that names it and says what was expected."""
        with pytest.raises(SystemExit) as end:
            options(*arguments)
        line = end.value.code
        assert isinstance(line, str)
        assert re.fullmatch(rf"kong-gateway: .*{names}.*: expected .*", line)


# -- in this process -------------------------------------------------------------------------------------------


class Origin(Protocol):
    """Answers when it is told to, or at once."""

    waiting: list[Origin]
    hold = False

    def dataReceived(self, data: bytes) -> None:
        if self.hold:
            self.waiting.append(self)
        else:
            self.answer()

    def answer(self) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")


class GatewayTests(TestCase):
    """A gateway on the reactor of the tests."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.prefix = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.prefix)

    def make(self, **given: str) -> GatewayService:
        """A gateway, not started, with ports of its own."""
        defaults = {
            "prefix": self.prefix,
            "proxy_listen": "127.0.0.1:0",
            "admin_listen": "127.0.0.1:0",
            "database": "off",
        }
        return GatewayService(self.reactor, load(None, {}, {**defaults, **given}))

    async def start(self, **given: str) -> tuple[GatewayService, int, int]:
        """A gateway and the ports of its proxy and its Admin API."""
        gateway = self.make(**given)
        gateway.startService()
        self.addCleanup(self.stop, gateway)
        proxy, admin = (port.getHost().port for port in (*gateway.serving.ports, *gateway.control.ports))  # type: ignore[attr-defined]
        return gateway, proxy, admin

    async def stop(self, gateway: GatewayService) -> float:
        """Stop it, unless it has stopped; the seconds it took."""
        begin = self.reactor.seconds()
        if gateway.running:
            await gateway.stopService()
        seconds: float = self.reactor.seconds() - begin
        return seconds

    async def ask(self, port: int, method: str, path: str, document: object = None) -> tuple[int, Any]:
        answer: tuple[int, Any] = await deferToThread(ask, port, method, path, document)
        return answer

    async def until(self, true: Callable[[], object]) -> None:
        while not true():
            await deferLater(self.reactor, 0)

    def connect(self, port: int, data: bytes = b"") -> socket.socket:
        far = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.addCleanup(far.close)
        far.sendall(data)
        far.setblocking(False)
        return far

    async def read(self, far: socket.socket) -> bytes:
        """Everything up to the end of the connection."""
        received = b""
        while True:
            try:
                piece = far.recv(65536)
            except BlockingIOError:
                await deferLater(self.reactor, 0)
                continue
            except ConnectionResetError:
                return received
            if not piece:
                return received
            received += piece

    async def route(self, admin: int, *, hold: bool = False) -> list[Origin]:
        """A route to an origin; the requests it holds."""
        waiting: list[Origin] = []

        def origin() -> Origin:
            protocol = Origin()
            protocol.waiting, protocol.hold = waiting, hold
            return protocol

        port = self.reactor.listenTCP(0, Factory.forProtocol(origin), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        service = {"name": "s", "url": f"http://127.0.0.1:{port.getHost().port}"}
        route = {"name": "r", "paths": ["/"]}
        _, root = await self.ask(admin, "GET", "/")
        if root["configuration"]["database"] == "off":
            document = {"_format_version": "3.0", "services": [{**service, "routes": [route]}]}
            status, _ = await self.ask(admin, "POST", "/config", document)
            assert status == 201
            return waiting
        status, _ = await self.ask(admin, "PUT", "/services/s", service)
        assert status == 200
        status, _ = await self.ask(admin, "PUT", "/services/s/routes/r", route)
        assert status == 200
        return waiting

    async def serves(self, database: str) -> None:
        _, proxy, admin = await self.start(database=database)
        assert (await self.ask(admin, "GET", "/"))[0] == 200
        assert (await self.ask(proxy, "GET", "/"))[0] == 404
        await self.route(admin)
        assert await self.ask(proxy, "GET", "/") == (200, b"here")

    async def test_serves_without_a_database(self) -> None:
        """With ``database = off`` what the Admin API is told is in force at once."""
        await self.serves("off")
        assert sorted(os.listdir(self.prefix)) == ["kong.id", "kong.lock", "logs"]

    async def test_serves_with_sqlite(self) -> None:
        """So it is with a database, which is below the prefix."""
        await self.serves("sqlite")
        assert {"kong.id", "kong.sqlite"} <= set(os.listdir(self.prefix))

    async def test_configuration_outlives_the_gateway(self) -> None:
        """A gateway that has stopped in order finds its configuration and its id again."""
        gateway, proxy, admin = await self.start(database="sqlite")
        await self.route(admin)
        _, before = await self.ask(admin, "GET", "/")
        await self.stop(gateway)
        _, proxy, admin = await self.start(database="sqlite")
        _, after = await self.ask(admin, "GET", "/")
        assert before["node_id"] == after["node_id"]
        assert await self.ask(proxy, "GET", "/") == (200, b"here")

    async def test_counters(self) -> None:
        """The Admin API knows how many clients and requests there are."""
        _, proxy, admin = await self.start()
        waiting = await self.route(admin, hold=True)
        _, status = await self.ask(admin, "GET", "/status")
        before = status["server"]
        idle, busy = self.connect(proxy), self.connect(proxy, REQUEST)
        await self.until(lambda: waiting)
        _, status = await self.ask(admin, "GET", "/status")
        server = status["server"]
        assert server["total_requests"] - before["total_requests"] == 2  # this one, and the question before it
        assert server["connections_accepted"] - before["connections_accepted"] >= 2
        assert server["connections_writing"] >= 1
        assert server["connections_waiting"] >= 1
        idle.close()
        busy.close()

    async def test_idle_clients_do_not_delay_the_end(self) -> None:
        """With nothing but idle clients the gateway stops at once, and they are told."""
        gateway, proxy, admin = await self.start(database="sqlite")
        await self.route(admin)
        silent, idle = self.connect(proxy), self.connect(proxy, REQUEST)
        begun = self.connect(proxy, REQUEST[:10])
        await self.until(lambda: gateway.serving.core.requests and not gateway.serving.core.exchanges)
        assert await self.stop(gateway) < 1
        assert [await self.read(each) for each in (silent, begun)] == [b"", b""]
        assert (await self.read(idle)).endswith(b"\r\n\r\nhere")

    async def test_requests_under_way_are_answered(self) -> None:
        """A request that is under way when the gateway stops is answered, if that does not take too long."""
        gateway, proxy, admin = await self.start()
        waiting = await self.route(admin, hold=True)
        client = self.connect(proxy, REQUEST)
        await self.until(lambda: waiting)
        stopping = gateway.stopService()
        await self.until(lambda: not gateway.serving.ports[0].connected)  # type: ignore[attr-defined]
        waiting[0].answer()
        answer = await self.read(client)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\nhere")
        await stopping

    async def test_grace_has_an_end(self) -> None:
        """A request that is not answered in time is cut off."""
        gateway, proxy, admin = await self.start(database="sqlite", nginx_main_worker_shutdown_timeout="200ms")
        waiting = await self.route(admin, hold=True)
        client = self.connect(proxy, REQUEST)
        await self.until(lambda: waiting)
        assert 0.2 <= await self.stop(gateway) < 1
        assert await self.read(client) == b""

    async def test_nobody_new_is_served(self) -> None:
        """Who connects once the gateway has begun to stop is turned away."""
        gateway, proxy, admin = await self.start(nginx_main_worker_shutdown_timeout="200ms")
        await self.route(admin, hold=True)
        self.connect(proxy, REQUEST)
        await self.until(lambda: gateway.serving.core.exchanges)
        stopping = gateway.stopService()
        await deferLater(self.reactor, 0)
        for port in (proxy, admin):
            with self.assertRaises(ConnectionRefusedError):
                self.connect(port)
        await stopping

    def refusal(self, **given: str) -> str:
        """The line with which a gateway does not start."""
        with self.assertRaises(SystemExit) as end:
            self.make(**given).startService()
        line = end.exception.code
        assert isinstance(line, str)
        assert "\n" not in line
        return line

    async def test_port_in_use(self) -> None:
        """A second gateway on the same port does not start and says why; the first one goes on."""
        _, proxy, admin = await self.start()
        other = str(Path(self.prefix, "other"))
        assert self.refusal(prefix=other, proxy_listen=f"127.0.0.1:{proxy}").startswith(
            f"kong-gateway: proxy_listen: cannot listen on 127.0.0.1:{proxy}: Address already in use"
        )
        assert (await self.ask(admin, "GET", "/"))[0] == 200

    def test_bad_prefix(self) -> None:
        """A prefix that is no directory is named."""
        path = Path(self.prefix, "file")
        path.touch()
        for prefix in (path, path / "below"):
            assert re.fullmatch(
                rf"kong-gateway: prefix: expected a directory .*, got {prefix}: .*", self.refusal(prefix=str(prefix))
            )

    async def test_prefix_in_use(self) -> None:
        """A second gateway on the same prefix does not start, and names the process that has it, until that is gone."""
        first, _, admin = await self.start()
        assert self.refusal() == (
            f"kong-gateway: prefix: expected a directory that no other gateway uses, got {self.prefix}:"
            f" process {os.getpid()} has it"
        )
        assert (await self.ask(admin, "GET", "/"))[0] == 200
        await self.stop(first)
        _, _, admin = await self.start()
        assert (await self.ask(admin, "GET", "/"))[0] == 200

    async def test_a_failed_start_keeps_nothing(self) -> None:
        """A gateway that could not start leaves its prefix to others."""
        self.refusal(dns_resolver_plugin="nope")
        _, _, admin = await self.start()
        assert (await self.ask(admin, "GET", "/"))[0] == 200

    def test_unknown_resolver(self) -> None:
        """A component that does not exist is named, with those that do."""
        assert self.refusal(dns_resolver_plugin="nope") == (
            "kong-gateway: dns_resolver_plugin: expected one of dns, system, got 'nope'"
        )

    def test_unknown_fallback(self) -> None:
        """So is an algorithm to fall back upon that does not exist."""
        assert self.refusal(algorithm_fallback="nope").startswith("kong-gateway: algorithm_fallback: expected one of ")

    def test_broken_component(self) -> None:
        """A component that cannot be imported stops the start, and is named with its file."""
        file = put_drop_in(Path(self.prefix), "broken_at_start", "import nowhere")
        assert self.refusal(plugin_dirs=self.prefix) == (
            f"kong-gateway: {file}: cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
            " (broken_at_start.py, line 1)"
        )

    def test_no_place_for_the_id(self) -> None:
        """A node that cannot keep its id says so."""
        Path(self.prefix, "kong.id").mkdir()
        assert re.fullmatch(r"kong-gateway: .*kong\.id.*", self.refusal())

    def test_node_id(self) -> None:
        """The id of a node stays as it is; one that is none is replaced."""
        prefix = Path(self.prefix)
        id = node_id(prefix)
        assert node_id(prefix) == id
        for damaged in ("", "nonsense", id[:-1]):
            (prefix / "kong.id").write_text(damaged)
            new = node_id(prefix)
            assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", new)
            assert node_id(prefix) == new != id


# -- as a process ----------------------------------------------------------------------------------------------


class Process:
    """A gateway under twistd, on ports of its own."""

    def __init__(self, prefix: Path, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=", "kong-gateway"]
        command += [
            "--prefix",
            str(prefix),
            "--proxy-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            *arguments,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        self.process = subprocess.Popen(
            command, cwd=prefix, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.printed = ""

    def started(self) -> tuple[int, int]:
        """The ports of the proxy and the Admin API."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            found = re.findall(r"(?:ProxyListener|AdminSite) starting on (\d+)", self.printed)
            if len(found) == 2:
                return int(found[0]), int(found[1])
        pytest.fail(self.printed)

    def end(self, number: signal.Signals | None = None) -> int:
        """The exit status, after ``number`` where one is given."""
        if number is not None:
            self.process.send_signal(number)
        self.printed += self.process.communicate(timeout=20)[0]
        return self.process.returncode


@pytest.fixture
def processes() -> Any:
    """Starts gateways, none of which survives the test."""
    begun: list[Process] = []

    def start(prefix: Path, *arguments: str) -> Process:
        begun.append(Process(prefix, *arguments))
        return begun[-1]

    yield start
    for each in begun:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def test_killed(processes: Callable[..., Process], tmp_path: Path) -> None:
    """A gateway that was killed finds its configuration and its id again."""
    killed = processes(tmp_path)
    _, admin = killed.started()
    status, made = ask(admin, "POST", "/services", {"name": "s", "host": "a.test"})
    assert status == 201
    _, before = ask(admin, "GET", "/")
    killed.end(signal.SIGKILL)
    _, admin = processes(tmp_path).started()
    assert ask(admin, "GET", "/services/s") == (200, made)
    assert ask(admin, "GET", "/")[1]["node_id"] == before["node_id"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end(processes: Callable[..., Process], tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends the gateway in order and at once, idle clients or not."""
    gateway = processes(tmp_path, "--database", "off", "--set", "nginx_main_worker_shutdown_timeout=1h")
    proxy, admin = gateway.started()
    assert ask(admin, "GET", "/")[0] == 200
    with socket.create_connection(("127.0.0.1", proxy)), socket.create_connection(("127.0.0.1", admin)):
        assert gateway.end(number) == -number  # twistd ends the way it was told to
    assert "Server Shut Down." in gateway.printed
    assert "Traceback" not in gateway.printed


def test_exit_status(processes: Callable[..., Process], tmp_path: Path) -> None:
    """What is wrong with the settings or the machine is told in one line, with status 1."""
    first = processes(tmp_path, "--database", "off")
    proxy, _ = first.started()
    other = tmp_path / "other"
    other.mkdir()
    wrong = {
        ("--prefix", str(tmp_path)): f"got {tmp_path}: process {first.process.pid} has it",
        ("--set", "nope=1"): "--set: expected the name of a setting, got 'nope'",
        ("--database", "off", "--proxy-listen", f"127.0.0.1:{proxy}"): "proxy_listen: cannot listen",
        ("--database", "off", "--proxy-listen", "systemd:domain=INET:name=a"): "systemd has passed no socket 'a'",
    }
    for arguments, text in wrong.items():
        second = processes(other, *arguments)
        assert second.end() == 1
        assert [line for line in second.printed.splitlines() if "kong-gateway: " in line and text in line]
        assert "Traceback" not in second.printed
