"""In and out of OpenSSL: the four calls that every message over TLS makes.

What lives here: how they are made. What must not: when, and what follows (`tls_layer`).

pyOpenSSL's methods cost about as much again as what OpenSSL does: a new buffer for each call, and checks of what is
always the case here. `DirectRecords` makes the same calls by its bindings, which are not public; where these
are not as they were, `Records` does without.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL

RECORD: Final = 16384
"""The most bytes of content that a record has (RFC 8446 §5.1)."""

ROOM: Final = 160 * 1024
"""Bytes taken out of OpenSSL at once: a read of a socket (`wire.READ_SIZE`), encrypted, fits."""


class Records:
    """The two ends of a connection in memory."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection: Any = connection

    def arrived(self, data: bytes) -> None:
        """This has come from the other side."""
        self._connection.bio_write(data)

    def content(self) -> bytes:
        """The content of the next record.

        :raise SSL.Error: there is none, and why.
        """
        content: bytes = self._connection.recv(RECORD)
        return content

    def encrypt(self, data: bytes) -> bytes:
        """What is to be sent by now, ``data`` at its end.

        :raise SSL.Error: it cannot be encrypted.
        """
        self._connection.send(data)
        return self.unsent()

    def unsent(self) -> bytes:
        """What is to be sent by now."""
        pieces = []
        try:
            while True:
                pieces.append(self._connection.bio_read(ROOM))
        except SSL.WantReadError:
            return b"".join(pieces)


class DirectRecords(Records):
    """The same without detours. All of it happens in the reactor's thread, so that one buffer serves everybody."""

    def __init__(self, connection: SSL.Connection) -> None:
        super().__init__(connection)
        self._ssl = self._connection._ssl
        self._from_socket = self._connection._into_ssl
        self._to_socket = self._connection._from_ssl

    def arrived(self, data: bytes) -> None:
        if _lib.BIO_write(self._from_socket, data, len(data)) != len(data):
            raise MemoryError("OpenSSL has no room for what has come")

    def content(self) -> bytes:
        size = _lib.SSL_read(self._ssl, _buffer, RECORD)
        if size <= 0:
            self._connection._raise_ssl_error(self._ssl, size)
        content: bytes = _slice(_buffer, size)[:]
        return content

    def encrypt(self, data: bytes) -> bytes:
        size = _lib.SSL_write(self._ssl, data, len(data))
        if size <= 0:
            self._connection._raise_ssl_error(self._ssl, size)
        return self.unsent()

    def unsent(self) -> bytes:
        size = _lib.BIO_read(self._to_socket, _buffer, ROOM)
        if size <= 0:
            return b""
        data: bytes = _slice(_buffer, size)[:]
        return data if size < ROOM else data + self.unsent()


def records(connection: SSL.Connection) -> Records:
    """Those of ``connection``, by the shortest way there is."""
    return _shortest(connection)


def _bindings() -> tuple[Any, Any]:
    """pyOpenSSL's, where everything `DirectRecords` needs is there; else nothing."""
    lib, ffi = getattr(SSL, "_lib", None), getattr(SSL, "_ffi", None)
    calls = ("SSL_read", "SSL_write", "BIO_read", "BIO_write")
    parts = ("_ssl", "_into_ssl", "_from_ssl", "_raise_ssl_error")
    probe = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    found = (
        ffi is not None and all(hasattr(lib, name) for name in calls) and all(hasattr(probe, name) for name in parts)
    )
    return (lib, ffi) if found else (None, None)


_lib, _ffi = _bindings()
_shortest: type[Records]
if _lib is None:
    _shortest = Records
else:
    _shortest = DirectRecords
    _buffer = _ffi.new("char[]", ROOM)
    _slice = _ffi.buffer
