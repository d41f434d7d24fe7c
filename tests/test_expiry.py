"""When certificates cease to hold is known, and told in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from twisted_kong.errors import StartupError
from twisted_kong.expiry import DAY, INTERVAL, SOON, Expiries
from twisted_kong.model.certificates import Certificate
from twisted_kong.model.changes import Change
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY, Snapshot
from twisted_kong.settings import Settings, load

CA = trustme.CA()
START = datetime(2030, 1, 1, tzinfo=UTC)


def pair(ends: datetime) -> tuple[str, str]:
    """A certificate that ends then, and its key."""
    leaf = CA.issue_cert("a.test", not_before=START - timedelta(days=400), not_after=ends)
    return leaf.cert_chain_pems[0].bytes().decode(), leaf.private_key_pem.bytes().decode()


def certificate(ends: datetime, **more: Any) -> Certificate:
    cert, key = pair(ends)
    made: Certificate = Schema().build(Certificate, {"cert": cert, "key": key, **more}, now=START.timestamp())
    return made


@implementer(ILogObserver)
class Desk:
    """Expiries of a configuration that can be changed, at a time that passes; ``lines`` is what the log was told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.snapshot: Snapshot = EMPTY
        self.lines: list[str] = []
        self.expiries = Expiries(self.clock, lambda: self.snapshot, lambda: START.timestamp() + self.clock.seconds())

    def __call__(self, event: LogEvent) -> None:
        if event["log_namespace"] == "twisted_kong.expiry":
            self.lines.append(formatEvent(event))

    def change(self, *entities: Certificate, deletes: tuple[Certificate, ...] = ()) -> None:
        old = self.snapshot
        change = Change(puts=entities, deletes=tuple(("certificates", each.id) for each in deletes))
        self.snapshot = old.with_change(change)
        self.expiries.changed(old, self.snapshot)

    def taken(self) -> list[str]:
        """The lines since the last time."""
        lines, self.lines = self.lines, []
        return lines

    def wait(self, seconds: float) -> None:
        self.clock.pump([INTERVAL] * int(seconds / INTERVAL))


@pytest.fixture
def desk() -> Any:
    made = Desk()
    globalLogPublisher.addObserver(made)
    yield made
    globalLogPublisher.removeObserver(made)
    made.expiries.close()
    assert not made.clock.getDelayedCalls()


def settings(prefix: Path, **given: str) -> Settings:
    defaults = {"prefix": str(prefix), "proxy_listen": "off", "admin_listen": "off"}
    return load(None, {}, {**defaults, **given})


def test_those_of_the_configuration(desk: Desk) -> None:
    """Each is told with the first end of all in it, alternatives included; one taken out is no more."""
    ends = START + timedelta(days=90)
    rsa = CA.issue_cert("a.test", key_type=trustme.KeyType.RSA, not_before=START, not_after=START + timedelta(days=60))
    first = certificate(ends)
    alternative = rsa.cert_chain_pems[0].bytes().decode(), rsa.private_key_pem.bytes().decode()
    second = certificate(ends, cert_alt=alternative[0], key_alt=alternative[1])
    desk.change(first, second)
    assert {name: end for _, name, end in desk.expiries.found()} == {
        first.id: ends.timestamp(),
        second.id: (START + timedelta(days=60)).timestamp(),
    }
    desk.change(deletes=(first,))
    assert [(source, name) for source, name, _ in desk.expiries.found()] == [("certificates", second.id)]


def test_those_of_the_settings(desk: Desk, tmp_path: Path) -> None:
    """Certificates of listeners, our own where none are given, and of clients are told where they are in use."""
    day, other = START + timedelta(days=100), START + timedelta(days=200)
    (cert, key), (client, client_key) = pair(day), pair(other)
    given = {"proxy_listen": "127.0.0.1:0 ssl", "ssl_cert": cert, "ssl_cert_key": key}
    desk.expiries.prepare(settings(tmp_path, **given)).commit()
    assert list(desk.expiries.found()) == [("ssl_cert", "1", day.timestamp())]
    given = {"client_ssl": "on", "client_ssl_cert": client, "client_ssl_cert_key": client_key}
    desk.expiries.prepare(settings(tmp_path, admin_listen="127.0.0.1:0 ssl", **given)).commit()
    (admin, of_client) = desk.expiries.found()
    assert admin[:2] == ("admin_ssl_cert", "1")
    assert admin[2] > START.timestamp() + 1000 * DAY
    assert of_client == ("client_ssl_cert", "1", other.timestamp())


def test_settings_that_cannot_be_used(desk: Desk, tmp_path: Path) -> None:
    """Nothing changes where a certificate cannot be read."""
    cert, key = pair(START + timedelta(days=100))
    given = {"proxy_listen": "127.0.0.1:0 ssl", "ssl_cert": cert, "ssl_cert_key": key}
    desk.expiries.prepare(settings(tmp_path, **given)).commit()
    before = list(desk.expiries.found())
    with pytest.raises(StartupError, match="ssl_cert"):
        desk.expiries.prepare(settings(tmp_path, **{**given, "ssl_cert": str(tmp_path / "missing")}))
    assert list(desk.expiries.found()) == before


def test_warned_in_time(desk: Desk) -> None:
    """The log is told when fourteen days are left, then once a day, and that it is too late; of others it is not."""
    ends = START + timedelta(days=20)
    short, long = certificate(ends), certificate(START + timedelta(days=300))
    desk.change(short, long)
    assert desk.taken() == []
    desk.wait(5.9 * DAY)
    assert desk.taken() == []
    desk.wait(0.2 * DAY)
    assert desk.taken() == [f"certificate {short.id} of certificates expires soon: {ends:%Y-%m-%d %H:%M} UTC"]
    desk.change(certificate(START + timedelta(days=400)))  # is no reason to say it again
    assert desk.taken() == []
    desk.wait(3 * DAY)
    assert len(desk.taken()) == 3
    desk.wait(12 * DAY)
    assert desk.taken()[-1] == f"certificate {short.id} of certificates has expired: {ends:%Y-%m-%d %H:%M} UTC"
    desk.change(deletes=(short,))
    desk.wait(3 * DAY)
    assert desk.taken() == []


def test_one_that_comes_late(desk: Desk) -> None:
    """One that is about to end when it comes is told of at once."""
    late = certificate(START + timedelta(seconds=SOON - 1))
    desk.change(late)
    (line,) = desk.taken()
    assert line.startswith(f"certificate {late.id} of certificates expires soon")
