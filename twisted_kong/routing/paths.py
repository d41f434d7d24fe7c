"""Paths: the one spelling of a request's path that is matched, and the path its origin is sent.

Pure functions on bytes. A query never comes here, and neither does a decision about routes.

The rules of spelling are those of RFC 3986 §6.2.2, tightened where nginx, and so Kong, is strict: two spellings
that mean the same become one, and a path that could mean something else to somebody else is refused.
"""

from __future__ import annotations

import re

from twisted_kong.errors import RequestRefused

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

# What a path may consist of besides escapes: unreserved and reserved characters but ? and #.
_PLAIN = rb"/!$&-.0-;=@-\[\]_a-z~"
_WORTH_A_LOOK = re.compile(rb"[^" + _PLAIN + rb"]|/(?:/|\.\.?(?:/|\Z))")
_OUTSIDE = re.compile(rb"[^%" + _PLAIN + rb"]")
_FORBIDDEN = re.compile(rb"[\x00-\x1f\x7f#]")
_SLASHES = re.compile(rb"//+")

_ESCAPED = [b"%%%02X" % byte for byte in range(256)]
_DECODED = {
    bytes([high, low]): bytes([byte]) if (byte := int(bytes([high, low]), 16)) in _UNRESERVED else _ESCAPED[byte]
    for high in b"0123456789ABCDEFabcdef"
    for low in b"0123456789ABCDEFabcdef"
    if (high, low) != (0x30, 0x30)
}
"""The two digits of an escape -> what stands for it in a normalised path. NUL has no place in one."""


def normalise(path: bytes) -> bytes:
    """The path of a request, without its query, as routes are compared with it.

    Escapes of unreserved characters are decoded, others kept with upper-case digits; bytes outside the URI
    character set are escaped; repeated slashes become one; ``.`` and ``..`` segments are resolved. Takes time
    linear in the length; a path that is normalised already costs one search.

    :raise RequestRefused: it does not begin with a slash, has a broken escape, a NUL, a control character or a
        fragment, or climbs above the root.
    """
    if _WORTH_A_LOOK.search(path) is None and path[:1] == b"/":
        return path
    if path[:1] != b"/":
        raise RequestRefused("the path does not begin with a slash")
    if _FORBIDDEN.search(path):
        raise RequestRefused("a control character or a fragment in the path")
    path = _SLASHES.sub(b"/", escape(_decode(path)))
    if b"%2F" in path:
        # An origin may take it for a slash, as nginx does: what climbs out in that reading is refused, too.
        _resolve(_SLASHES.sub(b"/", path.replace(b"%2F", b"/")))
    return _resolve(path)


def escape(path: bytes) -> bytes:
    """``path`` with every byte outside the URI character set, ``?`` and ``#`` as ``%XX``; escapes stay as they are."""
    return _OUTSIDE.sub(lambda outside: _ESCAPED[outside[0][0]], path)


def _decode(path: bytes) -> bytes:
    """Every escape in its one spelling: the character itself if it is unreserved, else upper-case digits."""
    first, *rest = path.split(b"%")
    pieces = [first]
    for piece in rest:
        decoded = _DECODED.get(piece[:2])
        if decoded is None:
            raise RequestRefused(f"the escape {(b'%' + piece[:2]).decode('latin-1')!r} in the path")
        pieces.append(decoded)
        pieces.append(piece[2:])
    return b"".join(pieces)


def _resolve(path: bytes) -> bytes:
    """``path`` without ``.`` and ``..`` segments (RFC 3986 §5.2.4), but never silently cut at the root."""
    if b"/." not in path:
        return path
    segments = path[1:].split(b"/")
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if not kept:
                raise RequestRefused("the path climbs above the root")
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def join(base: bytes, path: bytes, matched: int, *, strip: bool, concatenate: bool) -> tuple[bytes, bytes | None]:
    """The path the origin is sent, and the prefix it has lost on the way (None for nothing, or for ``/`` alone).

    ``base`` is the service's path and ``path`` the request's, normalised, of which the route's path has matched
    the first ``matched`` bytes: 0 for a route without paths, whose ``strip`` means nothing. The rules are Kong's:
    ``path_handling`` v0 takes care that base and rest meet in exactly one slash, v1 (``concatenate``) just puts
    one behind the other.
    """
    if not (strip and matched):
        if base.endswith(b"/") or concatenate:
            return base + path[1:], None
        return (base if path == b"/" else base + path), None
    rest = _without_dots(path[matched:])
    if base.endswith(b"/"):
        sent = base + rest.removeprefix(b"/")
        if not rest and not concatenate and base != b"/" and not path.endswith(b"/"):
            sent = base[:-1]
    elif concatenate or rest.startswith(b"/"):
        sent = base + rest
    elif rest:
        sent = base + b"/" + rest
    else:
        sent = base + b"/" if path.endswith(b"/") and path != b"/" else base
    return sent, path[:matched] if matched > 1 else None


def join_as_api(base: bytes, path: bytes, matched: int, *, strip: bool) -> tuple[bytes, bytes | None]:
    """The same for an api, whose ``path`` is the request's as it came. The rules are those of Kong 0.10.

    The uri is stripped together with a slash behind it, but never the root. Where nothing is left, what is sent ends
    in a slash only if the request did.

    :raise RequestRefused: what is left climbs out of the uri that was stripped.
    """
    rest, prefix = path, None
    if strip and matched > 1:
        rest, prefix = b"/" + path[matched:].removeprefix(b"/"), path[:matched]
        normalise(rest)
    sent = base.removesuffix(b"/")
    if rest != b"/":
        sent += rest
    elif path.endswith(b"/") and (base.endswith(b"/") or path != b"/"):
        sent += b"/"
    return sent or b"/", prefix


_DOTS = re.compile(rb"\.\.?(?:/|%2F|$)")
"""Also in the reading of an origin that takes %2F for a slash."""


def _without_dots(rest: bytes) -> bytes:
    """A prefix may end inside a segment; what is left of that segment must not have become a step upwards."""
    while found := _DOTS.match(rest):
        rest = rest[found.end() :]
    return rest
