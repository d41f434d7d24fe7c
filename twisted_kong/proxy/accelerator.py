"""What the proxy does most often, in C where that has been compiled, and in Python otherwise.

`twisted_kong.proxy.plain` says what it does; nobody can tell the difference but by the clock. It is compiled when the
gateway is installed and there is a compiler. ``TWISTED_KONG_PURE=1`` in the environment has the Python used anyhow.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted_kong.proxy.plain import LineReader, receive, send, values_of

__all__ = ["ACCELERATED", "LineReader", "receive", "send", "values_of"]

ACCELERATED = False
"""Whether it is the C."""

if not TYPE_CHECKING and os.environ.get("TWISTED_KONG_PURE", "0") in ("", "0"):
    try:
        from twisted_kong.proxy._accelerator import LineReader, receive, send, values_of
    except ImportError:
        pass
    else:
        ACCELERATED = True
