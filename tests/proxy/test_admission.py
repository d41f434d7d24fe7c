"""How many connections there may be: counted, refused, and let in again when others have gone."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import Lab
from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import ServerFactory
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from twisted_kong.proxy.admission import BREATH, Admission, Entrance, _Counted, client_of, guard
from twisted_kong.proxy.forwarding import Trust
from twisted_kong.proxy.listeners import Door
from twisted_kong.proxy.refusing import Refusals
from twisted_kong.settings import Listener, load
from twisted_kong.telemetry.refusals import Refused

LOAD_BALANCER = "10.0.0.9"


def an_admission(most: int = 100, per_client: int = 0, *, field: bytes = b"proxy_protocol") -> Admission:
    trust = Trust([ip_network("10.0.0.0/8")], False, field, False)
    return Admission(most, per_client, trust, Refusals(Refused(), lambda: 0.0))


def enter(entrance: Entrance, admission: Admission, peer: str) -> Any:
    """A connection from ``peer``, None where it is refused."""
    if not admission.has_room(peer, entrance):
        return None
    connection = object()
    entrance.count += 1
    admission.entered(connection, peer)
    return connection


def an_entrance(admission: Admission, most: int = 0) -> Entrance:
    return Entrance(ServerFactory(), admission, most)


def refused(admission: Admission) -> dict[str, int]:
    return {reason: count for reason, count in admission._refusals.counts.connections.items() if count}


def test_in_all() -> None:
    """There are so many connections at all entrances together; who leaves makes room."""
    admission = an_admission(3)
    one, other = an_entrance(admission), an_entrance(admission)
    held = [enter(one, admission, "192.0.2.1"), enter(other, admission, "192.0.2.2"), enter(one, admission, "")]
    assert all(held)
    assert enter(one, admission, "192.0.2.3") is enter(other, admission, "192.0.2.3") is None
    assert refused(admission) == {"worker_connections": 2}
    admission.left(held[0])
    assert enter(other, admission, "192.0.2.3")
    assert enter(other, admission, "192.0.2.3") is None


def test_of_one_listener() -> None:
    """A listener that is full is full alone."""
    admission = an_admission()
    one, other = an_entrance(admission, 1), an_entrance(admission, 2)
    assert enter(one, admission, "192.0.2.1")
    assert enter(one, admission, "192.0.2.1") is None
    assert enter(other, admission, "192.0.2.1")
    assert refused(admission) == {"listener_connections": 1}


def test_of_one_client() -> None:
    """One client has so many connections; others, and whoever speaks for many, are not concerned."""
    admission = an_admission(per_client=2)
    entrance = an_entrance(admission)
    first, second = enter(entrance, admission, "192.0.2.1"), enter(entrance, admission, "192.0.2.1")
    assert first
    assert second
    assert enter(entrance, admission, "192.0.2.1") is None
    for peer in ("192.0.2.2", LOAD_BALANCER, LOAD_BALANCER, LOAD_BALANCER, "", "", ""):
        assert enter(entrance, admission, peer)
    assert refused(admission) == {"client_connections": 1}
    admission.left(first)
    assert enter(entrance, admission, "192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:0:ffff::", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::1", "0.0.0.1", False),
    ],
)
def test_what_one_client_is(one: str, other: str, same: bool) -> None:
    """A client is an IPv4 address, or the /64 of an IPv6 address."""
    assert (client_of(one) == client_of(other)) is same


def test_introduced_clients() -> None:
    """Whom a trusted peer introduces is a client, at whatever entrance; whom a stranger introduces is not."""
    admission = an_admission(per_client=1)
    entrance = an_entrance(admission)
    first = enter(entrance, admission, LOAD_BALANCER)
    assert admission.introduced(first, LOAD_BALANCER, "192.0.2.1")
    second = enter(entrance, admission, LOAD_BALANCER)
    assert not admission.introduced(second, LOAD_BALANCER, "192.0.2.1")
    assert enter(entrance, admission, "192.0.2.1") is None
    stranger = enter(entrance, admission, "203.0.113.1")
    assert admission.introduced(stranger, "203.0.113.1", "192.0.2.1")
    admission.left(first)
    assert admission.introduced(second, LOAD_BALANCER, "192.0.2.1")
    assert refused(admission) == {"client_connections": 2}


def test_whom_nobody_asks_for() -> None:
    """Where the settings do not count by PROXY headers, these name proxies as they like."""
    admission = an_admission(per_client=1, field=b"x-real-ip")
    entrance = an_entrance(admission)
    for _ in range(3):
        assert admission.introduced(enter(entrance, admission, LOAD_BALANCER), LOAD_BALANCER, "192.0.2.1")


def test_other_bounds() -> None:
    """Other bounds count for whoever comes; who is there stays, and is counted by what held when it came."""
    admission = an_admission(3)
    entrance = an_entrance(admission)
    held = [enter(entrance, admission, "192.0.2.1") for _ in range(3)]
    trust = Trust([ip_network("192.0.2.2")], False, b"proxy_protocol", False)
    admission.limit(2, 0, trust)
    assert enter(entrance, admission, "192.0.2.1") is None
    admission.limit(9, 1, trust)
    for peer, served in (("192.0.2.1", True), ("192.0.2.1", False), ("192.0.2.2", True), ("192.0.2.2", True)):
        connection = enter(entrance, admission, peer)
        assert (connection is not None) is served
        held += [connection] if served else []
    admission.limit(None, 0, trust)
    for connection in held:
        admission.left(connection)
    assert (admission.count, admission._of_clients) == (0, {})


def test_other_settings() -> None:
    """With other settings of the gateway the bounds change, and nobody is forgotten who is there."""
    lab = Lab(settings={"nginx_events_worker_connections": "7"})
    door = Door(lab.core, lab.settings, Listener("127.0.0.1", 8000, proxy_protocol=True), None)
    admission = lab.core.admission
    entrance = Entrance(door.factory, admission, 0)
    assert enter(entrance, admission, "192.0.2.1")
    lab.core.prepare(
        load(None, {}, {"nginx_events_worker_connections": "1", "max_connections_per_client": "5"})
    ).commit()
    assert lab.core.admission is admission
    assert (admission.count, admission.most, admission.most_per_client) == (1, 1, 5)
    assert enter(entrance, admission, "192.0.2.2") is None


peers = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:1::", LOAD_BALANCER, ""])


@given(st.lists(st.tuples(peers, st.integers(0, 9))), st.integers(1, 6), st.integers(0, 3))
def test_counts_are_exact(moves: list[tuple[str, int]], most: int, per_client: int) -> None:
    """Whatever comes and goes, nobody is refused while there is room or let in without, and nothing is left behind."""
    admission = an_admission(most, per_client)
    entrance = an_entrance(admission)
    inside: list[tuple[object, str]] = []
    for peer, leaving in moves:
        if leaving < len(inside):
            connection, _ = inside.pop(leaving)
            admission.left(connection)
        of_client = sum(client_of(other) == client_of(peer) for _, other in inside)
        room = len(inside) < most and not (per_client and peer not in ("", LOAD_BALANCER) and of_client >= per_client)
        connection = enter(entrance, admission, peer)
        assert (connection is not None) is room
        if connection is not None:
            inside.append((connection, peer))
    for connection, _ in inside:
        admission.left(connection)
    assert admission.count == 0
    assert admission._of_clients == admission._client_of == {}


def test_protocols_that_fail() -> None:
    """A connection whose protocol fails when it ends is gone all the same, and goes once."""

    class Failing:
        """A transport whose protocol fails."""

        def getPeer(self) -> object:
            return object()

        def connectionLost(self, reason: Failure) -> None:
            raise RuntimeError

    admission = an_admission()
    entrance = an_entrance(admission)
    counted: Any = type("Failing", (_Counted, Failing), {"entrance": entrance})
    connection = counted()
    assert (admission.count, entrance.count) == (1, 1)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            connection.connectionLost(Failure(ConnectionDone()))
        assert (admission.count, entrance.count) == (0, 0)


def test_ports_of_others() -> None:
    """What is no socket of Twisted's is left alone, and the log says so."""
    port: Any = object()
    with capturedLogs() as events:
        guard(port, an_admission(), 1, None)
    assert [event["port"] for event in events if "port" in event] == [port]


def test_no_descriptors_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that can accept nobody, for want of a descriptor to refuse with, waits before it tries again."""

    class Reserved:
        """Nothing is in reserve, until there is."""

        there = False

        def available(self) -> bool:
            return self.there

        def reserve(self) -> None:
            pass

    reserved = Reserved()
    monkeypatch.setattr(tcp, "_reservedFD", reserved)
    from twisted.internet.task import Clock

    clock = Clock()
    port: Any = tcp.Port(0, ServerFactory(), reactor=clock)
    done: list[str] = []
    port.doRead = lambda: done.append("read")
    port.startReading = lambda: done.append("start")
    port.stopReading = lambda: done.append("stop")
    guard(port, an_admission(), 0, clock)
    port.doRead()
    assert done == ["read", "stop"]
    port.connected = True
    clock.advance(BREATH)
    assert done == ["read", "stop", "start"]
    port.doRead()
    port.stopReading()  # whose socket it is has come back
    clock.advance(BREATH)
    assert done == ["read", "stop", "start", "read", "stop", "stop"]
    del done[3:]
    reserved.there = True
    port.doRead()
    assert done == ["read", "stop", "start", "read"]
