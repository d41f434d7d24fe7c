"""The resolver ``dns`` against a name server that lies, drops, delays, cuts and forges, on real sockets."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from twisted_kong.errors import NameNotFound, NameNotResolved
from twisted_kong.interfaces import IHostResolver
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.resolving.dns import DnsResolver

Reply = Callable[[dns.message.Message], "bytes | dns.message.Message | None"]
"""What is sent back for a question: bytes, a message, or nothing."""


Message = dns.message.Message


def replied(query: Message, *records: tuple[str, int, str, str], rcode: str = "NOERROR") -> Message:
    """A reply with records of name, TTL, type and text."""
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.from_text(rcode))
    for name, ttl, type, text in records:
        reply.answer.append(dns.rrset.from_text(name, ttl, "IN", type, *text.split("|")))
    return reply


class Liar(DatagramProtocol):
    """A name server that does as it is told; ``asked`` are the types and names of all questions, ``ports`` of whom."""

    transport: Any

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[tuple[str, int, str, str]]] = {}
        self.reply: Reply = self.usual
        self.asked: list[tuple[str, str]] = []
        self.ports: list[int] = []
        self.ids: list[int] = []
        self.by_stream = 0
        self.streaming = False

    def usual(self, query: dns.message.Message) -> dns.message.Message:
        """What the zone has; nothing of the type for a name it has, and no such name otherwise."""
        name, type = self.question(query)
        found = self.zone.get((name, type))
        if found is None:
            known = any(name == other for other, _ in self.zone)
            return replied(query, rcode="NOERROR" if known else "NXDOMAIN")
        return replied(query, *found)

    def question(self, query: dns.message.Message) -> tuple[str, str]:
        (asked,) = query.question
        return asked.name.to_text().lower(), dns.rdatatype.to_text(asked.rdtype)

    def put(self, name: str, type: str, text: str, ttl: int = 60) -> None:
        self.zone[name, type] = [(name, ttl, type, text)]

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        name, type = self.question(query)
        self.asked.append((type, name))
        self.ids.append(query.id)
        reply = self.reply(query)
        return reply.to_wire() if isinstance(reply, dns.message.Message) else reply

    def datagramReceived(self, datagram: bytes, address: Any) -> None:
        self.ports.append(address[1])
        reply = self.answer(datagram)
        if reply is not None:
            self.transport.write(reply, address)


class LiarsStream(Protocol):
    liar: Liar
    received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        size = int.from_bytes(self.received[:2], "big")
        if len(self.received) == size + 2:
            self.liar.by_stream += 1
            self.liar.streaming = True
            reply = self.liar.answer(self.received[2:])
            self.liar.streaming = False
            if reply is None:
                self.transport.loseConnection()  # type: ignore[union-attr]  # it is connected
            else:
                self.transport.write(len(reply).to_bytes(2, "big") + reply)  # type: ignore[union-attr]


class DnsCase(TestCase):
    """A resolver and its name server."""

    order: tuple[str, ...] = ("LAST", "SRV", "A", "AAAA", "CNAME")
    patience: float | None = None

    def setUp(self) -> None:
        from twisted.internet import reactor  # the one that trial runs

        self.reactor: Any = reactor
        self.server, self.port = self.serve()
        self.files = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.files)
        (self.files / "resolv.conf").write_text("search one.test two.test\noptions attempts:4\n")
        (self.files / "hosts").write_text("10.9.9.9 local.test\n::1 six.test\n")
        self.resolver = self.resolve_with(("127.0.0.1", self.port), timeout=self.patience)

    def serve(self, port: int = 0) -> tuple[Liar, int]:
        server = Liar()
        stream = Factory.forProtocol(LiarsStream)
        stream.protocol = type("Stream", (LiarsStream,), {"liar": server})
        for _ in range(10):
            listening = self.reactor.listenTCP(port, stream, interface="127.0.0.1")
            try:
                datagrams = self.reactor.listenUDP(listening.getHost().port, server, interface="127.0.0.1")
            except OSError:  # somebody has that port for datagrams
                listening.stopListening()
                continue
            self.addCleanup(listening.stopListening)
            self.addCleanup(datagrams.stopListening)
            return server, listening.getHost().port
        raise AssertionError("no port is free for both")

    def resolve_with(self, *servers: tuple[str, int], timeout: float | None = None) -> DnsResolver:
        resolver = DnsResolver(
            self.reactor,
            servers=servers,
            order=self.order,
            timeout=timeout,
            hosts_file=self.files / "hosts",
            resolv_conf=self.files / "resolv.conf",
        )
        self.addCleanup(self.settle)
        self.addCleanup(resolver.close)
        return resolver

    async def settle(self) -> None:
        """Connections that were let go of are gone."""
        for _ in range(3):
            waiting: Deferred[None] = Deferred()
            self.reactor.callLater(0, waiting.callback, None)
            await waiting

    async def failure(self, name: str) -> NameNotResolved:
        with self.assertRaises(NameNotResolved) as refused:
            await self.resolver.resolve(name)
        assert isinstance(refused.exception, NameNotResolved)
        return refused.exception

    async def hosts(self, name: str) -> list[str]:
        return [address.host for address in (await self.resolver.resolve(name)).addresses]


class SearchTests(DnsCase):
    """What is asked, and in which order."""

    def test_interface(self) -> None:
        """It is a resolver that knows hosts of answers apart."""
        verifyObject(IHostResolver, self.resolver)

    async def test_order(self) -> None:
        """Each type is tried with the whole search list before the next; then the type found is asked first."""
        self.server.put("host.two.test.", "A", "10.0.0.1")
        self.assertEqual(await self.hosts("host"), ["10.0.0.1"])
        names = ["host.one.test.", "host.two.test.", "host."]
        expected = [("SRV", name) for name in names] + [("A", "host.one.test."), ("A", "host.two.test.")]
        self.assertEqual(self.server.asked, expected)
        self.server.asked.clear()
        await self.hosts("host")
        self.assertEqual(self.server.asked, expected[-2:])

    async def test_qualified(self) -> None:
        """A name with a dot is asked as it is first, one with a dot at the end in no other way."""
        self.server.put("a.b.", "A", "10.0.0.1")
        await self.hosts("a.b")
        self.assertEqual(self.server.asked[:2], [("SRV", "a.b."), ("SRV", "a.b.one.test.")])
        self.server.asked.clear()
        await self.hosts("a.b.")
        self.assertEqual(self.server.asked, [("SRV", "a.b."), ("A", "a.b.")])

    async def test_once_known(self) -> None:
        """What one question was enough for is asked in one question, also when its answer changes."""
        self.server.put("a.test.", "A", "10.0.0.1")
        for _ in range(3):
            await self.hosts("a.test")
        self.server.asked.clear()
        self.server.put("a.test.", "A", "10.0.0.2")
        self.assertEqual(await self.hosts("a.test"), ["10.0.0.2"])
        self.assertEqual(self.server.asked, [("A", "a.test.")])

    async def test_type_changes(self) -> None:
        """A name that has other records now is found by these."""
        self.server.put("a.test.", "A", "10.0.0.1")
        for _ in range(3):
            await self.hosts("a.test")
        del self.server.zone["a.test.", "A"]
        self.server.put("a.test.", "AAAA", "::1")
        self.assertEqual(await self.hosts("a.test"), ["::1"])

    async def test_local(self) -> None:
        """The hosts file and localhost come first, and nobody is asked; a change of the file is seen."""
        for name, host in (("LOCAL.test", "10.9.9.9"), ("six.test", "::1"), ("localhost", "127.0.0.1")):
            self.assertEqual(await self.hosts(name), [host])
        self.assertEqual(self.server.asked, [])
        (self.files / "hosts").write_text("10.9.9.8 local.test # moved\n")
        self.resolver._hosts._looked = float("-inf")
        self.assertEqual(await self.hosts("local.test"), ["10.9.9.8"])

    async def test_resolv_conf_changes(self) -> None:
        """Another search list is in force when it was written."""
        self.server.put("host.three.test.", "A", "10.0.0.1")
        with self.assertRaises(NameNotFound):
            await self.hosts("host")
        (self.files / "resolv.conf").write_text("search three.test # another\n")
        self.resolver._config._looked = float("-inf")
        self.assertEqual(await self.hosts("host"), ["10.0.0.1"])

    async def test_services(self) -> None:
        """SRV records of the lowest priority count, with host, port and weight; weight 0 is 1, port 0 is none."""
        self.server.put("s.test.", "SRV", "2 1 1 far.test.|1 0 81 a.test.|1 5 0 B.test.|1 7 82 10.0.0.9.", ttl=7)
        answer = await self.resolver.resolve("s.test")
        self.assertEqual((answer.type, answer.ttl), ("SRV", 7.0))
        expected = [Address("a.test.", 81, 1), Address("b.test.", None, 5), Address("10.0.0.9", 82, 7)]
        self.assertEqual(sorted(answer.addresses, key=str), sorted(expected, key=str))

    async def test_services_that_are_none(self) -> None:
        """SRV records that lead back to their own name, or say that there is nothing, are passed over."""
        self.server.put("s.test.", "A", "10.0.0.1")
        for nothing in ("1 1 80 s.test.", "0 0 0 ."):
            self.server.put("s.test.", "SRV", nothing)
            self.assertEqual(await self.hosts("s.test"), ["10.0.0.1"])

    async def test_host_of_a_service(self) -> None:
        """A host is asked for its addresses alone, whatever else it has."""
        self.server.put("s.test.", "A", "10.0.0.1")
        self.server.put("s.test.", "SRV", "1 1 80 other.test.")
        answer = await self.resolver.resolve_host("s.test.")
        self.assertEqual(answer.addresses, (Address("10.0.0.1"),))
        self.assertEqual(self.server.asked, [("A", "s.test.")])

    async def test_aliases(self) -> None:
        """A chain of aliases holds no longer than the shortest of it, whoever follows it."""
        aliases = [("a.test.", 9, "CNAME", "b.test."), ("b.test.", 3, "CNAME", "c.test.")]
        chain = [*aliases, ("c.test.", 5, "A", "10.0.0.1")]
        self.server.zone["a.test.", "A"] = chain
        self.assertEqual((await self.resolver.resolve("a.test")).ttl, 3.0)
        self.server.zone = {("d.test.", "A"): [("d.test.", 4, "CNAME", "c.test.")], ("c.test.", "A"): chain[2:]}
        found = await self.resolver.resolve("d.test")
        self.assertEqual((found.addresses, found.ttl), ((Address("10.0.0.1"),), 4.0))

    async def test_circles(self) -> None:
        """Aliases that lead in a circle, in one reply or over several, end as an error."""
        circle = [("a.test.", 9, "CNAME", "b.test."), ("b.test.", 9, "CNAME", "a.test.")]
        self.server.reply = lambda query: replied(query, *circle)
        self.assertIn("recursion detected", (await self.failure("a.test")).reason)
        other = {"a.test.": "b.test.", "b.test.": "a.test."}
        self.server.reply = lambda query: replied(
            query, (self.server.question(query)[0], 9, "CNAME", other[self.server.question(query)[0]])
        )
        self.assertIn("recursion detected", (await self.failure("a.test")).reason)

    async def test_endless_aliases(self) -> None:
        """So do aliases without an end."""

        def next_alias(query: dns.message.Message) -> dns.message.Message:
            name, _ = self.server.question(query)
            return replied(query, (name, 9, "CNAME", f"n{int(name[1:].partition('.')[0]) + 1}.test."))

        self.server.reply = next_alias
        self.assertIn("recursion detected", (await self.failure("n0.test")).reason)
        self.assertLess(len(self.server.asked), 50)

    async def test_names_nobody_can_ask_for(self) -> None:
        """A name that is too long, or has a label that is, is an error that asks nobody."""
        for name in ("a" * 64 + ".test", ".".join(["a" * 60] * 5) + ".test", "a..test"):
            self.assertIn("no name that can be asked for", (await self.failure(name)).reason)
        self.assertEqual([name for _, name in self.server.asked if len(name) > 255], [])


class FailureTests(DnsCase):
    """Name servers that fail, each in its own way."""

    patience = 0.3

    async def test_kinds(self) -> None:
        """That there is no such name, that it has nothing, and that a server fails are told apart, in Kong's words."""
        for rcode, error, reason in (
            ("NXDOMAIN", NameNotFound, "dns server error: 3 name error"),
            ("NOERROR", NameNotFound, "dns client error: 101 empty record received"),
            ("SERVFAIL", NameNotResolved, "dns server error: 2 server failure"),
            ("REFUSED", NameNotResolved, "dns server error: 5 refused"),
            ("NOTIMP", NameNotResolved, "dns server error: 4 not implemented"),
            ("FORMERR", NameNotResolved, "dns server error: 1 format error"),
        ):
            self.server.reply = partial(replied, rcode=rcode)
            with self.assertRaises(error) as refused:
                await self.resolver.resolve("a.test")
            self.assertEqual(refused.exception.reason, reason)
            self.assertEqual(getattr(refused.exception, "empty", False), rcode == "NOERROR")
            self.assertTrue(refused.exception.asked)

    async def test_one_type_fails(self) -> None:
        """A server that does not know SRV does not keep a name from being found by its addresses."""

        def picky(query: dns.message.Message) -> dns.message.Message:
            name, type = self.server.question(query)
            if type == "SRV":
                return replied(query, rcode="NOTIMP")
            return replied(query, (name, 60, "A", "10.0.0.1"))

        self.server.reply = picky
        self.assertEqual(await self.hosts("a.test"), ["10.0.0.1"])

    async def test_silence(self) -> None:
        """A server that keeps silent is asked as often as told, and that is the end: no other type is tried."""
        self.server.reply = lambda query: None
        self.assertIn("did not answer within 0.3 s", (await self.failure("a.test")).reason)
        self.assertEqual(self.server.asked, [("SRV", "a.test.")] * 4)

    async def test_lost_datagram(self) -> None:
        """A reply that got lost is asked for again, under another id."""
        lost: list[object] = []

        def forgetful(query: dns.message.Message) -> dns.message.Message | None:
            lost.append(query)
            return None if len(lost) == 1 else self.server.usual(query)

        self.server.put("a.test.", "SRV", "1 1 80 b.test.")
        self.server.reply = forgetful
        self.assertEqual(await self.hosts("a.test"), ["b.test."])

    async def test_next_server(self) -> None:
        """Where a server is not there, fails or keeps silent, the next one is asked, for this question."""
        other, port = self.serve()
        other.put("a.test.", "A", "10.0.0.2")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind(("127.0.0.1", 0))
            gone = nobody.getsockname()
        for reply in (lambda query: replied(query, rcode="SERVFAIL"), lambda query: None, lambda query: b"\0" * 3):
            self.server.reply = reply
            servers = gone, ("127.0.0.1", self.port), ("127.0.0.1", port)
            self.resolver = self.resolve_with(*servers, timeout=self.patience)
            self.assertEqual(await self.hosts("a.test"), ["10.0.0.2"])

    async def test_nobody_there(self) -> None:
        """That no server is there is known at once, and told."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind(("127.0.0.1", 0))
            gone = nobody.getsockname()
        self.resolver = self.resolve_with(gone)
        self.assertIn("connection refused", (await self.failure("a.test")).reason)

    async def test_no_server(self) -> None:
        """Without any server that is what is told."""
        self.resolver = self.resolve_with()
        self.assertEqual((await self.failure("a.test")).reason, "no name server is known")


class LieTests(DnsCase):
    """Replies that are none."""

    def setUp(self) -> None:
        super().setUp()
        self.server.put("a.test.", "A", "10.0.0.1")

    async def forged(self, forge: Callable[[dns.message.Message, bytes], bytes]) -> None:
        """Before each honest reply comes a forged one, and only the honest one counts."""

        def first_the_forged(query: dns.message.Message) -> dns.message.Message:
            evil = replied(query, (self.server.question(query)[0], 60, "A", "10.6.6.6"))
            self.server.transport.write(forge(evil, evil.to_wire()), ("127.0.0.1", self.server.ports[-1]))
            return self.server.usual(query)

        self.server.reply = first_the_forged
        self.assertEqual(await self.hosts("a.test"), ["10.0.0.1"])

    async def test_wrong_id(self) -> None:
        """A reply under another id is dropped."""
        await self.forged(lambda _, wire: bytes([wire[0] ^ 1]) + wire[1:])

    async def test_wrong_question(self) -> None:
        """A reply to another question is dropped, and so is one to none, or a question."""
        await self.forged(lambda _, wire: wire.replace(b"\1a\4test", b"\1b\4test"))
        await self.forged(lambda _, wire: wire[:4] + b"\0\0" + wire[6:])
        await self.forged(lambda _, wire: wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:])

    async def test_wrong_server(self) -> None:
        """A reply from another port, or another address, is dropped."""

        def from_elsewhere(query: dns.message.Message) -> dns.message.Message:
            evil = replied(query, (self.server.question(query)[0], 60, "A", "10.6.6.6")).to_wire()
            for host, port in (("127.0.0.1", 0), ("127.0.0.2", self.port)):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
                    elsewhere.bind((host, port))
                    elsewhere.sendto(evil, ("127.0.0.1", self.server.ports[-1]))
            return self.server.usual(query)

        self.server.reply = from_elsewhere
        self.assertEqual(await self.hosts("a.test"), ["10.0.0.1"])

    async def test_letters(self) -> None:
        """A reply that repeats the question in other letters is a reply."""
        self.server.reply = lambda query: self.server.usual(query).to_wire().replace(b"\1a\4test", b"\1A\4tEST")
        self.assertEqual(await self.hosts("a.test"), ["10.0.0.1"])

    async def test_ids_and_ports(self) -> None:
        """Ids and ports are not to be guessed: there are many ids, and several ports that make way for others."""
        await gatherResults([Deferred.fromCoroutine(self.hosts_of(f"n{number}.test")) for number in range(400)])
        self.assertGreater(len(set(self.server.ids)), len(self.server.ids) * 0.95)
        self.assertGreater(len(set(self.server.ports)), 6)

    async def hosts_of(self, name: str) -> None:
        with self.assertRaises(NameNotFound):
            await self.resolver.resolve(name)

    async def test_garbage(self) -> None:
        """Bytes that only begin like a reply are a failure of that server, and nothing worse."""
        for garbage in (b"\xff" * 40, b"\xc0\x0c" * 30, b""):

            def spoil(query: Message, garbage: bytes = garbage) -> bytes:
                return self.server.usual(query).to_wire()[:6] + b"\0\2\0\0\0\0" + query.to_wire()[12:] + garbage

            self.server.reply = spoil
            self.assertIn("sent what cannot be read", (await self.failure("a.test")).reason)

    async def test_flipped_bits(self) -> None:
        """Whichever bit of a reply is wrong, the end is an answer or a failure to resolve, never anything else."""
        self.resolver = self.resolve_with(("127.0.0.1", self.port), timeout=0.02)
        for bit in range(16, 60 * 8, 7):

            def flip(query: dns.message.Message, bit: int = bit) -> bytes:
                wire = bytearray(self.server.usual(query).to_wire())
                if bit // 8 < len(wire):
                    wire[bit // 8] ^= 1 << bit % 8
                return bytes(wire)

            self.server.reply = flip
            try:
                answer = await self.resolver.resolve("a.test")
            except (NameNotFound, NameNotResolved):
                continue
            self.assertIsInstance(answer, Answer)


class StreamTests(DnsCase):
    """Replies too long for a datagram."""

    def setUp(self) -> None:
        super().setUp()
        self.many = [f"10.1.{number >> 8}.{number & 255}" for number in range(3000)]
        self.server.put("a.test.", "A", "|".join(self.many))
        self.server.reply = self.cut

    def cut(self, query: dns.message.Message) -> bytes | None:
        """What fits into a datagram, and on a connection all of it."""
        whole = self.server.usual(query)
        if self.server.streaming or not whole.answer:
            return whole.to_wire(max_size=65535)
        whole.answer.clear()
        whole.flags |= dns.flags.TC
        return whole.to_wire()

    async def test_truncated(self) -> None:
        """A reply that was cut is asked for again by a connection, and used whole."""
        self.assertEqual(sorted(await self.hosts("a.test")), sorted(self.many))
        self.assertEqual(self.server.by_stream, 1)

    async def test_again(self) -> None:
        """So it is every time."""
        for _ in range(4):
            self.assertEqual(len(await self.hosts("a.test")), 3000)

    async def test_broken_off(self) -> None:
        """A connection that ends without a reply is a failure that is told."""
        self.server.reply = lambda query: None if self.server.streaming else self.cut(query)
        self.assertIn("closed the connection", (await self.failure("a.test")).reason)

    async def test_cut_for_good(self) -> None:
        """A reply that is cut on a connection as well is none, and that is told."""
        self.server.reply = lambda query: self.cut_again(query)
        self.assertIn("cut its reply short", (await self.failure("a.test")).reason)

    def cut_again(self, query: dns.message.Message) -> bytes:
        reply = self.server.usual(query)
        reply.answer.clear()
        reply.flags |= dns.flags.TC
        return reply.to_wire()


class ClosedTests(DnsCase):
    """A resolver whose time is over."""

    async def test_closed(self) -> None:
        """A resolver that is closed answers whoever waits, and leaves nothing behind."""
        self.server.reply = lambda query: None
        waiting = Deferred.fromCoroutine(self.failure("a.test"))
        await self.settle()
        self.resolver.close()
        self.assertIn("asked no more", (await waiting).reason)
