"""Spans, by OpenTelemetry's API. Without a tracer, which is the default, none is recorded.

A trace begins with a call: the span of the gateway, the span of the server that accepts the triggers, and
that of the commit. Each attempt to deliver is a separate trace, linked to the span of the call: it may come
days later, and a trace is read as a whole. It is recorded if the call was.

Attributes are those of https://opentelemetry.io/docs/specs/semconv/, and `clarion.*`: never addresses, keys,
content, or texts of errors.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
)

__all__ = [
    "AttemptSpan",
    "add_ids",
    "annotate",
    "attempt_span",
    "call_span",
    "child_span",
    "context_of",
    "failed",
    "is_on",
    "is_recorded",
    "is_sampled",
    "may_record",
    "record",
    "set_tracer",
]

_SAMPLED = 1  # https://www.w3.org/TR/trace-context/#sampled-flag
Attributes = Mapping[str, str | int | bool]

_tracer: Tracer | None = None
_share = 1.0


class AttemptSpan(NamedTuple):
    """The span of an attempt to deliver.

    Args:
        name: Its name.
        kind: Its kind.
        traceparent: The context of the span to which it is linked.
        attributes: Its attributes.
    """

    name: str
    kind: SpanKind
    traceparent: str
    attributes: Attributes


def set_tracer(tracer: Tracer | None, share: float = 1.0) -> None:
    """Record spans with this tracer from now on, or none.

    Args:
        tracer: The tracer.
        share: The share of the calls without a caller's context that are recorded.
    """
    global _tracer, _share
    _tracer, _share = tracer, share


def is_on() -> bool:
    """Return whether this process records spans."""
    return _tracer is not None


def is_sampled(traceparent: str) -> bool:
    """Return whether the caller recorded its span, and so wants this trace; False if the context is empty."""
    return bool(traceparent) and bool(int(traceparent[-2:], 16) & _SAMPLED)


def is_recorded(traceparent: str) -> bool:
    """Return whether spans of this trace are recorded here; False if the context is empty."""
    return _tracer is not None and is_sampled(traceparent)


def may_record(traceparent: str) -> bool:
    """Return whether a call may be recorded: the caller decides, or chance if there is no caller's context.

    OpenTelemetry's samplers could decide the same, but would take a tenth of the server's time for the call.

    Args:
        traceparent: The caller's trace context, or empty if it has none or a malformed one.
    """
    if traceparent:
        return is_recorded(traceparent)
    return _tracer is not None and (_share >= 1 or random.random() < _share)  # noqa: S311 - no secret


@contextmanager
def call_span(method: str, traceparent: str) -> Iterator[Span]:
    """Record the span of a call, which is the current one during the block.

    Call it if `may_record` is true.

    Args:
        method: The full name of the method, such as `clarion.v1.TriggerService/TriggerEmail`.
        traceparent: The caller's trace context, or empty.
    """
    if _tracer is None:
        yield INVALID_SPAN
        return
    attributes = {"rpc.system.name": "grpc", "rpc.method": method}
    parent = _remote(traceparent) if traceparent else Context()
    span = _tracer.start_span(method, parent, SpanKind.SERVER, attributes)
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        yield span


@contextmanager
def attempt_span(wanted: AttemptSpan | None, started_ns: int) -> Iterator[Span]:
    """Record the span of an attempt as a new trace, which is linked to the call; None records nothing.

    Args:
        wanted: The span.
        started_ns: When the attempt started, in nanoseconds since 1970.
    """
    if wanted is None or _tracer is None:
        yield INVALID_SPAN
        return
    links = [Link(_span_context(wanted.traceparent))]
    span = _tracer.start_span(
        wanted.name, Context(), wanted.kind, wanted.attributes, links, start_time=started_ns
    )
    with _current(span):
        yield span


@contextmanager
def child_span(name: str, attributes: Attributes) -> Iterator[Span]:
    """Record a call of another system as a child of the current span, if that is recorded.

    An error is recorded by its `verdict`, or by its class if it has none.
    """
    if _tracer is None or not trace.get_current_span().is_recording():
        yield INVALID_SPAN
        return
    span = _tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
    with _current(span):
        yield span


def record(name: str, traceparent: str, started_ns: int, attributes: Attributes, *, error: str = "") -> None:
    """Record a call of another system that has ended now.

    Args:
        name: The span's name.
        traceparent: The context of its parent.
        started_ns: When it started, in nanoseconds since 1970.
        attributes: Its attributes.
        error: The class of its error; empty if it succeeded.
    """
    if _tracer is None:
        return
    span = _tracer.start_span(name, _remote(traceparent), SpanKind.CLIENT, attributes, start_time=started_ns)
    if error:
        failed(span, error)
    span.end(time.time_ns())


def annotate(attributes: Attributes) -> None:
    """Add attributes to the current span, if one is recorded."""
    if _tracer is not None:
        trace.get_current_span().set_attributes(attributes)


def failed(span: Span, error: str) -> None:
    """Mark a span as failed, by the kind of the error. Its text is left out: it may contain addresses."""
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def context_of(span: Span) -> str:
    """Return the W3C trace context of a span, or an empty string if it is not recorded."""
    if not span.is_recording():
        return ""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def add_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the IDs of the current span to a log line, if it is recorded. A processor of structlog.

    A line that already has the trace ID of the call keeps it as `call_trace_id`.
    """
    if _tracer is None:
        return event
    span = trace.get_current_span()
    if span.is_recording():
        context = span.get_span_context()
        trace_id = f"{context.trace_id:032x}"
        call = event.get("trace_id", trace_id)
        if call != trace_id:
            event["call_trace_id"] = call
        event["trace_id"], event["span_id"] = trace_id, f"{context.span_id:016x}"
    return event


@contextmanager
def _current(span: Span) -> Iterator[None]:
    """Make a span the current one for the block, and end it. An error is recorded without its text."""
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as error:
            failed(span, str(getattr(error, "verdict", "")) or type(error).__name__)
            raise


def _remote(traceparent: str) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(_span_context(traceparent)), Context())


def _span_context(traceparent: str) -> SpanContext:
    """Return a valid trace context as OpenTelemetry has it."""
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
