"""Sends this process's spans to a collector, if OpenTelemetry's variables say so (`gateway/otlp.py`).

Spans are never waited for: they are put into a queue of limited length, from which a thread sends them. If
the collector does not accept them, they are lost, and one log line says so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from gateway import Otlp, OtlpProblem, read_otlp

from ..tracing import set_tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["ExportLog", "traces_exported"]

log = structlog.get_logger(__name__)

EXTRA = "clarion[otel]"
SHUTDOWN_SECONDS = 1.0
"""How long the end of a process waits for its last spans to be sent: less than `clarion up` waits for it."""
WINDOW_SECONDS = 60.0
"""Between two log lines about spans that were not sent."""
_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
"""The logger of the exporter, whose lines are replaced by ours."""


@asynccontextmanager
async def traces_exported(role: str) -> AsyncIterator[None]:
    """Record and send spans during the block, if the environment asks for it.

    If a variable is invalid, or if the SDK is not installed, a warning is logged, and nothing else happens:
    messages matter more than traces.

    Args:
        role: The process's role.
    """
    otlp = _read()
    provider = _provider(role, otlp) if otlp else None
    if otlp is None or provider is None:
        yield
        return
    set_tracer(provider.get_tracer("clarion", version("clarion")), otlp.ratio)
    try:
        yield
    finally:
        set_tracer(None)
        await _shut_down(provider)


class ExportLog(logging.Filter):
    """Logs at most one line in each window about spans that were not sent, and one when that has ended.

    It is a filter of the exporter's logger, which names the reason, and lets none of its lines pass.

    Args:
        endpoint: The collector, for the line.
        clock: Measures the window in seconds.
    """

    def __init__(self, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._clock = clock
        self._reason = ""
        self._next = 0.0
        self._lost = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the reason of a failure. It is not quoted, because it could contain parts of the URL."""
        for value in record.args if isinstance(record.args, tuple) else ():
            if isinstance(value, Exception):
                self._reason = type(value).__name__
            elif isinstance(value, int) and not isinstance(value, bool):
                self._reason = f"HTTP {value}"
        return False

    def ended(self, spans: int, *, sent: bool) -> None:
        """Log what became of an export, unless the last line was too recent."""
        if sent:
            if self._lost:
                log.info("spans are sent again", endpoint=self._endpoint, lost=self._lost)
            self._lost, self._next = 0, 0.0
            return
        self._lost += spans
        if self._clock() >= self._next:
            self._next = self._clock() + WINDOW_SECONDS
            log.warning(
                "spans are lost, because the collector did not accept them; check "
                "OTEL_EXPORTER_OTLP_ENDPOINT and the collector",
                endpoint=self._endpoint,
                reason=self._reason or "no answer in time",
                lost=self._lost,
            )
        self._reason = ""


def _read() -> Otlp | None:
    """Return where to send spans, or None if traces are off."""
    try:
        return read_otlp()
    except OtlpProblem as problem:
        log.warning("traces are off", reason=str(problem))
        return None


def _provider(role: str, otlp: Otlp) -> TracerProvider | None:
    """Return what records and sends spans, or None if that is not possible."""
    try:
        return _build(role, otlp)
    except ImportError:
        log.warning("traces are off", reason=f"OpenTelemetry's SDK is missing; install {EXTRA}")
    except ValueError as error:  # of variables that only the SDK reads; it names them
        log.warning("traces are off", reason=str(error))
    return None


def _build(role: str, otlp: Otlp) -> TracerProvider:
    """Return what records spans, and sends them in a thread.

    Raises:
        ImportError: The SDK is not installed.
        ValueError: It rejects one of the variables that only it reads.
    """
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415 - an extra
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult  # noqa: PLC0415

    from .sampler import FollowingSampler  # noqa: PLC0415

    export_log = ExportLog(otlp.endpoint)

    class Exporter(OTLPSpanExporter):
        """Reports how each export ended."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = super().export(spans)
            export_log.ended(len(spans), sent=result is SpanExportResult.SUCCESS)
            return result

    logging.getLogger(_EXPORTER).addFilter(export_log)
    # Its other lines would be repeated for every span, such as that the queue is full.
    logging.getLogger("opentelemetry.sdk").setLevel(logging.CRITICAL)
    exporter = Exporter(
        endpoint=otlp.endpoint,
        headers=dict(otlp.headers),
        timeout=otlp.timeout,
        certificate_file=otlp.certificate or None,
        client_certificate_file=otlp.client_certificate or None,
        client_key_file=otlp.client_key or None,
        compression=Compression.Gzip if otlp.compress else Compression.NoCompression,
    )
    name = {"service.name": otlp.service_name or f"clarion-{role}", "service.version": version("clarion")}
    provider = TracerProvider(
        sampler=FollowingSampler(),
        resource=Resource.create({**name, **otlp.attributes}),
        shutdown_on_exit=False,  # it would wait for half a minute
    )
    processor = BatchSpanProcessor(exporter, otlp.queue, otlp.delay * 1000, otlp.batch)
    provider.add_span_processor(processor)
    return provider


async def _shut_down(provider: TracerProvider) -> None:
    """Send the last spans, but do not wait longer than `SHUTDOWN_SECONDS`."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        try:
            loop.call_soon_threadsafe(ended.set)
        except RuntimeError:  # nothing waits any more
            return

    # Not a thread of the loop's executor: Python would wait for that when it exits.
    threading.Thread(target=shut_down, name="last-spans", daemon=True).start()
    try:
        async with asyncio.timeout(SHUTDOWN_SECONDS):
            await ended.wait()
    except TimeoutError:
        log.warning("the last spans were not sent, because the collector did not answer in time")
