"""Traces from a REST call to the provider and to a webhook, in a collector that speaks OTLP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from tests.kit.http_api import Api, Reply, Request, http_api
from tests.kit.otlp import Collector, Span, otlp_collector
from tests.kit.stack import Stack, client, free_port
from tests.kit.until import until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER_TRACE, REFUSED_TRACE, QUERY_TRACE, GRPC_TRACE = "a" * 32, "b" * 32, "c" * 32, "d" * 32
CALLER = "00f067aa0ba902b7"
TRIGGER = "/api/client/campaigns/900/trigger"
SERVER, DISPATCHER = "clarion-server", "clarion-dispatcher"
PHONE, SECRET = "+12025550123", "whispered"
CAMPAIGN = """
project: demo
campaigns:
  - id: 900
    name: Codes
    channel: text
    provider: sms
    sender: "+12025550100"
    templates: {default: {text: "{{ event.name }}"}}
"""


@dataclass(frozen=True)
class World:
    """A traced stack with what it calls."""

    stack: Stack
    collector: Collector
    http: httpx.AsyncClient
    sms: Api
    hooks: Api

    async def trigger(self, **headers: str) -> httpx.Response:
        """Send a trigger that is accepted, and return the answer."""
        user = {"external_id": "x", "phone": PHONE}
        sent = {**self.stack.headers(), **headers}
        answer = await self.http.post(TRIGGER, json={"user": user, "event": {"name": SECRET}}, headers=sent)
        assert answer.status_code == 204, answer.text
        return answer

    async def traced(self) -> str:
        """Send a trigger that its caller records, and return its ID."""
        return str((await self.trigger(**context())).headers["x-trigger-id"])

    async def attempt(self, trigger_id: str) -> Span:
        """Return the span of the attempt of a trigger."""
        return await self.collector.span("attempt", messaging_message_id=trigger_id)

    async def parent(self, span: Span) -> Span:
        """Return the parent of a span, once it has arrived."""
        wanted = (span.trace_id, span.parent_id)
        [found] = await until(
            lambda: [one for one in self.collector.spans if one.context == wanted], f"the parent of {span}"
        )
        return found


def of_twilio(_: Request) -> Reply:
    return Reply(201, {"sid": "SM" + "0" * 32, "status": "queued"})


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with otlp_collector() as collector, http_api(of_twilio) as sms, http_api() as hooks:
        settings: dict[str, object] = {
            "webhooks": {"allow": ["127.0.0.0/8"]},
            "gateway": {"access_log": True},
            "providers": {
                "sandbox": {"type": "sandbox"},
                "sms": {
                    "type": "twilio",
                    "account_sid": "AC" + "0" * 32,
                    "auth_token": "t",
                    "from_number": "+15005550006",
                    "url": sms.url,
                },
            },
        }
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cr%2Ft",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        }
        stack = Stack(tmp_path_factory.mktemp("traced"), free_port(), settings, variables=variables)
        try:
            await stack.start()
            stack.config.with_name("text.yaml").write_text(CAMPAIGN)
            await stack.check("campaigns", "apply", "text.yaml")
            await stack.check("webhooks", "create", "--project", "demo", "--url", hooks.url)
            await stack.until_in_force()
            async with client(stack) as http:
                yield World(stack, collector, http, sms, hooks)
        finally:
            await stack.stop()


def context(flags: str = "01", trace_id: str = TRACE_ID) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{CALLER}-{flags}"}


async def test_a_call_and_its_commit_are_in_the_callers_trace(world: World) -> None:
    answer = await world.trigger(**context())
    trigger_id = answer.headers["x-trigger-id"]
    commit = await world.collector.span("commit", messaging_message_id=trigger_id)
    accept = await world.parent(commit)
    gateway = await world.parent(accept)
    assert [commit.service, accept.service, gateway.service] == [SERVER, SERVER, "clarion-gateway"]
    assert [commit.kind, accept.kind, gateway.kind] == ["CLIENT", "SERVER", "SERVER"]
    assert (gateway.trace_id, gateway.parent_id) == (TRACE_ID, CALLER)
    assert accept.name == "clarion.v1.TriggerService/TriggerCampaign"
    assert accept.attributes["rpc.response.status_code"] == "OK"
    assert gateway.attributes["http.response.status_code"] == "204"
    assert commit.attributes["db.system.name"] == "postgresql"
    assert gateway.start <= accept.start <= commit.start <= commit.end <= accept.end
    assert answer.headers["traceparent"].split("-")[1] == TRACE_ID
    for service in (SERVER, DISPATCHER, "clarion-gateway"):
        await until(partial(world.collector.resources.get, service), f"spans of {service}")
        assert world.collector.resources[service]["deployment.environment.name"] == "test"


async def test_an_attempt_is_linked_to_its_call(world: World) -> None:
    trigger_id = await world.traced()
    attempt = await world.attempt(trigger_id)
    commit = await world.collector.span("commit", messaging_message_id=trigger_id)
    assert attempt.links == ((TRACE_ID, commit.parent_id),)
    assert (attempt.parent_id, attempt.kind, attempt.failed) == ("", "CONSUMER", False)
    assert attempt.trace_id != TRACE_ID
    assert attempt.attributes["clarion.attempt.outcome"] == "delivered"
    sent = await until(
        lambda: [one for one in world.collector.find("send sms") if one.parent_id == attempt.span_id],
        "the span of the provider's call",
    )
    assert sent[0].trace_id == attempt.trace_id
    assert sent[0].attributes["http.response.status_code"] == 201
    received = [one.headers["traceparent"].split("-")[1:3] for one in world.sms.requests]
    assert list(sent[0].context) in received


async def test_a_webhook_is_linked_to_the_call(world: World) -> None:
    trigger_id = await world.traced()
    commit = await world.collector.span("commit", messaging_message_id=trigger_id)
    link = (TRACE_ID, commit.parent_id)
    posts = await until(
        lambda: [one for one in world.collector.find("webhook") if one.links == (link,)], "the webhook's span"
    )
    assert posts[0].attributes["http.response.status_code"] == 200
    [request] = [one for one in world.hooks.requests if one.json()["data"]["trigger_id"] == trigger_id]
    assert request.headers["traceparent"].split("-")[1:3] == list(posts[0].context)


async def test_a_call_that_its_caller_does_not_record_has_no_spans(world: World) -> None:
    unrecorded = str((await world.trigger(**context("00", OTHER_TRACE))).headers["x-trigger-id"])
    without = str(
        (await world.trigger()).headers["x-trigger-id"]
    )  # the sampler records none without a caller
    await until(lambda: webhooks_about(world, unrecorded, without) == 2, "both are delivered")
    recorded = await world.traced()
    await world.attempt(recorded)
    await until(lambda: webhooks_about(world, recorded), "the last one is delivered")
    assert not [one for one in world.collector.spans if one.trace_id == OTHER_TRACE]
    assert not [one for one in world.collector.spans if {unrecorded, without} & {*one.attributes.values()}]
    [request] = [one for one in world.hooks.requests if one.json()["data"]["trigger_id"] == unrecorded]
    assert request.headers["traceparent"].split("-")[1::2] == [OTHER_TRACE, "00"]


def webhooks_about(world: World, *trigger_ids: str) -> int:
    return sum(one.json()["data"]["trigger_id"] in trigger_ids for one in world.hooks.requests)


async def test_a_malformed_traceparent_decides_nothing(world: World) -> None:
    """Otherwise, a stranger could have calls recorded that the sampler leaves out."""
    malformed = str((await world.trigger(traceparent="x")).headers["x-trigger-id"])
    await until(lambda: webhooks_about(world, malformed), "it is delivered")
    recorded = await world.traced()
    await world.attempt(recorded)
    await world.collector.span("commit", messaging_message_id=recorded)
    assert not [one for one in world.collector.spans if malformed in one.attributes.values()]


async def test_errors_of_callers_do_not_fail_spans(world: World) -> None:
    headers = {
        **world.stack.headers("sk_00000000-0000-4000-8000-000000000000"),
        **context("01", REFUSED_TRACE),
    }
    answer = await world.http.post(TRIGGER, json={"user": {}}, headers=headers)
    assert answer.status_code == 401
    refused = await until(
        lambda: [
            one for one in world.collector.spans if one.trace_id == REFUSED_TRACE and one.service == SERVER
        ],
        "its span",
    )
    assert refused[0].attributes["rpc.response.status_code"] == "UNAUTHENTICATED"
    assert not refused[0].failed
    line = await until(
        lambda: logged(world, "server-0", "key rejected", trace_id=REFUSED_TRACE), "a log line"
    )
    assert line["span_id"] == refused[0].span_id


async def test_log_lines_name_the_span(world: World) -> None:
    trigger_id = await world.traced()
    attempt = await world.attempt(trigger_id)
    line = await until(lambda: logged(world, "dispatcher", "attempt", trigger_id=trigger_id), "a log line")
    assert (line["trace_id"], line["span_id"]) == attempt.context
    assert line["call_trace_id"] == TRACE_ID
    gateway = await until(lambda: [one for one in access_log(world) if one["trace_id"] == TRACE_ID], "a line")
    assert (TRACE_ID, gateway[0]["span_id"]) in {one.context for one in world.collector.spans}


def logged(world: World, process: str, event: str, **members: str) -> dict[str, Any]:
    """Return the first line of a log with these members, or nothing."""
    lines = [json.loads(one) for one in world.stack.log(process).splitlines() if one.startswith("{")]
    wanted = {"event": event, **members}.items()
    return next((one for one in lines if wanted <= one.items()), {})


def access_log(world: World) -> list[dict[str, Any]]:
    lines = [json.loads(one) for one in world.stack.log("gateway").splitlines() if one.startswith("{")]
    return [one for one in lines if one.get("trace_id")]


async def test_spans_have_no_addresses_keys_or_content(world: World) -> None:
    trigger_id = await world.traced()
    await world.attempt(trigger_id)
    query = "/api/client/triggers?address=" + PHONE
    await world.http.get(query, headers={**world.stack.headers(), **context("01", QUERY_TRACE)})
    await until(
        lambda: len([one for one in world.collector.spans if one.trace_id == QUERY_TRACE]) == 2, "both spans"
    )
    text = str(world.collector.spans)
    assert "clarion-gateway" in text
    for secret in (PHONE, PHONE[1:], SECRET, world.stack.key, "s3cr", "AC000"):
        assert secret not in text


async def test_spans_of_grpc_have_no_path_or_query(world: World) -> None:
    path = f"/clarion.v1.TriggerService/TriggerText?{SECRET}"
    headers = {**world.stack.headers(), **context("01", GRPC_TRACE), "content-type": "application/grpc"}
    await world.http.post(path, headers=headers)
    wanted = GRPC_TRACE, "clarion-gateway"
    [span] = await until(
        lambda: [one for one in world.collector.spans if (one.trace_id, one.service) == wanted],
        "the gateway's span",
    )
    assert span.attributes["grpc.status_code"] == "3"
    assert "TriggerService" not in str(span)
    assert SECRET not in str(span)


async def test_a_hung_collector_holds_up_nothing(world: World) -> None:
    world.collector.held = True
    ids = [await world.traced() for _ in range(3)]
    await until(lambda: webhooks_about(world, *ids) == 3, "all are delivered")
    for process in ("server-0", "dispatcher"):
        await until(partial(lost, world, process), f"{process} says that spans are lost")
    await until(lambda: "spans are lost" in world.stack.log("gateway"), "the gateway says so, too")
    ids = [await world.traced() for _ in range(3)]
    await until(lambda: webhooks_about(world, *ids) == 3, "all are delivered")
    world.collector.held = False
    trigger_id = await world.traced()
    await world.attempt(trigger_id)
    await world.collector.span("commit", messaging_message_id=trigger_id)
    for process in ("server-0", "dispatcher"):
        await until(partial(logged, world, process, "spans are sent again"), "they are sent again")
        [line] = lost(world, process)
        assert line["endpoint"] == f"{world.collector.url}/v1/traces"


def lost(world: World, process: str) -> list[dict[str, Any]]:
    lines = [json.loads(one) for one in world.stack.log(process).splitlines() if one.startswith("{")]
    return [one for one in lines if one["event"].startswith("spans are lost")]


async def test_a_hung_collector_does_not_hold_up_the_end(world: World) -> None:
    """The last test of this file: it stops the stack."""
    world.collector.held = True
    requests = world.collector.requests
    await world.traced()
    await until(lambda: world.collector.requests > requests, "spans are being sent")
    assert await world.stack.stop() == 0
    assert logged(world, "dispatcher", "dispatcher stopped")
    assert logged(world, "server-0", "server stopped")
