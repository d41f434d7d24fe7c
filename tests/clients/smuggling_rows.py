"""Requests that somebody has read in two ways: what a client sends, and what becomes of it.

A row is refused, or passed on in one form. The classes are those of the published catalogues: lengths and chunks
side by side (CL.TE, TE.CL), transfer codings that only some understand (TE.TE), bodies that only one side expects
(CL.0, 0.CL), chunk sizes, extensions and line ends, names and line ends of fields, request lines and targets, hosts,
versions, expectations, and fields about the connection.
"""

from __future__ import annotations

from typing import NamedTuple

HOST = b"aa.test"
"""The host of every row; another of the same length leads another way."""
H = b" HTTP/1.1\r\nHost: aa.test\r\n"
GET, POST, HEAD = b"GET /" + H, b"POST /" + H, b"HEAD /" + H
EVIL = b"GET /evil" + H + b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = POST + b"Content-Length: 5\r\n"
END = b"0\r\n\r\n"
HELLO = b"5\r\nhello\r\n"


class Passed(NamedTuple):
    """A request as an origin gets it; ``fields`` are those that are neither framing nor the gateway's own."""

    method: bytes = b"GET"
    target: bytes = b"/"
    body: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()


class Several(tuple[Passed, ...]):
    """Requests one behind the other."""


class Row(NamedTuple):
    """``passed`` is what origins get; ``status`` what is answered to what is refused, behind that, or 0; ``closes``
    says that the connection ends with what is passed on."""

    name: str
    kind: str
    sent: bytes
    passed: tuple[Passed, ...]
    status: int = 0
    closes: bool = False


ROWS: list[Row] = []
GOT, POSTED, EMPTY = Passed(), Passed(b"POST", b"/", b"hello"), Passed(b"POST", b"/", b"")
EVIL_GOT = Passed(b"GET", b"/evil")


def _refused(kind: str, rows: dict[str, bytes], status: int = 400, *before: Passed) -> None:
    ROWS.extend(Row(name, kind, sent, before, status) for name, sent in rows.items())


def _passed(kind: str, rows: dict[str, tuple[bytes, Passed | Several]], *, closes: bool = False) -> None:
    for name, (sent, passed) in rows.items():
        ROWS.append(Row(name, kind, sent, passed if isinstance(passed, Several) else (passed,), closes=closes))


def _with(lines: bytes, body: bytes = b"hello") -> bytes:
    return POST + lines + b"\r\n\r\n" + body


# -- lengths and chunks side by side ---------------------------------------------------------------------------

_refused(
    "CL.TE and TE.CL",
    {
        "length before chunks": _with(b"Content-Length: 6\r\nTransfer-Encoding: chunked", END + b"G"),
        "chunks before length": _with(b"Transfer-Encoding: chunked\r\nContent-Length: 4", b"5c\r\n" + EVIL + END),
        "length of nothing before chunks": _with(b"Content-Length: 0\r\nTransfer-Encoding: chunked", HELLO + END),
        "length in another case": _with(b"cOnTeNt-LeNgTh: 5\r\ntransfer-encoding: chunked", HELLO + END),
        "length named by Connection": _with(
            b"Connection: Content-Length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", HELLO + END
        ),
        "chunks named by Connection": _with(
            b"Connection: Transfer-Encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", HELLO + END
        ),
        "HTTP/1.0 with both": b"POST / HTTP/1.0\r\nHost: aa.test\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + HELLO + END,
    },
)

# -- transfer codings that only some understand ----------------------------------------------------------------

_CODINGS = {
    "unknown": b"xchunked",
    "cut": b"chunk",
    "in quotes": b'"chunked"',
    "in single quotes": b"'chunked'",
    "with a parameter": b"chunked;q=1",
    "identity": b"identity",
    "gzip before chunked": b"gzip, chunked",
    "identity before chunked": b"identity, chunked",
    "chunked before identity": b"chunked, identity",
    "chunked twice": b"chunked, chunked",
    "behind a comma": b",chunked",
    "before a comma": b"chunked,",
    "behind a no-break space": b"\xa0chunked",
    "behind NEL": b"\x85chunked",
    "empty": b"",
}
_refused(
    "TE.TE",
    {f"{name}, alone": _with(b"Transfer-Encoding: " + value, HELLO + END) for name, value in _CODINGS.items()},
    501,
)
_refused(
    "TE.TE",
    {
        f"{name}, with a length": _with(b"Content-Length: 5\r\nTransfer-Encoding: " + value, HELLO + END)
        for name, value in _CODINGS.items()
    },
)
_LINES = {
    "blank before the colon": b"Transfer-Encoding : chunked",
    "tab before the colon": b"Transfer-Encoding\t: chunked",
    "NUL before the colon": b"Transfer-Encoding\0: chunked",
    "no-break space before the colon": b"Transfer-Encoding\xa0: chunked",
    "vertical tab before the colon": b"Transfer-Encoding\x0b: chunked",
    "blank before the name": b" Transfer-Encoding: chunked",
    "NUL before the name": b"\0Transfer-Encoding: chunked",
    "vertical tab before the value": b"Transfer-Encoding: \x0bchunked",
    "vertical tab behind the value": b"Transfer-Encoding: chunked\x0b",
    "form feed behind the value": b"Transfer-Encoding: chunked\x0c",
    "NUL behind the value": b"Transfer-Encoding: chunked\0",
    "CR behind the value": b"Transfer-Encoding: chunked\r",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "folded behind another": b"X-A: b\r\n\tTransfer-Encoding: chunked",
    "behind a line feed": b"X-A: b\nTransfer-Encoding: chunked",
    "behind a CR": b"X-A: b\rTransfer-Encoding: chunked",
    "line feed in the name": b"Transfer-\nEncoding: chunked",
    "line feed before the colon": b"Transfer-Encoding\n: chunked",
    "line feed before the value": b"Transfer-Encoding:\nchunked",
    "without a colon": b"Transfer-Encoding chunked",
    "blank in the name": b"Transfer Encoding: chunked",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked, then nonsense": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    "nonsense, then chunked": b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    "identity, then chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
}
_refused("TE.TE", {f"{name}, alone": _with(line, HELLO + END) for name, line in _LINES.items()})
_refused("TE.TE", {f"{name}, with a length": _with(b"Content-Length: 5\r\n" + line) for name, line in _LINES.items()})
_passed(
    "TE.TE",
    {
        "chunked": (CHUNKED + HELLO + END, POSTED),
        "chunked in capitals": (_with(b"TRANSFER-ENCODING: CHUNKED", HELLO + END), POSTED),
        "chunked between blanks": (_with(b"Transfer-Encoding: \t chunked \t", HELLO + END), POSTED),
        "chunked without a blank": (_with(b"Transfer-Encoding:chunked", HELLO + END), POSTED),
        "underscore in the name": (
            _with(b"Content-Length: 5\r\nTransfer_Encoding: chunked"),
            POSTED._replace(fields=((b"transfer_encoding", b"chunked"),)),
        ),
        "another name": (
            _with(b"Content-Length: 5\r\nContent-Encoding: chunked"),
            POSTED._replace(fields=((b"content-encoding", b"chunked"),)),
        ),
    },
)

# -- lengths ---------------------------------------------------------------------------------------------------

_LENGTHS = {
    "with a plus": b"+5",
    "negative": b"-5",
    "hexadecimal": b"0x5",
    "with an underscore": b"0_5",
    "with a dot": b"5.0",
    "with an exponent": b"5e0",
    "with a parameter": b"5;a=b",
    "two with a comma": b"5, 5",
    "two that differ": b"5, 6",
    "two with a blank": b"5 5",
    "empty": b"",
    "a word": b"five",
    "in Arabic digits": "٥".encode(),
    "in full-width digits": "５".encode(),
    "behind a no-break space": b"\xa05",
    "before NEL": b"5\x85",
    "before NUL": b"5\0",
    "before a vertical tab": b"5\x0b",
    "beyond 64 bits": b"18446744073709551621",
    "beyond 63 bits": b"9223372036854775808",
    "of twenty zeros": b"00000000000000000005",
}
_refused("Content-Length", {name: _with(b"Content-Length: " + value) for name, value in _LENGTHS.items()})
_refused(
    "Content-Length",
    {
        "twice": _with(b"Content-Length: 5\r\nContent-Length: 5"),
        "twice in two cases": _with(b"Content-Length: 5\r\ncontent-length: 5"),
        "twice, the first of nothing": _with(b"Content-Length: 0\r\nContent-Length: 5"),
        "twice, the second of nothing": _with(b"Content-Length: 5\r\nContent-Length: 0"),
        "once empty": _with(b"Content-Length: 5\r\nContent-Length:"),
        "blank before the colon": _with(b"Content-Length : 5"),
        "tab before the colon": _with(b"Content-Length\t: 5"),
        "folded": _with(b"Content-Length:\r\n 5"),
        "behind a line feed": _with(b"X-A: b\nContent-Length: 5"),
        "behind a CR": _with(b"X-A: b\rContent-Length: 5"),
        "NUL in the name": _with(b"Content-\0Length: 5"),
        "in the request line's fold": b"POST / HTTP/1.1\r\n Content-Length: 5\r\nHost: aa.test\r\n\r\nhello",
    },
)
_passed(
    "Content-Length",
    {
        "sound": (SIZED + b"\r\nhello", POSTED),
        "with leading zeros": (_with(b"Content-Length: 005"), POSTED),
        "between blanks": (_with(b"Content-Length:\t 5 \t"), POSTED),
        "without a blank": (_with(b"content-length:5"), POSTED),
        "named by Connection": (_with(b"Connection: Content-Length\r\nContent-Length: 5"), POSTED),
        "named by Connection, keep-alive": (
            _with(b"Connection: keep-alive, content-length\r\nContent-Length: 5"),
            POSTED,
        ),
        "underscore in the name": (
            POST + b"Content_Length: 5\r\n\r\n",
            EMPTY._replace(fields=((b"content_length", b"5"),)),
        ),
    },
)

# -- bodies that only one side expects -------------------------------------------------------------------------

_sized_evil = b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL
_passed(
    "CL.0 and 0.CL",
    {
        "request in the body of a POST": (POST + _sized_evil, Passed(b"POST", b"/", EVIL)),
        "request in the body of a GET": (GET + _sized_evil, Passed(b"GET", b"/", EVIL)),
        "request in the body of a HEAD": (HEAD + _sized_evil, Passed(b"HEAD", b"/", EVIL)),
        "request in the body of an OPTIONS": (b"OPTIONS /" + H + _sized_evil, Passed(b"OPTIONS", b"/", EVIL)),
        "request in the body of a DELETE": (b"DELETE /" + H + _sized_evil, Passed(b"DELETE", b"/", EVIL)),
        "request in a chunk of a GET": (
            GET + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(EVIL), EVIL) + END,
            Passed(b"GET", b"/", EVIL),
        ),
        "request behind a body of nothing": (POST + b"Content-Length: 0\r\n\r\n" + EVIL, Several((EMPTY, EVIL_GOT))),
        "request behind a body": (SIZED + b"\r\nhello" + EVIL, Several((POSTED, EVIL_GOT))),
        "request behind chunks": (CHUNKED + HELLO + END + EVIL, Several((POSTED, EVIL_GOT))),
        "request behind a POST without a length": (POST + b"\r\n" + EVIL, Several((EMPTY, EVIL_GOT))),
        "request in a field": (
            GET + b"X-A: GET /evil HTTP/1.1\r\n\r\n",
            GOT._replace(fields=((b"x-a", b"GET /evil HTTP/1.1"),)),
        ),
        "empty lines between requests": (SIZED + b"\r\nhello\r\n\r\n" + EVIL, Several((POSTED, EVIL_GOT))),
    },
)
_refused("CL.0 and 0.CL", {"nonsense behind a body": SIZED + b"\r\nhelloX" + b"\r\n\r\n"}, 400, POSTED)
_refused("CL.0 and 0.CL", {"half a request line behind a body": SIZED + b"\r\nhello0\r\n\r\n"}, 400, POSTED)

# -- chunks ----------------------------------------------------------------------------------------------------

_SIZES = {
    "size 0x5": b"0x5",
    "size with a plus": b"+5",
    "size with a minus": b"-5",
    "size with an underscore": b"0_5",
    "size behind a blank": b" 5",
    "size before a vertical tab": b"5\x0b",
    "size before NUL": b"5\0",
    "size before NEL": b"5\x85",
    "size before a CR": b"5\r",
    "size before nonsense": b"5 x",
    "no size": b"",
    "no size but an extension": b";a=b",
    "size that is no number": b"g",
    "size beyond 64 bits": b"10000000000000005",
    "size of thirty zeros": b"0" * 30 + b"5",
    "size of more than fifteen digits": b"0000000000000005",
    "NUL in the extension": b"5;a\0b",
    "CR in the extension": b"5;a\rb",
    "line feed in the extension": b"5;a\nb",
    "line feed behind the semicolon": b"5;\n",
    "extension of five thousand bytes": b"5;" + b"a" * 5000,
}
_refused("chunks", {name: CHUNKED + size + b"\r\nhello\r\n" + END for name, size in _SIZES.items()})
_refused(
    "chunks",
    {
        "line feed behind the size": CHUNKED + b"5\nhello\r\n" + END,
        "line feed behind the content": CHUNKED + b"5\r\nhello\n" + END,
        "line feeds alone": CHUNKED + b"5\nhello\n0\n\n",
        "CR behind the size": CHUNKED + b"5\rhello\r\n" + END,
        "no line end behind the content": CHUNKED + b"5\r\nhello" + END,
        "two bytes of no line end behind the content": CHUNKED + b"5\r\nhelloXX" + END,
        "content longer than its size": CHUNKED + b"5\r\nhelloworld\r\n" + END,
        "content shorter than its size": CHUNKED + b"5\r\nhe\r\n" + END + b"\r\n",
        "a size in the line end": CHUNKED + b"5\r\nhello\r0\r\n\r\n",
        "EXT.TERM": CHUNKED + b"2;\nxx\r\n3d\r\n0\r\n\r\n" + EVIL + END,
        "TERM.EXT": CHUNKED + b"2\nxx\r\n3d;\r\n0\r\n\r\n" + EVIL + END,
        "TERM.SPILL": CHUNKED + b"5\r\nAAAAA\n2\r\n0\r\n\r\n" + EVIL,
        "SPILL.TERM": CHUNKED + b"5\r\nAAAAAX2\r\n45\r\n0\r\n\r\n" + EVIL + END,
        "ZERO.TWO": CHUNKED + b"2\r\nxx12\r\n3d\r\n0\r\n\r\n" + EVIL + END,
        "last chunk before a line feed": CHUNKED + HELLO + b"0\n\r\n",
        "trailers end in a line feed": CHUNKED + HELLO + b"0\r\nX-A: b\n\r\n",
        "line feed behind the last chunk": CHUNKED + HELLO + b"0\r\n\n" + EVIL,
        "a request for a trailer": CHUNKED + HELLO + b"0\r\n" + EVIL,
        "a trailer that is folded": CHUNKED + HELLO + b"0\r\nX-A: b\r\n c\r\n\r\n",
        "a trailer with a blank before the colon": CHUNKED + HELLO + b"0\r\nX-A : b\r\n\r\n",
        "a trailer with NUL": CHUNKED + HELLO + b"0\r\nX-A: \0\r\n\r\n",
        "trailers of twenty thousand bytes": CHUNKED + HELLO + b"0\r\n" + b"X-A: %b\r\n" % (b"b" * 200) * 100 + b"\r\n",
    },
)
_passed(
    "chunks",
    {
        "in two": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n" + END, POSTED),
        "in capitals": (CHUNKED + b"A\r\nhellohello\r\n" + END, Passed(b"POST", b"/", b"hellohello")),
        "size with leading zeros": (CHUNKED + b"005\r\nhello\r\n000\r\n\r\n", POSTED),
        "blank behind the size": (CHUNKED + b"5 \t\r\nhello\r\n" + END, POSTED),
        "extension": (CHUNKED + b"5;a=b\r\nhello\r\n0;c\r\n\r\n", POSTED),
        "extension with a quoted line": (CHUNKED + b'5;a="0;b"\r\nhello\r\n' + END, POSTED),
        "nothing in them": (CHUNKED + END, EMPTY),
        "trailer": (CHUNKED + HELLO + b"0\r\nX-A: b\r\n\r\n", POSTED),
        "trailers that would frame": (
            CHUNKED + HELLO + b"0\r\nContent-Length: 3\r\nTransfer-Encoding: x\r\nHost: b\r\nConnection: close\r\n\r\n",
            POSTED,
        ),
        "a trailer that looks like a field": (
            CHUNKED + HELLO + b"0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n" + EVIL,
            Several((POSTED, EVIL_GOT)),
        ),
    },
)

# -- names, values and line ends of fields ---------------------------------------------------------------------

_refused(
    "fields",
    {
        "line feeds alone": GET.replace(b"\r", b"") + b"\n",
        "line feed between fields": GET + b"X-A: b\nX-B: c\r\n\r\n",
        "head that ends in a line feed": GET + b"X-A: b\r\n\n",
        "head that ends in two line feeds": GET + b"X-A: b\n\n",
        "CR between fields": GET + b"X-A: b\rX-B: c\r\n\r\n",
        "line feed and CR": GET + b"X-A: b\n\rX-B: c\r\n\r\n",
        "NUL in a value": GET + b"X-A: b\0c\r\n\r\n",
        "DEL in a value": GET + b"X-A: b\x7fc\r\n\r\n",
        "bell in a value": GET + b"X-A: b\x07c\r\n\r\n",
        "blank in a name": GET + b"X A: b\r\n\r\n",
        "blank before the colon": GET + b"X-A : b\r\n\r\n",
        "no name": GET + b": b\r\n\r\n",
        "no colon": GET + b"X-A\r\n\r\n",
        "slash in a name": GET + b"X/A: b\r\n\r\n",
        "bracket in a name": GET + b"X[A]: b\r\n\r\n",
        "byte beyond ASCII in a name": GET + b"X\xe9: b\r\n\r\n",
        "folded with a blank": GET + b"X-A: b\r\n c\r\n\r\n",
        "folded with a tab": GET + b"X-A: b\r\n\tc\r\n\r\n",
        "folded before the first": b"GET / HTTP/1.1\r\n X-A: b\r\nHost: aa.test\r\n\r\n",
        "folded into nothing": GET + b"X-A: b\r\n \r\n\r\n",
    },
)
_passed(
    "fields",
    {
        "bytes beyond ASCII in a value": (
            GET + b"X-A: \xe9\x85\xa0\r\n\r\n",
            GOT._replace(fields=((b"x-a", b"\xe9\x85\xa0"),)),
        ),
        "blanks around a value": (GET + b"X-A: \t b c \t\r\n\r\n", GOT._replace(fields=((b"x-a", b"b c"),))),
        "no value": (GET + b"X-A:\r\n\r\n", GOT._replace(fields=((b"x-a", b""),))),
        "colons": (GET + b"X-A:: b:c\r\n\r\n", GOT._replace(fields=((b"x-a", b": b:c"),))),
        "twice": (GET + b"X-A: b\r\nX-A: c\r\n\r\n", GOT._replace(fields=((b"x-a", b"b"), (b"x-a", b"c")))),
        "another method in a field": (
            POST + b"X-HTTP-Method-Override: DELETE\r\nContent-Length: 5\r\n\r\nhello",
            POSTED._replace(fields=((b"x-http-method-override", b"DELETE"),)),
        ),
    },
)
_refused("fields", {"value of forty thousand bytes": GET + b"X-A: " + b"b" * 40000 + b"\r\n\r\n"}, 431)

# -- request lines ---------------------------------------------------------------------------------------------

_refused(
    "request lines",
    {
        "two blanks": b"GET  / HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "two blanks before the version": b"GET /  HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "tab": b"GET\t/ HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "vertical tab": b"GET\x0b/ HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "blank before the method": b" GET / HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "blank behind the version": b"GET / HTTP/1.1 \r\nHost: aa.test\r\n\r\n",
        "blank in the target": b"GET /a b HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "version twice": b"GET / HTTP/1.1 HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "no method": b" / HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "no target": b"GET HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n\r\n",
        "HTTP/0.9 and a Host": b"GET /\r\nHost: aa.test\r\n\r\n",
        "NUL in the method": b"G\0T / HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "colon in the method": b"GET: / HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "NUL in the target": b"GET /a\0b HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "CR in the target": b"GET /a\rb HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "line feed in the target": b"GET /a\nb HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "fragment": b"GET /a#b HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "target without a slash": b"GET a HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "asterisk": b"GET * HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "another scheme": b"GET ftp://aa.test/ HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "absolute with a name and a password": b"GET http://a:b@aa.test/ HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "absolute without a host": b"GET http:///a HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "absolute with a backslash": b"GET http://aa.test\\b/ HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "absolute without Host": b"GET http://aa.test/ HTTP/1.1\r\n\r\n",
        "climbs above the root": b"GET /../evil HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "broken escape": b"GET /a%zz HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "escaped NUL": b"GET /a%00b HTTP/1.1\r\nHost: aa.test\r\n\r\n",
        "version in small letters": b"GET / http/1.1\r\nHost: aa.test\r\n\r\n",
        "version of three digits": b"GET / HTTP/1.10\r\nHost: aa.test\r\n\r\n",
        "version with a zero": b"GET / HTTP/01.1\r\nHost: aa.test\r\n\r\n",
        "version with a plus": b"GET / HTTP/+1.1\r\nHost: aa.test\r\n\r\n",
        "another protocol": b"GET / ICAP/1.0\r\nHost: aa.test\r\n\r\n",
        "no version": b"GET / HTTP/\r\nHost: aa.test\r\n\r\n",
        "an answer": b"HTTP/1.1 200 OK\r\nHost: aa.test\r\n\r\n",
    },
)
_refused(
    "request lines",
    {
        "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: aa.test\r\n\r\n",
        "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: aa.test\r\n\r\n",
        "HTTP/0.9 with a version": b"GET / HTTP/0.9\r\nHost: aa.test\r\n\r\n",
        "HTTP/9.1": b"GET / HTTP/9.1\r\nHost: aa.test\r\n\r\n",
    },
    505,
)
_refused(
    "request lines",
    {
        "CONNECT": b"CONNECT aa.test:80 HTTP/1.1\r\nHost: aa.test\r\n\r\n" + EVIL,
        "CONNECT of a path": b"CONNECT / HTTP/1.1\r\nHost: aa.test\r\n\r\n" + EVIL,
        "TRACE": b"TRACE / HTTP/1.1\r\nHost: aa.test\r\n\r\n",
    },
    405,
)
_refused("request lines", {"target of forty thousand bytes": b"GET /" + b"a" * 40000 + H + b"\r\n"}, 414)
_passed(
    "request lines",
    {
        "empty lines before": (b"\r\n\r\n" + GET + b"\r\n", GOT),
        "method of one's own": (b"FETCH /" + H + b"\r\n", Passed(b"FETCH")),
        "method in small letters": (b"get /" + H + b"\r\n", Passed(b"get")),
        "absolute, another Host": (b"GET http://aa.test/a HTTP/1.1\r\nHost: evil.test\r\n\r\n", Passed(b"GET", b"/a")),
        "absolute without a path": (b"GET http://aa.test HTTP/1.1\r\nHost: aa.test\r\n\r\n", GOT),
        "absolute with a query alone": (
            b"GET http://aa.test?b HTTP/1.1\r\nHost: aa.test\r\n\r\n",
            Passed(b"GET", b"/?b"),
        ),
        "two slashes": (b"GET //evil.test/a" + H + b"\r\n", Passed(b"GET", b"/evil.test/a")),
        "escaped line ends": (b"GET /a%0d%0aX:%20b" + H + b"\r\n", Passed(b"GET", b"/a%0D%0AX:%20b")),
        "dots": (b"GET /a/../b/./c" + H + b"\r\n", Passed(b"GET", b"/b/c")),
        "escaped dots": (b"GET /a/%2e%2e/b" + H + b"\r\n", Passed(b"GET", b"/b")),
        "bytes beyond ASCII": (b"GET /\xc3\xa9" + H + b"\r\n", Passed(b"GET", b"/%C3%A9")),
    },
)

# -- hosts -----------------------------------------------------------------------------------------------------

_refused(
    "hosts",
    {
        "no Host": b"GET / HTTP/1.1\r\n\r\n",
        "an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "two": GET + b"Host: aa.test\r\n\r\n",
        "two that differ": GET + b"Host: evil.test\r\n\r\n",
        "two in two cases": GET + b"hOsT: evil.test\r\n\r\n",
        "two, one of them folded": b"GET / HTTP/1.1\r\nX-A: b\r\n Host: evil.test\r\nHost: aa.test\r\n\r\n",
        "two in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: aa.test\r\nHost: evil.test\r\n\r\n",
        "blank before the colon": b"GET / HTTP/1.1\r\nHost : aa.test\r\n\r\n",
        "blank in the value": b"GET / HTTP/1.1\r\nHost: aa.test evil.test\r\n\r\n",
        "path in the value": b"GET / HTTP/1.1\r\nHost: aa.test/evil\r\n\r\n",
        "name and password": b"GET / HTTP/1.1\r\nHost: a:b@aa.test\r\n\r\n",
        "two ports": b"GET / HTTP/1.1\r\nHost: aa.test:80:81\r\n\r\n",
        "a port of letters": b"GET / HTTP/1.1\r\nHost: aa.test:evil\r\n\r\n",
        "NUL": b"GET / HTTP/1.1\r\nHost: aa.test\0\r\n\r\n",
        "bytes beyond ASCII": b"GET / HTTP/1.1\r\nHost: \xc3\xa9.test\r\n\r\n",
        "open bracket": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    },
)

# -- versions, expectations, and fields about the connection ---------------------------------------------------

_refused(
    "HTTP/1.0",
    {"chunks": b"POST / HTTP/1.0\r\nHost: aa.test\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END},
)
_passed(
    "HTTP/1.0",
    {
        "body": (
            b"POST / HTTP/1.0\r\nHost: aa.test\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
            POSTED,
        ),
        "behind one that stays": (
            b"GET / HTTP/1.0\r\nHost: aa.test\r\nConnection: keep-alive\r\n\r\n" + EVIL,
            Several((GOT, EVIL_GOT)),
        ),
    },
)
_passed(
    "expectations",
    {
        "100-continue and the body at once": (SIZED + b"Expect: 100-continue\r\n\r\nhello", POSTED),
        "100-continue without a body": (GET + b"Expect: 100-continue\r\n\r\n" + EVIL, Several((GOT, EVIL_GOT))),
        "100-continue before a body of nothing": (
            POST + b"Content-Length: 0\r\nExpect: 100-continue\r\n\r\n" + EVIL,
            Several((EMPTY, EVIL_GOT)),
        ),
        "100-continue before chunks": (
            POST + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n" + HELLO + END,
            POSTED,
        ),
        "twice": (SIZED + b"Expect: 100-continue\r\nExpect: 100-continue\r\n\r\nhello", POSTED),
        "obfuscated": (SIZED + b"Expect: y 100-continue\r\n\r\nhello", POSTED),
        "of something else": (SIZED + b"Expect: 200-maybe\r\n\r\nhello", POSTED),
    },
)
_UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
_WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
_passed(
    "connections",
    {
        "h2c, and a request behind it": (GET + _UPGRADE + b"\r\n" + EVIL, Several((GOT, EVIL_GOT))),
        "h2c with a body": (SIZED + _UPGRADE + b"\r\nhello" + EVIL, Several((POSTED, EVIL_GOT))),
        "h2c without Connection": (GET + b"Upgrade: h2c\r\n\r\n" + EVIL, Several((GOT, EVIL_GOT))),
        "a WebSocket that is not to be": (
            GET + _WEBSOCKET + b"\r\n" + EVIL,
            Several((GOT._replace(fields=((b"upgrade", b"websocket"), (b"sec-websocket-version", b"13"))), EVIL_GOT)),
        ),
        "a WebSocket with a body": (
            b"GET /" + H + _WEBSOCKET + b"Content-Length: 5\r\n\r\nhello" + EVIL,
            Several((Passed(b"GET", b"/", b"hello", ((b"sec-websocket-version", b"13"),)), EVIL_GOT)),
        ),
        "Host named": (GET + b"Connection: Host\r\n\r\n", GOT),
        "a field named": (GET + b"Connection: X-A\r\nX-A: b\r\nX-B: c\r\n\r\n", GOT._replace(fields=((b"x-b", b"c"),))),
        "a field of the gateway named": (GET + b"Connection: X-Real-IP, X-Forwarded-For, Via\r\n\r\n", GOT),
        "chunks named": (
            POST + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END,
            POSTED,
        ),
        "Keep-Alive and Proxy-Connection": (
            GET + b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy: evil\r\n\r\n",
            GOT,
        ),
        "TE": (GET + b"TE: gzip, trailers, chunked\r\n\r\n", GOT),
    },
)
_passed(
    "the last one",
    {
        "behind one that does not stay": (b"GET / HTTP/1.0\r\nHost: aa.test\r\n\r\n" + EVIL, GOT),
        "close, and a request behind it": (GET + b"Connection: close\r\n\r\n" + EVIL, GOT),
        "in HTTP/1.0": (
            b"POST / HTTP/1.0\r\nHost: aa.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            POSTED,
        ),
    },
    closes=True,
)
