"""Makes ``twistd kong-gateway`` known. No ``__init__.py`` here or above: this directory joins Twisted's own."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

kong_gateway = ServiceMaker(
    "kong-gateway",
    "twisted_kong.service",
    "A microservice gateway that speaks Kong's Admin API.",
    "kong-gateway",
)

kong_gateway_reactor = Reactor(
    "kong-gateway",
    "twisted_kong.reactor",
    "Twisted's epoll reactor with less around every event; what twistd kong-gateway uses by itself.",
)
