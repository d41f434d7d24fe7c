"""Answers the gateway makes up: which media type, which bytes, which words."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_kong import errors
from twisted_kong.proxy.answers import HTML, JSON, PLAIN, XML, body, media_type, negotiate

FIXED = settings(derandomize=True, deadline=None)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"*/*", JSON),
        (b"application/*", JSON),
        (b"image/png", JSON),
        (b"nonsense", JSON),
        (b"application/json", JSON),
        (b"text/plain", PLAIN),
        (b"text/*", PLAIN),
        (b"text/html", HTML),
        (b"TEXT/HTML", HTML),
        (b"application/xml", XML),
        (b"text/html;q=0.3, application/json", JSON),
        (b"application/json;q=0.3, text/html;q=0.9", HTML),
        (b"text/plain, text/html", PLAIN),
        (b"text/html, text/plain", HTML),
        (b"text/html;q=0.5, text/plain;q=0.5", HTML),
        (b"application/xml;q=0.5, text/plain;q=0", XML),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        (b"text/html ; level=1 ; q=0.2 , text/plain ; q=0.3", PLAIN),
        (b"text/html;q=x, text/plain;q=0.1", PLAIN),
        (b"text/html;Q=0.1, text/plain;q=0.2", PLAIN),
        (b", ,text/html", HTML),
        (b"text/html;q=0", None),
        (b"text/html;q=0.000, */*;q=0", None),
        (b"text/html;q=nan", None),
        (b",", None),
    ],
)
def test_negotiation(accept: bytes, expected: bytes | None) -> None:
    """The highest quality wins, then the first; JSON stands for what we do not have; what is refused is not sent."""
    assert negotiate(accept) == expected


@FIXED
@given(st.binary(max_size=50) | st.text("texhml/,;q=0.1* ").map(str.encode))
def test_any_accept(accept: bytes) -> None:
    """Whatever a client sends for Accept, it is given something that it can be given."""
    for decided in (True, False):
        assert media_type(accept, accept, PLAIN, decided=decided) in {JSON, HTML, XML, PLAIN}


@pytest.mark.parametrize(
    ("accept", "content_type", "decided", "failed"),
    [
        (b"text/html", b"application/xml", HTML, HTML),
        (b"text/html;q=0", None, JSON, JSON),
        (None, None, JSON, PLAIN),
        (b"", None, JSON, PLAIN),
        (None, b"application/xml", JSON, XML),
        (None, b"Application/JSON; charset=x", JSON, JSON),
        (None, b"text/html", JSON, HTML),
        (None, b"multipart/form-data; boundary=x", JSON, JSON),
        (None, b"", JSON, PLAIN),
    ],
)
def test_media_type(accept: bytes | None, content_type: bytes | None, decided: bytes, failed: bytes) -> None:
    """Without Accept, decisions are told in JSON, failures in the type of the request or else the default."""
    assert media_type(accept, content_type, PLAIN, decided=True) == decided
    assert media_type(accept, content_type, PLAIN, decided=False) == failed


def test_default_type() -> None:
    """The setting replaces plain text, and nothing else."""
    assert media_type(None, None, XML, decided=False) == XML
    assert media_type(None, b"text/html", XML, decided=False) == HTML
    assert media_type(None, None, XML, decided=True) == JSON


def test_bodies() -> None:
    """The bodies are Kong's, byte for byte."""
    message, id = "no Route matched with those values", "0123456789abcdef0123456789abcdef"
    assert body(message, id, JSON) == b'{\n  "message":"%b",\n  "request_id":"%b"\n}' % (message.encode(), id.encode())
    assert body(message, id, PLAIN) == b"%b\nrequest_id: %b\n" % (message.encode(), id.encode())
    assert body(message, id, XML) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<error>\n'
        b"  <message>%b</message>\n  <requestid>%b</requestid>\n</error>\n" % (message.encode(), id.encode())
    )
    assert body(message, id, HTML) == (
        b'<!doctype html>\n<html>\n  <head>\n    <meta charset="utf-8">\n    <title>Error</title>\n  </head>\n'
        b"  <body>\n    <h1>Error</h1>\n    <p>%b.</p>\n    <p>request_id: %b</p>\n  </body>\n</html>\n"
        % (message.encode(), id.encode())
    )


@FIXED
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"])))
def test_any_message(message: str) -> None:
    """A message may hold anything: each media type carries it as what it is, and never as markup."""
    assert json.loads(body(message, "x", JSON)) == {"message": message, "request_id": "x"}
    assert ElementTree.fromstring(body(message, "x", XML)).findtext("message") == message
    html = body(message, "x", HTML).decode()
    told = html[html.index("<p>") + 3 : html.index(".</p>\n    <p>request_id")]
    assert "<" not in told
    assert ">" not in told
    assert told.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == message


@pytest.mark.parametrize(
    ("error", "status", "message", "decided"),
    [
        (errors.RequestRefused(), 400, "Bad request", False),
        (errors.MethodRefused(), 405, "Method not allowed", False),
        (errors.RequestTimedOut(), 408, "Request timeout", False),
        (errors.BodyTooLarge(), 413, "Payload too large", False),
        (errors.TargetTooLong(), 414, "URI too long", False),
        (errors.HeadTooLarge(), 431, "Request header or cookie too large", False),
        (errors.CodingNotSupported(), 501, "Not implemented", False),
        (errors.VersionNotSupported(), 505, "HTTP version not supported", False),
        (errors.NoRoute(), 404, "no Route matched with those values", True),
        (errors.NoService(), 503, "no Service found with those values", True),
        (errors.HttpsRequired(426), 426, "Please use HTTPS protocol", True),
        (errors.HttpsRequired(301), 301, "Please use HTTPS protocol", True),
        (errors.NoPeer(), 503, "failure to get a peer from the ring-balancer", True),
        (errors.NoPeerLeft(), 503, "The upstream server is currently unavailable", False),
        (errors.NameNotFound(), 503, "name resolution failed", True),
        (
            errors.NameNotResolved("a.test", "timeout"),
            500,
            "failed the initial dns/balancer resolve for 'a.test' with: timeout",
            True,
        ),
        (errors.BadGateway(), 502, "An invalid response was received from the upstream server", False),
        (errors.GatewayTimeout(), 504, "The upstream server is timing out", False),
        (errors.ProxyError(), 500, "An unexpected error occurred", True),
    ],
)
def test_words(error: errors.ProxyError, status: int, message: str, decided: bool) -> None:
    """Every failure has Kong's status and words; what the log is told besides never changes them."""
    assert (error.status, error.message, error.decided) == (status, message, decided)
    assert str(error) == message
    if not isinstance(error, errors.HttpsRequired | errors.NameNotResolved):
        reasoned = type(error)("the reason")
        assert (reasoned.status, reasoned.message, str(reasoned)) == (status, message, "the reason")


@pytest.mark.parametrize(
    ("error", "document"),
    [
        (
            errors.UniqueViolation({"name": "a"}),
            {
                "code": 5,
                "name": "unique constraint violation",
                "message": "UNIQUE violation detected on '{name=\"a\"}'",
                "fields": {"name": "a"},
            },
        ),
        (
            errors.ForeignKeyViolation("service", "services", {"id": "x"}),
            {
                "code": 4,
                "name": "foreign key violation",
                "message": "the foreign key '{id=\"x\"}' does not reference an existing 'services' entity.",
                "fields": {"service": {"id": "x"}},
            },
        ),
        (
            errors.StillReferenced("services", "routes"),
            {
                "code": 4,
                "name": "foreign key violation",
                "message": "an existing 'routes' entity references this 'services' entity",
                "fields": {"@referenced_by": "routes"},
            },
        ),
        (
            errors.PrimaryKeyViolation({"id": "x"}),
            {
                "code": 3,
                "name": "primary key violation",
                "message": "primary key violation on key '{id=\"x\"}'",
                "fields": {"id": "x"},
            },
        ),
        (
            errors.SchemaViolation({"name": "bad"}),
            {
                "code": 2,
                "name": "schema violation",
                "message": "schema violation (name: bad)",
                "fields": {"name": "bad"},
            },
        ),
        (
            errors.SchemaViolation({"b": "two", "a": "one"}),
            {
                "code": 2,
                "name": "schema violation",
                "message": "2 schema violations (a: one; b: two)",
                "fields": {"b": "two", "a": "one"},
            },
        ),
    ],
)
def test_admin_errors(error: errors.AdminError, document: dict[str, object]) -> None:
    """An error of the Admin API is Kong's document of it."""
    assert error.body() == document
    assert str(error) == document["message"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": "x"}, '{a="x",b=1}'),
        ({"a": {"id": None}, "b": True, "c": 1.5}, "{a={id=null},b=true,c=1.5}"),
    ],
)
def test_braces(value: object, text: str) -> None:
    """Keys inside messages are written as Kong writes them."""
    assert errors.braces(value) == text
