"""A microservice gateway on Twisted that speaks Kong's Admin API."""

from importlib.metadata import version as _version

KONG_VERSION = "3.9.1"
"""The level of Kong's Admin API we speak."""

VERSION = f"{KONG_VERSION}-twisted.{_version('twisted-kong')}"
"""What ``GET /`` answers as ``version``; ``kong/`` before it is our name in ``Server`` and ``Via``."""
