"""The terminal that a process may have."""

from __future__ import annotations

import os


def has_terminal() -> bool:
    """Whether there is a terminal that somebody could close."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
