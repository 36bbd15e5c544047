"""What native gRPC callers get: the server untouched, and our own refusals with rich details."""

from __future__ import annotations

import base64
import contextlib
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import pytest
from google.api import httpbody_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from gateway import GatewaySettings, running
from tests.kit import breaking_upstream
from tests.kit.gateway import (
    TRIGGER,
    ToyStack,
    call,
    grpc_error,
    options_for,
    refused,
    rich_reason,
    trigger,
    until_readyz_says,
)
from tests.kit.http_client import http_client
from tests.kit.raw_http2 import headers, http2
from tests.kit.toy_upstream import TRIGGER_ID


async def test_native_grpc_passes_unchanged(channel: grpc.aio.Channel) -> None:
    calling = call(channel, "44", metadata=(("x-envoy-original-path", "/forged"),))
    assert (await calling).trigger_id == TRIGGER_ID
    seen = [name for name, _ in (*await calling.initial_metadata(), *await calling.trailing_metadata())]
    assert not [name for name in seen if name.startswith("x-envoy-")]


async def test_native_grpc_errors_keep_their_details(channel: grpc.aio.Channel) -> None:
    error = await grpc_error(call(channel, "bad"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(cast("grpc.Call", error))
    assert status is not None
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert info.reason == "INVALID_REQUEST"
    assert status.details[1].Unpack(violations)
    assert violations.field_violations[0].field == "user.email"


async def test_native_grpc_errors_have_retry_after(channel: grpc.aio.Channel) -> None:
    error = await grpc_error(call(channel, "limited"))
    assert ("retry-after", "7") in tuple(error.trailing_metadata())


@pytest.mark.parametrize("seconds", [None, 0.2, 60])
async def test_unary_grpc_call_times_out(impatient_channel: grpc.aio.Channel, seconds: float | None) -> None:
    error = await grpc_error(call(impatient_channel, "sleep", timeout=seconds))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # from grpcio or Envoy, whichever is first


async def test_hanging_server_is_timed_out_for_every_protocol() -> None:
    async with in_front_of(None, request_timeout=1.0) as options:
        error, answer = await both_ways(options)
    assert (error.code(), rich_reason(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TIMED_OUT")
    refused(answer, 504, "TIMED_OUT")


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("grpc-timeout", "x", "9S"),
        ("grpc-encoding", "foo", "identity"),
        ("grpc-trace-bin", "!", "AAAA"),
        ("custom-bin", "!", "AAAA"),
    ],
)
async def test_malformed_metadata_does_not_affect_later_calls(
    toy_stack: ToyStack, name: str, bad: str, good: str
) -> None:
    await status_of_raw_call(toy_stack, {name: bad})  # refused or not: only the next one counts
    assert await status_of_raw_call(toy_stack, {name: good}) == "0"


@pytest.mark.parametrize("name", ["grpc-trace-bin", "custom-bin"])
async def test_malformed_base64_is_dropped(toy_stack: ToyStack, name: str) -> None:
    """Otherwise grpcio itself would reject the call, in its own words."""
    assert await status_of_raw_call(toy_stack, {name: "!"}) == "0"
    assert name not in toy_stack.toy.metadata


async def test_server_side_deadline_keeps_the_connection(toy_stack: ToyStack) -> None:
    for _ in range(3):
        assert await status_of_raw_call(toy_stack, {"grpc-timeout": "300m"}, campaign="sleep") == "4"
        assert await status_of_raw_call(toy_stack, {}) == "0"


async def test_unknown_grpc_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    error = await grpc_error(cast("Any", channel).unary_unary("/clarion.v1.Nothing/AtAll")(b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_gateway_does_not_limit_grpc_bodies(channel: grpc.aio.Channel) -> None:
    large = trigger_pb2.TriggerCampaignRequest(
        campaign_id="44", body=httpbody_pb2.HttpBody(data=b"x" * 200_000)
    )
    assert (await trigger_pb2_grpc.TriggerServiceStub(channel).TriggerCampaign(large)).trigger_id


async def test_health_and_reflection_streams_do_not_time_out(
    impatient: ToyStack, impatient_channel: grpc.aio.Channel
) -> None:
    channel = impatient_channel
    health: Any = health_pb2_grpc.HealthStub(channel)
    watching = health.Watch(health_pb2.HealthCheckRequest(service="later"))
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    await grpc_error(call(channel, "sleep"))  # takes as long as a call may take
    await impatient.toy.health.set("later", health_pb2.HealthCheckResponse.SERVING)
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
    watching.cancel()
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(cast("grpc.Channel", channel))
    asking = reflection.ServerReflectionInfo()
    await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    services = (await asking.read()).list_services_response.service
    assert "clarion.v1.TriggerService" in [service.name for service in services]
    asking.cancel()


async def test_malformed_path_has_error_details(channel: grpc.aio.Channel) -> None:
    asking = cast("Any", channel).unary_unary("/clarion.v1.TriggerService/a%2fb")
    error = await grpc_error(asking(b""))
    assert (error.code(), rich_reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "HTTP_REFUSED")


async def test_incomplete_message_has_error_details(impatient: ToyStack) -> None:
    async with http2(impatient) as caller:
        kind = {":path": TRIGGER, "content-type": "application/grpc", "te": "trailers"}
        caller.machine.send_headers(1, headers(**kind))
        caller.machine.send_data(1, b"\0\0\0\0\x09")
        caller.send()
        received = await caller.until("ended")
    assert received.headers["grpc-status"] == str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])
    binary = base64.b64decode(received.headers["grpc-status-details-bin"])
    assert b"REQUEST_TOO_SLOW" in binary


@pytest.mark.parametrize("last_words", [b"", b"no HTTP/2 frame at all, whatever one makes of it"])
async def test_lost_server_is_reported_for_every_protocol(last_words: bytes) -> None:
    async with in_front_of(last_words) as options:
        error, answer = await both_ways(options)
    assert (error.code(), rich_reason(error)) == (grpc.StatusCode.UNAVAILABLE, "SERVER_UNAVAILABLE")
    assert ("retry-after", "1") in tuple(error.trailing_metadata())
    refused(answer, 503, "SERVER_UNAVAILABLE")


@contextlib.asynccontextmanager
async def in_front_of(last_words: bytes | None, **more: Any) -> AsyncIterator[GatewaySettings]:
    """Run a gateway whose only server breaks off, or never answers."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/server.sock"
        options = options_for(Path(folder), f"unix:{path}", **more)
        async with breaking_upstream.running(path, last_words), running(options, workdir=Path(folder)):
            await until_readyz_says(200, options)
            yield options


async def both_ways(options: GatewaySettings) -> tuple[grpc.aio.AioRpcError, httpx.Response]:
    """Return the gRPC error and the REST response to the same call."""
    target = f"127.0.0.1:{options.port}"
    async with grpc.aio.insecure_channel(target) as calling:
        error = await grpc_error(call(calling, "44"))
    async with http_client(f"http://{target}") as client:
        return error, await trigger(client)


async def status_of_raw_call(toy_stack: ToyStack, metadata: dict[str, str], campaign: str = "44") -> str:
    """Call with metadata that no gRPC library would send; return the gRPC status."""
    body = httpbody_pb2.HttpBody(data=b"{}")
    message = trigger_pb2.TriggerCampaignRequest(campaign_id=campaign, body=body).SerializeToString()
    kind = {":path": TRIGGER, "content-type": "application/grpc", "te": "trailers", **metadata}
    async with http2(toy_stack) as caller:
        caller.machine.send_headers(1, headers(**kind))
        caller.machine.send_data(1, struct.pack(">BI", 0, len(message)) + message, end_stream=True)
        caller.send()
        return (await caller.until("ended")).headers["grpc-status"]
