"""/healthz: Envoy answers. /readyz: a server can take calls."""

from __future__ import annotations

import tempfile
from pathlib import Path

import grpc
import httpx
from grpc_health.v1 import health_pb2

from gateway import running
from gateway.run.admin import start_draining
from tests.kit.cases import each_case
from tests.kit.gateway import (
    ToyStack,
    call,
    grpc_error,
    hidden,
    options_for,
    refused,
    rich_reason,
    running_toy_stack,
    trigger,
    until_readyz_says,
)
from tests.kit.http_client import http_client
from tests.kit.toy_upstream import READY_SERVICE

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@each_case("method", ["GET", "HEAD"])
@each_case("path", ["/healthz", "/readyz", "/readyz?verbose"])
async def test_gateway_with_a_ready_server_is_ready(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.content, hidden(answer)) == (200, b"", [])


@each_case("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@each_case("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
async def test_health_paths_are_read_only(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, HEAD"


async def test_gateway_without_a_server_is_live_but_not_ready() -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = options_for(Path(folder), f"unix:{folder}/missing.sock")
        async with running(options, workdir=Path(folder)):
            url = f"http://127.0.0.1:{options.port}"
            async with http_client(url) as client:
                answer = await trigger(client)
                refused(answer, 503, "SERVER_UNAVAILABLE")
                assert answer.headers["retry-after"] == "1"
                assert (await client.get("/healthz")).status_code == 200
                answer = await client.get("/readyz")
                refused(answer, 503, "NOT_READY")
                assert answer.headers["retry-after"] == "1"
                answer = await client.head("/readyz")
                assert (answer.status_code, answer.content, hidden(answer)) == (503, b"", [])
            async with grpc.aio.insecure_channel(f"127.0.0.1:{options.port}") as channel:
                error = await grpc_error(call(channel, "44"))
                assert (error.code(), rich_reason(error)) == (
                    grpc.StatusCode.UNAVAILABLE,
                    "SERVER_UNAVAILABLE",
                )
                assert ("retry-after", "1") in tuple(error.trailing_metadata())


async def test_server_that_is_not_ready_still_gets_calls(
    toy_stack: ToyStack, client: httpx.AsyncClient
) -> None:
    await toy_stack.toy.health.set(READY_SERVICE, NOT_SERVING)
    try:
        await until_readyz_says(503, toy_stack.options)
        assert (await trigger(client)).status_code == 204
    finally:
        await toy_stack.toy.health.set(READY_SERVICE, SERVING)
        await until_readyz_says(200, toy_stack.options)


async def test_server_that_is_not_serving_is_not_ready(toy_stack: ToyStack) -> None:
    await toy_stack.toy.health.set("", NOT_SERVING)
    try:
        await until_readyz_says(503, toy_stack.options)
    finally:
        await toy_stack.toy.health.set("", SERVING)
        await until_readyz_says(200, toy_stack.options)


async def test_draining_gateway_is_live_but_not_ready() -> None:
    async with (
        running_toy_stack() as toy_stack,
        http_client(f"http://{toy_stack.address}") as client,
    ):
        assert toy_stack.options.admin_path
        await start_draining(toy_stack.options.admin_path)
        refused(await client.get("/readyz"), 503, "NOT_READY")
        answer = await client.get("/healthz")
        assert (answer.status_code, hidden(answer)) == (200, [])
        answer = await trigger(client)
        assert (answer.status_code, hidden(answer)) == (204, [])
