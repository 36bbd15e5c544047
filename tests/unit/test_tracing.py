"""Spans of failures, and the traces that follow a call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from server import tracing
from server.domain.delivery_errors import ProviderError, Verdict
from server.process.sampler import FollowingSampler
from tests.kit.dispatch import ADDRESS, MemoryQueue, ScriptedProvider, make_trigger, running

pytestmark = pytest.mark.usefixtures("quiet_logs")

CALL = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNRECORDED = CALL[:-2] + "00"


@pytest.fixture(params=[0.0])
def spans(request: pytest.FixtureRequest) -> Iterator[InMemorySpanExporter]:
    """The spans that are recorded during a test; by default, none of calls without a caller's context."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=FollowingSampler(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.set_tracer(provider.get_tracer("test"), request.param)
    yield exporter
    tracing.set_tracer(None)


def error_of(span: ReadableSpan) -> object:
    assert span.attributes is not None
    assert span.status.description is None
    assert not span.events
    return span.attributes.get("error.type") if span.status.status_code is StatusCode.ERROR else None


async def test_failures_are_recorded_without_their_text(spans: InMemorySpanExporter) -> None:
    refused = ProviderError(Verdict.RECIPIENT_REFUSED, f"no such user {ADDRESS}")
    queue, provider = MemoryQueue(), ScriptedProvider("mail", refused)
    async with running(queue, provider):
        queue.add(make_trigger(traceparent=CALL))
        await queue.until_attempts(1)
    sent, attempt = spans.get_finished_spans()
    assert (sent.name, attempt.name) == ("send mail", "attempt")
    assert error_of(sent) == error_of(attempt) == "recipient_refused"
    assert ADDRESS not in sent.to_json() + attempt.to_json()


async def test_each_attempt_is_a_trace_of_its_own(spans: InMemorySpanExporter) -> None:
    busy = ProviderError(Verdict.PROVIDER_DOWN, "busy")
    queue, provider = MemoryQueue(), ScriptedProvider("mail", busy)
    async with running(queue, provider):
        queue.add(make_trigger(traceparent=CALL))
        await queue.until_attempts(2)
    attempts = [one for one in spans.get_finished_spans() if one.name == "attempt"]
    assert [error_of(one) for one in attempts] == ["provider_down", None]
    assert [dict(one.attributes or {})["clarion.attempt.number"] for one in attempts] == [1, 2]
    assert len({one.context.trace_id for one in attempts if one.context}) == 2
    assert {link.context.trace_id for one in attempts for link in one.links} == {int(CALL.split("-")[1], 16)}


@pytest.mark.parametrize("traceparent", ["", UNRECORDED])
async def test_attempts_follow_their_call(spans: InMemorySpanExporter, traceparent: str) -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    async with running(queue, provider):
        queue.add(make_trigger(traceparent=traceparent))
        await queue.until_attempts(1)
    assert provider.sent[0].traceparent == traceparent
    assert not spans.get_finished_spans()


@pytest.mark.parametrize("spans", [0.0, 1.0], indirect=True, ids=["none", "all"])
@pytest.mark.parametrize("caller", ["", CALL, UNRECORDED], ids=["without", "recorded", "unrecorded"])
def test_the_callers_decision_is_honoured(
    spans: InMemorySpanExporter, request: pytest.FixtureRequest, caller: str
) -> None:
    context = ""
    if tracing.may_record(caller):
        with tracing.call_span("a.B/C", caller) as span:
            context = tracing.context_of(span)
    share = request.node.callspec.params["spans"]
    recorded = tracing.is_sampled(caller) if caller else share == 1.0
    assert bool(context) is tracing.is_sampled(context) is recorded
    assert len(spans.get_finished_spans()) == recorded


@pytest.mark.parametrize("spans", [0.25], indirect=True)
def test_chance_decides_about_calls_without_a_caller(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", iter([0.0, 0.24, 0.25, 0.99]).__next__)
    assert [tracing.may_record("") for _ in range(4)] == [True, True, False, False]
    assert tracing.may_record(CALL)


def test_other_flags_are_those_of_the_caller(spans: InMemorySpanExporter) -> None:
    """Only the last bit says that the caller records its span."""
    for flags, recorded in (("02", False), ("03", True)):
        with tracing.call_span("a.B/C", CALL[:-2] + flags) as span:
            assert bool(tracing.context_of(span)) is recorded
