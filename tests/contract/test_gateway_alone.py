"""The gateway's side of the contract: real Envoy in front of a toy server."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import h2.connection
import h2.events
import httpx
import pytest
from google.api import httpbody_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from gateway import Gateway, GatewayError, GatewayOptions, check, running, wait_ready
from tests.contract import toy_upstream
from tests.contract.toy_upstream import TRIGGER_ID, Toy

pytestmark = pytest.mark.timeout(30)

KEY = {"authorization": "Bearer sk_dbf68c87-e579-4dac-b083-77fed0294e67"}
JSON = {"content-type": "application/json"}
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


@dataclass(frozen=True)
class Stand:
    """A gateway with a healthy server behind it."""

    options: GatewayOptions
    gateway: Gateway
    toy: Toy

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.options.listen_port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def options_for(folder: Path, *upstreams: str, **more: Any) -> GatewayOptions:
    times = {"request_timeout": 1.0, "header_timeout": 1.0, "body_timeout": 1.0, "drain_grace": 0.0}
    return GatewayOptions(
        listen_port=free_port(),
        upstreams=upstreams,
        admin_socket=folder / "admin.sock",
        concurrency=1,
        **{**times, **more},
    )


async def until_healthz_says(status: int, options: GatewayOptions) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(10):
        url = f"http://127.0.0.1:{options.listen_port}/healthz"
        while (await client.get(url)).status_code != status:  # there is no event
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:  # short enough for a Unix socket
        yield Path(path)


@pytest.fixture(scope="module")
async def stand(folder: Path) -> AsyncIterator[Stand]:
    address = f"unix:{folder}/server.sock"
    options = options_for(folder, address)
    async with toy_upstream.running(address) as toy, running(options, workdir=folder) as gateway:
        await until_healthz_says(200, options)
        yield Stand(options, gateway, toy)


@pytest.fixture(scope="module", params=["http1", "http2"])
async def client(stand: Stand, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    second = request.param == "http2"
    url = f"http://{stand.address}"
    async with httpx.AsyncClient(base_url=url, http1=not second, http2=second, timeout=5) as made:
        yield made


@pytest.fixture(scope="module")
async def channel(stand: Stand) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(stand.address) as made:
        yield made


async def trigger(client: httpx.AsyncClient, campaign: str = "44", **more: Any) -> httpx.Response:
    sent = {"content": b'{"user": {},}', "headers": {**KEY, **JSON}, **more}
    return await client.post(f"/api/client/campaigns/{campaign}/trigger", **sent)


def refused(answer: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    """Check the shape of an error and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert not hidden(answer)
    body: dict[str, Any] = answer.json()
    infos = [detail for detail in body["details"] if detail["@type"] == ERROR_INFO]
    assert [(info["reason"], info["domain"]) for info in infos] == [(reason, "clarion")]
    assert body["message"]
    return body


def hidden(answer: httpx.Response) -> list[str]:
    """Return the headers that nobody should see."""
    return [name for name in answer.headers if name.startswith(("grpc-", "x-envoy-"))]


async def test_a_good_trigger_is_204_with_its_id_and_nothing_else(client: httpx.AsyncClient) -> None:
    answer = await trigger(client)
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["x-trigger-id"] == TRIGGER_ID
    assert set(answer.headers) == {"x-trigger-id", "date", "server", "x-request-id"}
    assert answer.headers["server"] == "clarion"


async def raw_http2(stand: Stand, campaign: str, content: bytes) -> dict[str, str]:
    """Send a trigger in HTTP/2; return all headers and trailers of the answer."""
    machine = h2.connection.H2Connection()
    machine.initiate_connection()
    path = f"/api/client/campaigns/{campaign}/trigger"
    pseudo = {":method": "POST", ":scheme": "http", ":authority": "a", ":path": path}
    machine.send_headers(1, list({**pseudo, **KEY, **JSON}.items()))
    machine.send_data(1, content, end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.options.listen_port)
    seen: dict[str, str] = {}
    try:
        while True:
            writer.write(machine.data_to_send())
            for event in machine.receive_data(await reader.read(65536)):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    seen |= {name.decode(): value.decode() for name, value in event.headers or []}
                if isinstance(event, h2.events.StreamEnded):
                    return seen
    finally:
        writer.close()


async def test_http2_callers_see_no_trailers(stand: Stand) -> None:
    answer = await raw_http2(stand, "44", b"{}")
    assert answer[":status"] == "204"
    assert not [name for name in answer if name.startswith("grpc-")]


async def test_the_body_and_the_metadata_arrive_as_sent(stand: Stand, client: httpx.AsyncClient) -> None:
    body = b'{"event": {"order": 90071992547409931234, "x": 1.10, },}'
    answer = await trigger(
        client, "not-a-number", content=body, headers={**KEY, **JSON, "idempotency-key": "a-1"}
    )
    assert answer.status_code == 204
    assert stand.toy.last.campaign_id == "not-a-number"
    assert stand.toy.last.body.data == body
    assert stand.toy.metadata["authorization"] == KEY["authorization"]
    assert stand.toy.metadata["idempotency-key"] == "a-1"
    assert stand.toy.metadata["x-request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("campaign", "status", "reason"),
    [
        ("bad", 422, "INVALID_REQUEST"),
        ("paused", 422, "CAMPAIGN_PAUSED"),
        ("unknown-key", 401, "CREDENTIALS_INVALID"),
        ("forbidden", 403, "CAMPAIGN_FORBIDDEN"),
        ("missing", 404, "CAMPAIGN_NOT_FOUND"),
        ("limited", 429, "RATE_LIMITED"),
        ("fault", 500, "INTERNAL_FAULT"),
        ("store-down", 503, "STORE_UNAVAILABLE"),
        ("too-slow", 504, "TIMED_OUT"),
    ],
)
async def test_a_refusal_of_the_server_keeps_its_details(
    client: httpx.AsyncClient, campaign: str, status: int, reason: str
) -> None:
    answer = await trigger(client, campaign)
    body = refused(answer, status, reason)
    assert body["message"] == f"refused: {campaign}"
    assert answer.headers.get("retry-after") == ("7" if status in {429, 503} else None)
    challenge = 'Bearer realm="clarion"' if status == 401 else None
    assert answer.headers.get("www-authenticate") == challenge


async def test_violations_are_listed(client: httpx.AsyncClient) -> None:
    details = (await trigger(client, "bad")).json()["details"]
    violation = {"field": "user.email", "description": "is required", "reason": "REQUIRED"}
    assert details[1]["field_violations"] == [violation]


@pytest.mark.parametrize("content", [b"", b"{", b"x" * 70_000])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        ({}, "CREDENTIALS_MISSING"),
        ({"authorization": "Basic eDp5"}, "CREDENTIALS_INVALID"),
        ({"authorization": "Bearer"}, "CREDENTIALS_INVALID"),
        ({"authorization": "Bearer two words"}, "CREDENTIALS_INVALID"),
    ],
)
async def test_without_a_key_it_is_401_whatever_the_body_is(
    client: httpx.AsyncClient, content: bytes, kind: str, credentials: dict[str, str], reason: str
) -> None:
    answer = await trigger(client, content=content, headers={**credentials, "content-type": kind})
    refused(answer, 401, reason)
    assert answer.headers["www-authenticate"] == 'Bearer realm="clarion"'


@pytest.mark.parametrize("word", ["bearer", "BEARER", "Bearer "])
async def test_bearer_may_be_written_in_any_case(client: httpx.AsyncClient, word: str) -> None:
    answer = await trigger(
        client, headers={**JSON, "authorization": KEY["authorization"].replace("Bearer", word)}
    )
    assert answer.status_code == 204


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/api/client/campaigns/44/trigger/", "/clarion.v1.TriggerService/TriggerCampaign"]
)
async def test_an_unknown_path_is_404(client: httpx.AsyncClient, path: str) -> None:
    refused(await client.post(path, headers=JSON), 404, "PATH_NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_wrong_method_is_405_and_told_the_right_one(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/api/client/campaigns/44/trigger")
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "POST"


async def test_a_head_request_is_405_without_a_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/api/client/keys/1")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "DELETE", b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/jsonx"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ],
)
async def test_another_content_type_is_415(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    refused(await trigger(client, headers={**KEY, **headers}), 415, "CONTENT_TYPE_UNSUPPORTED")


@pytest.mark.parametrize(
    "kind", ["Application/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"']
)
async def test_json_may_name_its_charset(client: httpx.AsyncClient, kind: str) -> None:
    assert (await trigger(client, headers={**KEY, "content-type": kind})).status_code == 204


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b"x" * 1000


async def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(client: httpx.AsyncClient) -> None:
    assert (await trigger(client, content=b"x" * 65536)).status_code == 204
    refused(await trigger(client, content=b"x" * 65537), 413, "BODY_TOO_LARGE")


async def test_a_chunked_body_above_the_limit_is_413(client: httpx.AsyncClient) -> None:
    refused(await trigger(client, content=chunks(70_000)), 413, "BODY_TOO_LARGE")


async def test_a_server_too_slow_is_504(client: httpx.AsyncClient) -> None:
    refused(await trigger(client, "sleep"), 504, "TIMED_OUT")


async def test_other_calls_are_transcoded_by_their_types(client: httpx.AsyncClient) -> None:
    revoked = await client.delete("/api/client/keys/a-b", headers=KEY)
    assert (revoked.status_code, revoked.json()) == (200, {"api_key": {"key_id": "a-b"}})
    assert not hidden(revoked)
    listed = await client.get("/api/client/campaigns?page_size=10000", headers=KEY)
    assert len(listed.json()["campaigns"]) == 10000


@pytest.mark.parametrize("query", ["page_size=many", "nope=1", 'nope="'])
async def test_a_query_that_does_not_fit_is_422(client: httpx.AsyncClient, query: str) -> None:
    body = refused(await client.get(f"/api/client/campaigns?{query}", headers=KEY), 422, "INVALID_REQUEST")
    assert body["details"][1]["field_violations"][0]["field"] == "query"


@pytest.mark.parametrize("query", ["campaign_id=55", "campaignId=55", "%63ampaign_id=55", "x=1"])
async def test_a_query_cannot_change_what_the_path_says(
    stand: Stand, client: httpx.AsyncClient, query: str
) -> None:
    before = stand.toy.calls
    refused(await trigger(client, f"44/trigger?{query}#"), 422, "INVALID_REQUEST")
    assert stand.toy.calls == before


async def test_forged_headers_do_no_harm(stand: Stand, client: httpx.AsyncClient) -> None:
    forged = {
        "x-trigger-id": "forged",
        "x-envoy-upstream-service-time": "1",
        "x-envoy-upstream-rq-timeout-ms": "99999",
        "x-envoy-original-path": "/elsewhere",
        "x-request-id": "forged",
        "grpc-timeout": "9S",
        "a_b": "dropped",
    }
    answer = await trigger(client, headers={**KEY, **JSON, **forged})
    assert answer.headers["x-trigger-id"] == TRIGGER_ID
    assert answer.headers["x-request-id"] != "forged"
    assert "a_b" not in stand.toy.metadata
    refused(await trigger(client, "sleep", headers={**KEY, **JSON, **forged}), 504, "TIMED_OUT")


async def say(stand: Stand, words: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; return the status and the JSON body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.options.listen_port)
    try:
        writer.write(words)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        answer = httpx.Response(int(head.split()[1]), content=await reader.readexactly(length))
    finally:
        writer.close()
    return answer.status_code, answer.json()


POST = (
    b"POST /api/client/campaigns/44/trigger HTTP/1.1\r\nhost: a\r\n"
    b"authorization: Bearer sk_dbf68c87-e579-4dac-b083-77fed0294e67\r\n"
)


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET /api/%2f HTTP/1.1\r\nhost: a\r\n\r\n", 400, "HTTP_REFUSED"),
        (POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET / HTTP/1.0\r\nhost: a\r\n\r\n", 426, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"v" * 40_000 + b"\r\n\r\n", 431, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: v\r\n" * 101 + b"\r\n", 431, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nslow", 408, "HTTP_REFUSED"),
        (POST + b"content-type: application/json\r\ncontent-length: 9\r\n\r\n{", 408, "HTTP_REFUSED"),
        (
            b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            403,
            "HTTP_REFUSED",
        ),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 404, "PATH_NOT_FOUND"),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 404, "PATH_NOT_FOUND"),
    ],
)
async def test_broken_http_is_refused_in_the_same_shape(
    stand: Stand, words: bytes, status: int, reason: str
) -> None:
    answered, body = await say(stand, words)
    assert (answered, body["details"][0]["reason"]) == (status, reason)


@pytest.mark.parametrize(
    "framing", [b"content-length: 10000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n989680\r\n"]
)
async def test_ten_megabytes_are_413_and_the_server_sees_none_of_them(stand: Stand, framing: bytes) -> None:
    before = stand.toy.calls
    words = POST + b"content-type: application/json\r\n" + framing + b"x" * 10_000_000
    status, body = await say(stand, words)
    assert (status, body["details"][0]["reason"]) == (413, "BODY_TOO_LARGE")
    assert stand.toy.calls == before


def call(channel: grpc.aio.Channel, campaign: str, **more: Any) -> Any:
    body = httpbody_pb2.HttpBody(data=b"{}")
    request = trigger_pb2.TriggerCampaignRequest(campaign_id=campaign, body=body)
    return trigger_pb2_grpc.TriggerServiceStub(channel).TriggerCampaign(request, **more)


async def grpc_error(calling: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calling
    return caught.value


async def test_native_grpc_passes_untouched(channel: grpc.aio.Channel) -> None:
    calling = call(channel, "44", metadata=(("x-envoy-original-path", "/forged"),))
    assert (await calling).trigger_id == TRIGGER_ID
    seen = [name for name, _ in (*await calling.initial_metadata(), *await calling.trailing_metadata())]
    assert not [name for name in seen if name.startswith("x-envoy-")]


async def test_native_grpc_errors_keep_their_rich_details(channel: grpc.aio.Channel) -> None:
    error = await grpc_error(call(channel, "bad"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(cast("grpc.Call", error))
    assert status is not None
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert info.reason == "INVALID_REQUEST"
    assert status.details[1].Unpack(violations)
    assert violations.field_violations[0].field == "user.email"


async def test_native_grpc_callers_get_retry_after_too(channel: grpc.aio.Channel) -> None:
    error = await grpc_error(call(channel, "limited"))
    assert ("retry-after", "7") in tuple(error.trailing_metadata())


@pytest.mark.parametrize("seconds", [None, 0.2, 9])
async def test_a_unary_grpc_call_ends_in_time(channel: grpc.aio.Channel, seconds: float | None) -> None:
    error = await grpc_error(call(channel, "sleep", timeout=seconds))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "{" not in str(error.details())


async def test_an_unknown_grpc_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    error = await grpc_error(cast("Any", channel).unary_unary("/clarion.v1.Nothing/AtAll")(b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_grpc_bodies_are_limited_by_the_server_alone(channel: grpc.aio.Channel) -> None:
    large = trigger_pb2.TriggerCampaignRequest(
        campaign_id="44", body=httpbody_pb2.HttpBody(data=b"x" * 200_000)
    )
    assert (await trigger_pb2_grpc.TriggerServiceStub(channel).TriggerCampaign(large)).trigger_id


async def test_health_and_reflection_stream_past_every_time_limit(
    stand: Stand, channel: grpc.aio.Channel
) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    assert (
        await health.Check(health_pb2.HealthCheckRequest())
    ).status == health_pb2.HealthCheckResponse.SERVING
    watching = health.Watch(health_pb2.HealthCheckRequest(service="later"))
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    await grpc_error(call(channel, "sleep"))  # takes as long as a call may take
    await stand.toy.health.set("later", health_pb2.HealthCheckResponse.SERVING)
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
    watching.cancel()
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(cast("grpc.Channel", channel))
    asking = reflection.ServerReflectionInfo()
    await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    services = (await asking.read()).list_services_response.service
    assert "clarion.v1.TriggerService" in [service.name for service in services]
    asking.cancel()


async def test_without_a_server_callers_are_told_to_come_back(stand: Stand) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = options_for(Path(folder), f"unix:{folder}/nobody.sock")
        async with running(options, workdir=Path(folder)):
            url = f"http://127.0.0.1:{options.listen_port}"
            async with httpx.AsyncClient(base_url=url) as client:
                answer = await trigger(client)
                refused(answer, 503, "SERVER_UNAVAILABLE")
                assert answer.headers["retry-after"] == "1"
                assert (await client.get("/healthz")).status_code == 503
            async with grpc.aio.insecure_channel(f"127.0.0.1:{options.listen_port}") as channel:
                error = await grpc_error(call(channel, "44"))
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert "{" not in str(error.details())


async def test_healthz_follows_the_server(stand: Stand, client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz")
    assert (answer.status_code, hidden(answer)) == (200, [])
    await stand.toy.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    try:
        await until_healthz_says(503, stand.options)
    finally:
        await stand.toy.health.set("", health_pb2.HealthCheckResponse.SERVING)
        await until_healthz_says(200, stand.options)


async def test_stopping_lets_calls_in_flight_end(stand: Stand) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = options_for(Path(folder), *stand.options.upstreams)
        async with running(options, workdir=Path(folder)) as gateway:
            await until_healthz_says(200, options)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{options.listen_port}") as client:
                before = stand.toy.calls
                flying = asyncio.create_task(trigger(client, "nap"))
                async with asyncio.timeout(5):
                    while stand.toy.calls == before:  # there is no event
                        await asyncio.sleep(0.01)
                assert await gateway.stop() == 0
                assert (await flying).status_code == 204


async def test_sigterm_ends_the_runner_and_its_envoy(stand: Stand) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = options_for(Path(folder), *stand.options.upstreams, drain_timeout=2.0)
        code = (
            "import asyncio; from pathlib import Path; from gateway import GatewayOptions, run; import sys; "
        )
        code += f"sys.exit(asyncio.run(run({options!r}, workdir=Path({folder!r}))))"
        code = code.replace("PosixPath(", "Path(")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        try:
            await wait_ready(options)
            await until_healthz_says(200, options)
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 10) == 0
        finally:
            if process.returncode is None:
                process.kill()
        with pytest.raises(GatewayError, match=r"not ready within 0\.1 s"):
            await wait_ready(options, 0.1)


async def test_a_gateway_without_an_admin_socket_runs_too(stand: Stand, tmp_path: Path) -> None:
    options = GatewayOptions(listen_port=free_port(), upstreams=stand.options.upstreams)
    async with running(options, workdir=tmp_path) as gateway:
        assert gateway.returncode is None
    assert gateway.returncode == 0


async def test_a_taken_port_is_said_in_one_line(stand: Stand, tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"cannot listen on 127.0.0.1:\d+: Address already in use$"):
        async with running(stand.options, workdir=tmp_path):
            pytest.fail("two gateways share a port")


async def test_envoy_itself_finds_the_configuration_good(tmp_path: Path) -> None:
    upstreams = ("server.internal:50051", "[::1]:50051")
    options = GatewayOptions(upstreams=upstreams, admin_socket=tmp_path / "a", access_log=True)
    await asyncio.to_thread(check, options)


async def test_what_envoy_refuses_is_told_in_its_words() -> None:
    broken = GatewayOptions(upstreams=("127.0.0.1:1",), listen_host="no address")
    with pytest.raises(GatewayError, match="malformed IP address"):
        await asyncio.to_thread(check, broken)


async def test_configuration_and_admin_socket_are_private(stand: Stand, folder: Path) -> None:
    for name in ("envoy.json", "admin.sock"):
        mode = stat.S_IMODE(os.stat(folder / name).st_mode)  # noqa: PTH116
        assert mode == 0o600, name
