"""The gateway's own spans: over TLS, and only to the collector whose certificate is trusted."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from tests.kit.gateway import JSON, KEY, running_toy_stack, trigger
from tests.kit.http_client import http_client
from tests.kit.otlp import Collector, otlp_collector
from tests.kit.tls import CA, issue
from tests.kit.until import until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CONTEXT = f"00-{TRACE_ID}-00f067aa0ba902b7"


def set_variables(
    monkeypatch: pytest.MonkeyPatch, folder: Path, collector: Collector, ca: trustme.CA
) -> None:
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, value in {
        "EXPORTER_OTLP_ENDPOINT": collector.url,
        "EXPORTER_OTLP_CERTIFICATE": str(folder / "ca.pem"),
        "EXPORTER_OTLP_HEADERS": "api-key=50%25%20off",
        "BSP_SCHEDULE_DELAY": "50",
        "RESOURCE_ATTRIBUTES": "a=b",
        "SERVICE_NAME": "front",
    }.items():
        monkeypatch.setenv(f"OTEL_{name}", value)


def server_side(folder: Path) -> ssl.SSLContext:
    issue(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "pair.pem", folder / "pair.key")
    return context


async def test_spans_are_sent_over_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with otlp_collector(server_side(tmp_path)) as collector:
        set_variables(monkeypatch, tmp_path, collector, CA)
        async with running_toy_stack() as stack, http_client(f"http://{stack.address}") as client:
            answer = await trigger(client, headers={**KEY, **JSON, "traceparent": f"{CONTEXT}-01"})
            unrecorded = await trigger(client, headers={**KEY, **JSON, "traceparent": f"{CONTEXT}-00"})
            assert answer.status_code == unrecorded.status_code == 204
            assert stack.toy.metadata["traceparent"].endswith("-00")
            await until(lambda: collector.spans, "the span arrives")
    [span] = [one for one in collector.spans if one.trace_id == TRACE_ID]
    assert answer.headers["traceparent"] == f"00-{TRACE_ID}-{span.span_id}-01"
    assert (span.service, span.parent_id) == ("front", "00f067aa0ba902b7")
    assert collector.resources["front"]["a"] == "b"
    assert collector.headers[0]["api-key"] == "50% off"


async def test_an_untrusted_collector_gets_no_spans(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with otlp_collector(server_side(tmp_path)) as collector:
        set_variables(monkeypatch, tmp_path, collector, trustme.CA())
        async with running_toy_stack() as stack, http_client(f"http://{stack.address}") as client:
            printed = ""
            while "spans are lost" not in printed:
                answer = await trigger(client, headers={**KEY, **JSON, "traceparent": f"{CONTEXT}-01"})
                assert answer.status_code == 204
                printed += capsys.readouterr().err
    assert collector.requests == 0


async def test_an_absent_collector_does_not_delay_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://no-such-host.invalid:4318")
    async with running_toy_stack() as stack, http_client(f"http://{stack.address}") as client:
        assert (await trigger(client)).status_code == 204
