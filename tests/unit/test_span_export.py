"""Sending spans: what is logged if the collector does not accept them, and that nothing waits for it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.run.export_errors import ExportErrors
from server import tracing
from server.process.traces import ExportLog, traces_exported
from tests.kit.otlp import otlp_collector
from tests.kit.stack import free_port
from tests.kit.until import until

FAILED = "[2026-01-01 00:00:00.000][12][error][tracing] [source/x.cc:86] OTLP HTTP exporter got a 503"


@pytest.fixture
def silent_sdk() -> Iterator[None]:
    """Undo what sending spans changes in the loggers of this process."""
    loggers = [
        logging.getLogger(name)
        for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
    ]
    filters, levels = [[*one.filters] for one in loggers], [one.level for one in loggers]
    yield
    for one, kept, level in zip(loggers, filters, levels, strict=True):
        one.filters, one.level = kept, level


def test_lost_spans_are_logged_once_a_minute() -> None:
    now = [0.0]
    export_log = ExportLog("http://c/v1/traces", clock=lambda: now[0])
    refused = logging.LogRecord(
        "x", logging.ERROR, "x", 1, "code: %s, reason: %s", (401, "no k-5ecret"), None
    )
    assert not export_log.filter(refused)
    with capture_logs() as lines:
        for now[0] in (0.0, 1.0, 59.0, 60.0):
            export_log.ended(10, sent=False)
        export_log.ended(5, sent=True)
        export_log.ended(5, sent=True)
    assert [line["lost"] for line in lines] == [10, 40, 40]
    assert [line["event"].partition(",")[0] for line in lines] == [
        "spans are lost",
        "spans are lost",
        "spans are sent again",
    ]
    assert [line.get("reason") for line in lines] == ["HTTP 401", "no answer in time", None]
    assert "k-5ecret" not in str(lines)


def test_envoys_errors_are_relayed_once_a_minute() -> None:
    now = [0.0]
    errors = ExportErrors(clock=lambda: now[0])
    assert errors.replaced("another line") == "another line"
    first, *rest = [errors.replaced(FAILED) for _ in range(5)]
    assert first.startswith("the gateway's spans are lost")
    assert first.endswith("OTLP HTTP exporter got a 503")
    assert rest == [""] * 4
    now[0] = 60.0
    assert "(4 more times" in errors.replaced(FAILED)


async def exported(monkeypatch: pytest.MonkeyPatch, spans: int, **variables: str) -> tuple[list[Any], float]:
    """Record spans while they are sent, and return the log and the seconds that the end took."""
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_{name}", value)
    with capture_logs() as lines:
        async with traces_exported("server"):
            for _ in range(spans):
                with tracing.call_span("a.B/C", ""):
                    pass
            ending = time.monotonic()
        return list(lines), time.monotonic() - ending


@pytest.mark.usefixtures("silent_sdk")
async def test_spans_are_sent_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with otlp_collector() as collector:
        lines, _ = await exported(monkeypatch, 3, EXPORTER_OTLP_ENDPOINT=collector.url, SERVICE_NAME="shop")
        await until(lambda: len(collector.find("a.B/C", rpc_method="a.B/C")) == 3, "three spans")
    assert lines == []
    assert [one.service for one in collector.spans] == ["shop"] * 3
    assert not tracing.is_on()


@pytest.mark.usefixtures("silent_sdk")
@pytest.mark.parametrize("how", ["absent", "refuses", "hangs"])
async def test_a_bad_collector_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """More spans than the queue holds, which would be sent for minutes."""
    async with otlp_collector() as collector:
        collector.status, collector.held = 400, how == "hangs"
        url = f"http://127.0.0.1:{free_port()}" if how == "absent" else collector.url
        lines, seconds = await exported(monkeypatch, 5000, EXPORTER_OTLP_ENDPOINT=url)
    assert seconds < 20  # the SDK would wait for 30
    assert len(lines) in {1, 2}  # that spans are lost, or that the last ones were not sent, or both
    assert all("spans" in line["event"] and "Traceback" not in str(line) for line in lines)


@pytest.mark.usefixtures("silent_sdk")
@pytest.mark.parametrize(
    ("name", "value"), [("EXPORTER_OTLP_PROTOCOL", "grpc"), ("SPAN_LINK_COUNT_LIMIT", "many")]
)
async def test_an_invalid_variable_turns_traces_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    given = {"EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", name: value}
    [line], _ = await exported(monkeypatch, 1, **given)
    assert line["event"] == "traces are off"
    assert f"OTEL_{name}" in line["reason"]


async def test_a_missing_sdk_turns_traces_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    [line], _ = await exported(monkeypatch, 1, EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    assert line["reason"] == "OpenTelemetry's SDK is missing; install clarion[otel]"


async def test_nothing_happens_without_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    lines, _ = await exported(monkeypatch, 1)
    assert lines == []
