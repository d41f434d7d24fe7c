"""A microservice gateway on Twisted that speaks Kong's Admin API."""

__version__ = "0.1.0"

KONG_VERSION = "3.9.1"
"""The level of Kong's Admin API we speak."""

VERSION = f"{KONG_VERSION}-twisted.{__version__}"
"""What ``GET /`` answers as ``version``; with ``kong/`` before it, our name in ``Server`` and ``Via``."""
