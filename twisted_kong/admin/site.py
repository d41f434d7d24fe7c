"""The Admin API as a whole: which paths there are, and the site that serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime

from twisted_kong.admin import access, certificates, collections, dns, health, legacy, schemas, targets
from twisted_kong.admin.configuration import Configuration
from twisted_kong.admin.declarative import Config, ReadOnly, ReadOnlyConfiguration
from twisted_kong.admin.dns import DnsStatus
from twisted_kong.admin.doorkeeper import Doorkeeper
from twisted_kong.admin.health import Balancers
from twisted_kong.admin.metrics import Metrics
from twisted_kong.admin.node import Cluster, Components, Endpoints, Node, Ready, Robots, Root, Status
from twisted_kong.admin.openapi import OpenApi
from twisted_kong.admin.request import AdminSite, largest_body
from twisted_kong.admin.tree import Endpoint, make_tree
from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.entities import Route, Service, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.store.declarative import Loader

GENERIC = (Service, Route, Upstream)
"""Entities with nothing but the paths that all entities have."""


def make_admin_site(
    store: IConfigStore,
    schema: Schema,
    node: Node,
    balancers: Balancers,
    loader: Loader | None = None,
    *,
    now: Callable[[], float],
    reactor: IReactorTime,
    doorkeeper: Doorkeeper | None = None,
) -> AdminSite:
    """The site that serves the Admin API to whom the ``doorkeeper`` lets in; to everybody without one.

    ``balancers`` tell how targets are; with a ``loader`` the configuration is written as one document and in no other
    way; ``now`` gives the seconds since the epoch, for what is created and changed; ``reactor`` measures and times out.
    """
    settings = node.settings
    configuration = (ReadOnlyConfiguration if loader else Configuration)(store, schema, now)
    table = endpoints(configuration, node, balancers, loader, reactor)
    return AdminSite(
        make_tree({path: ReadOnly(endpoint) for path, endpoint in table.items()} if loader else table),
        max_body=largest_body(settings),
        headers=settings.headers,
        origins=settings.admin_gui_url,
        doorkeeper=doorkeeper,
        reactor=reactor,
    )


def make_status_site(node: Node, reactor: IReactorTime) -> AdminSite:
    """The site that serves the Status API: how the gateway is, and nothing that could be changed. Nobody is asked who
    he is: probes and collectors of metrics have nothing to show, and those who reach it learn no secret."""
    table = {
        "/status": Status(node),
        "/status/ready": Ready(node),
        "/status/dns": DnsStatus(node.names),
        "/metrics": Metrics(node.metrics, node.reachable),
    }
    return AdminSite(make_tree(table), max_body=0, headers=node.settings.headers, reactor=reactor)


def endpoints(
    configuration: Configuration, node: Node, balancers: Balancers, loader: Loader | None, reactor: IReactorTime
) -> Mapping[str, Endpoint]:
    """Every path of the API, and who answers there."""
    table: dict[str, Endpoint] = {
        "/": Root(node, configuration, reactor),
        "/status": Status(node),
        "/components": Components(node),
        "/metrics": Metrics(node.metrics, node.reachable),
        "/cluster": Cluster(node),
        "/config": Config(loader),
    }
    for entity in GENERIC:
        table |= collections.endpoints(configuration, entity)
    table |= targets.endpoints(configuration)
    table |= health.endpoints(configuration, balancers, node)
    table |= dns.endpoints(node.names)
    table |= access.endpoints(configuration)
    table |= certificates.endpoints(configuration)
    table |= schemas.endpoints(configuration)
    table |= legacy.endpoints(configuration)
    table |= {"/endpoints": Endpoints([*table, "/endpoints"]), "/robots.txt": Robots()}
    return {**table, "/openapi.json": OpenApi(table, configuration.names)}
