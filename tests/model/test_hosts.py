from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.model.hosts import Host, parse, split

ONE = "0000:0000:0000:0000:0000:0000:0000:0001"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("a", Host("name", "a")),
        ("A.B.", Host("name", "A.B.")),
        ("_http._tcp.a.test:80", Host("name", "_http._tcp.a.test", 80)),
        ("-a.test", Host("name", "-a.test")),
        ("1.2.3.4.test", Host("name", "1.2.3.4.test")),
        ("1.2.3.004", Host("ipv4", "1.2.3.4")),
        ("1.2.3.4:0", Host("ipv4", "1.2.3.4", 0)),
        ("::1", Host("ipv6", ONE)),
        ("[::1]", Host("ipv6", ONE)),
        ("[::1]:65535", Host("ipv6", ONE, 65535)),
        ("2001:DB8::", Host("ipv6", "2001:0db8:0000:0000:0000:0000:0000:0000")),
    ],
)
def test_read(text: str, host: Host) -> None:
    """A host is a name, an IPv4 or an IPv6 address in canonical spelling, perhaps with a port."""
    assert parse(text) == host


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid hostname: "),
        ("a b", "invalid hostname: a b"),
        ("a..b", "invalid hostname: a..b"),
        ("a.b..", "invalid hostname: a.b.."),
        (".", "invalid ipv4 address: ."),
        ("a-.b", "invalid hostname: a-.b"),
        ("a:", "invalid hostname: a:"),
        ("a:http", "invalid hostname: a:http"),
        ("a:٣", "invalid hostname: a:٣"),
        ("a\n", "invalid hostname: a\n"),
        ("日本", "invalid hostname: 日本"),
        ("http://a.test", "invalid hostname: http://a.test"),
        ("a:65536", "invalid port number"),
        ("1234", "invalid ipv4 address: 1234"),
        ("1.2.3", "invalid ipv4 address: 1.2.3"),
        ("1.2.3.256", "invalid ipv4 address: 1.2.3.256"),
        ("1.2.3.4:99999999999999999999", "invalid port number"),
        ("[::1", "invalid ipv6 address: [::1"),
        ("[::1]:x", "invalid ipv6 address: [::1]:x"),
        ("::ffff:1.2.3.4", "invalid ipv6 address: ::ffff:1.2.3.4"),
        ("fe80::1%eth0", "invalid ipv6 address: fe80::1%eth0"),
        ("1:2:3", "invalid ipv6 address: 1:2:3"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    """What is spelled like none of them is refused as what it most resembles."""
    with pytest.raises(ValueError, match="invalid") as refusal:
        parse(text)
    assert str(refusal.value) == reason


def spelled(address: IPv4Address | IPv6Address) -> str:
    """Short, and without the dots that Python 3.13 writes where an IPv6 address holds one of IPv4: they are refused."""
    text = str(address)
    return text if isinstance(address, IPv4Address) or "." not in text else address.packed.hex(":", 2)


@given(st.ip_addresses().map(spelled), st.none() | st.integers(0, 65535))
def test_normal_form_is_stable(address: str, port: int | None) -> None:
    """Writing an address with its port and reading it again changes nothing."""
    host = parse(address)
    text = Host(host.kind, host.host, port).with_port(8000)
    assert parse(text).with_port(1) == text
    assert split(text) == (host.host, 8000 if port is None else port)


@given(st.text(max_size=20))
def test_any_text(text: str) -> None:
    """Any text is either read or refused, and what is read is read again as the same."""
    try:
        found = parse(text)
    except ValueError:
        return
    assert parse(found.with_port(8000)).host == found.host
