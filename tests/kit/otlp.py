"""An OTLP collector on port 0, which receives spans over HTTP as any other collector does.

async with otlp_collector() as collector:
    ...  # a process with OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
    span = await collector.span("attempt")
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.kit.connections import serving
from tests.kit.until import until

__all__ = ["Collector", "Span", "otlp_collector"]

PATH = "/v1/traces"
KIND = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Span:
    """A span as received. IDs are hexadecimal; `links` are pairs of a trace ID and a span ID."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[tuple[str, str], ...]
    attributes: Mapping[str, Any]
    events: tuple[str, ...]
    failed: bool
    message: str
    start: int
    end: int

    @property
    def context(self) -> tuple[str, str]:
        """Its trace ID and span ID."""
        return self.trace_id, self.span_id


@dataclass
class Collector:
    """What the collector received. `status` is its reply; `held` keeps it from replying at all."""

    url: str = ""
    status: int = 200
    held: bool = False
    requests: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    resources: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def find(self, name: str, **attributes: object) -> list[Span]:
        """Return the spans with this name and these attributes; `_` in their names stands for a dot."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        return [
            span
            for span in self.spans
            if span.name == name and all(span.attributes.get(key) == value for key, value in wanted.items())
        ]

    async def span(self, name: str, **attributes: object) -> Span:
        """Return the first span with this name and these attributes, once it has arrived."""
        found = await until(
            lambda: self.find(name, **attributes),
            lambda: f"a span {name!r} {attributes} among {[(one.service, one.name) for one in self.spans]}",
        )
        return found[0]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the exports of one connection until the client closes it."""
        while (received := await _read(reader)) is not None:
            target, headers, body = received
            self.requests += 1
            self.headers.append(headers)
            if self.held:
                await reader.read()  # returns when the client gives up
                return
            if self.status == 200:
                assert (target, headers["content-type"]) == (PATH, KIND)
                self._add(ExportTraceServiceRequest.FromString(body))
            writer.write(
                f"HTTP/1.1 {self.status} X\r\nContent-Type: {KIND}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            await writer.drain()

    def _add(self, request: ExportTraceServiceRequest) -> None:
        for of_process in request.resource_spans:
            resource = _attributes(of_process.resource.attributes)
            service = str(resource["service.name"])
            self.resources[service] = resource
            self.spans += [_span(service, one) for scope in of_process.scope_spans for one in scope.spans]


@contextlib.asynccontextmanager
async def otlp_collector(tls: ssl.SSLContext | None = None) -> AsyncIterator[Collector]:
    """Run a collector for the block."""
    collector = Collector()
    async with serving(collector.serve, tls) as collector.url:
        yield collector


def _span(service: str, span: trace_pb2.Span) -> Span:
    return Span(
        service=service,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=_attributes(span.attributes),
        events=tuple(event.name for event in span.events),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        message=span.status.message,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return getattr(pair.value, kind) if kind else None


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes] | None:
    """Return target, headers and body of the next request, or None if the client closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":  # Envoy
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return first.split()[1], headers, body


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body
