"""Our spans as OpenTelemetry's, and its exporter. The only module that names OpenTelemetry, which is an extra.

Everything runs in the thread of `twisted_kong.telemetry.spans.Exporter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from twisted_kong import VERSION
from twisted_kong.telemetry.spans import Span

_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}


class _Ids(IdGenerator):
    """Gives the next span the ids that it has already."""

    trace_id = span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Gathering(SpanProcessor):
    """Keeps spans until they are exported together."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class Otlp:
    """Sends spans to the collector at ``endpoint``, each batch within ``timeout`` seconds."""

    def __init__(self, endpoint: str, resource: Mapping[str, str], timeout: float) -> None:
        self._ids = _Ids()
        self._gathering = _Gathering()
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(dict(resource)), id_generator=self._ids, shutdown_on_exit=False
        )
        provider.add_span_processor(self._gathering)
        self._tracer = provider.get_tracer("twisted-kong", VERSION)
        self._exporter = OTLPSpanExporter(endpoint, timeout=timeout)

    def send(self, spans: Sequence[Span]) -> bool:
        """Whether the collector has them."""
        for span in spans:
            self._make(span)
        made, self._gathering.spans = self._gathering.spans, []
        return self._exporter.export(made) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Send no more, and give up what is being sent."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry's

    def _make(self, span: Span) -> None:
        trace_id = self._ids.trace_id = int(span.trace_id, 16)
        self._ids.span_id = int(span.span_id, 16)
        context = None
        if span.parent:
            sampled = TraceFlags(TraceFlags.SAMPLED)
            parent = SpanContext(trace_id, int(span.parent, 16), is_remote=span.kind == "server", trace_flags=sampled)
            context = set_span_in_context(NonRecordingSpan(parent))
        made = self._tracer.start_span(
            span.name, context, _KINDS[span.kind], dict(span.attributes), start_time=_nanoseconds(span.began)
        )
        if span.error is not None:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(_nanoseconds(span.ended))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
