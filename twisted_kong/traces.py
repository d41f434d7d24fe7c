"""Tracing as the settings say: who begins traces, and where spans go."""

from __future__ import annotations

from random import Random

from twisted_kong import VERSION
from twisted_kong.prefix import node_id
from twisted_kong.proxy.tracing import Tracer
from twisted_kong.settings import Settings
from twisted_kong.telemetry import spans


def make_exporter(settings: Settings) -> spans.Exporter | None:
    """Who sends spans, where there are any and the settings say where to.

    :raise StartupError: OpenTelemetry is not installed.
    """
    if not settings.tracing_instrumentations or settings.tracing_endpoint is None:
        return None
    resource = {
        "service.name": "kong",
        "service.version": VERSION,
        "service.instance.id": node_id(settings.prefix),
    }
    return spans.make_exporter(settings.tracing_endpoint, resource)


def make_tracer(settings: Settings, random: Random, exporter: spans.Exporter | None) -> Tracer | None:
    """Who begins traces, where that is wanted."""
    if not settings.tracing_instrumentations:
        return None
    return Tracer(settings.tracing_instrumentations, settings.tracing_sampling_rate, random, exporter)
