"""What lies beyond single bad fields: credentials, paths, sizes, floods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from clarion.v1 import delivery_pb2, delivery_pb2_grpc, trigger_pb2_grpc
from server.domain.key import Scope, new_secret
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.contract.conftest import Keys
from tests.kit.cases import each_case
from tests.kit.documented_errors import check_call, reason_of
from tests.kit.edges import TRIGGER, email_request, reason, refused, until_status
from tests.kit.http_client import http_client
from tests.kit.stack import EXAMPLE, Stack
from tests.kit.until import until

JSON = {"content-type": "application/json"}


MALFORMED = [
    "Bearer",
    "Bearer nonsense",
    "Basic c2tfOng=",
    "Bearer sk_1 sk_2",
    "sk_dbf68c87-e579-4dac-b083-77fed0294e67",
]


@each_case("header", [None, *MALFORMED])
@each_case("content", [json.dumps(EXAMPLE), "not json", "x" * 70_000])
async def test_call_without_valid_key_is_401(
    header: str | None, content: str, http: httpx.AsyncClient
) -> None:
    headers = {**JSON, **({"authorization": header} if header else {})}
    answer = await http.post(TRIGGER, content=content, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert reason(answer) == ("CREDENTIALS_INVALID" if header else "CREDENTIALS_MISSING")


@pytest.mark.parametrize("kind", ["expired", "revoked", "unknown"])
async def test_invalid_key_gets_www_authenticate(kind: str, http: httpx.AsyncClient, secrets: Keys) -> None:
    headers = {**JSON, "authorization": f"Bearer {getattr(secrets, kind)}"}
    answer = await http.post(TRIGGER, json=EXAMPLE, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert reason(answer) == "CREDENTIALS_INVALID"
    assert getattr(secrets, kind) not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_bearer_is_case_insensitive(scheme: str, http: httpx.AsyncClient, secrets: Keys) -> None:
    headers = {**JSON, "authorization": f"{scheme} {secrets.good}"}
    assert (await http.post(TRIGGER, json=EXAMPLE, headers=headers)).status_code == 204


@each_case("way", ["gateway", "server"])
@each_case("header", [None, *MALFORMED])
async def test_grpc_call_without_valid_key_is_unauthenticated(
    way: str, header: str | None, channels: dict[str, grpc.aio.Channel]
) -> None:
    metadata = (("authorization", header),) if header else ()
    stub = trigger_pb2_grpc.TriggerServiceStub(channels[way])
    error = await refused(stub.TriggerEmail(email_request(), metadata=metadata, timeout=60))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    expected = "CREDENTIALS_INVALID" if header else "CREDENTIALS_MISSING"
    assert reason_of(check_call(error)) == expected


@pytest.mark.parametrize(
    "path", ["/x", "/api/client", "/api/client/campaigns/44/triggers", "/clarion.v1.X/Y"]
)
async def test_unknown_path_is_404(path: str, stack: Stack, http: httpx.AsyncClient) -> None:
    answer = await http.post(path, json=EXAMPLE, headers=stack.headers())
    assert answer.status_code == 404
    assert reason(answer) == "PATH_NOT_FOUND"


@pytest.mark.parametrize("way", ["gateway", "server"])
async def test_unknown_grpc_method_is_unimplemented(way: str, channels: dict[str, grpc.aio.Channel]) -> None:
    for path in ("/clarion.v1.TriggerService/Nothing", "/clarion.v1.Nothing/TriggerEmail"):
        method: Any = channels[way].unary_unary(path)
        error = await refused(method(b"", timeout=60))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert reason_of(check_call(error)) == "METHOD_UNKNOWN"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_wrong_method_is_405_with_allow(method: str, stack: Stack, http: httpx.AsyncClient) -> None:
    answer = await http.request(method, TRIGGER, headers=stack.headers())
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert reason(answer) == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded"])
async def test_other_content_type_is_415(kind: str, stack: Stack, http: httpx.AsyncClient) -> None:
    headers = {**stack.headers(), "content-type": kind}
    answer = await http.post(TRIGGER, content=json.dumps(EXAMPLE), headers=headers)
    assert answer.status_code == 415
    assert reason(answer) == "CONTENT_TYPE_UNSUPPORTED"


async def test_body_of_70_kb_is_413(stack: Stack, http: httpx.AsyncClient) -> None:
    # 10 MB: gateway/test_broken_http.py, by a client that reads while it still writes.
    body = json.dumps({**EXAMPLE, "event": {"a": "x" * 70_000}})
    answer = await http.post(TRIGGER, content=body, headers=stack.headers())
    assert answer.status_code == 413
    assert reason(answer) == "BODY_TOO_LARGE"


async def test_large_body_without_length_is_413(stack: Stack, http: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 7_000

    answer = await http.post(TRIGGER, content=chunks(), headers=stack.headers())
    assert answer.status_code == 413
    assert reason(answer) == "BODY_TOO_LARGE"


@pytest.mark.parametrize("way", ["gateway", "server"])
async def test_large_grpc_message_is_rejected(
    way: str, stack: Stack, channels: dict[str, grpc.aio.Channel]
) -> None:
    request = email_request()
    request.event = json.dumps({"a": "x" * 300_000})
    stub = trigger_pb2_grpc.TriggerServiceStub(channels[way])
    error = await refused(stub.TriggerEmail(request, metadata=stack.metadata(), timeout=60))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(check_call(error)) == "BODY_TOO_LARGE"


@pytest.mark.parametrize("way", ["gateway", "server"])
async def test_malformed_protobuf_is_a_client_error(
    way: str, stack: Stack, channels: dict[str, grpc.aio.Channel]
) -> None:
    method: Any = channels[way].unary_unary("/clarion.v1.TriggerService/TriggerEmail")
    error = await refused(method(b"\xff\xff\xff", metadata=stack.metadata(), timeout=60))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(check_call(error)) == "INVALID_REQUEST"


async def test_reads_need_the_scope_and_the_project(
    http: httpx.AsyncClient, channels: dict[str, grpc.aio.Channel], secrets: Keys
) -> None:
    accepted = await http.post(
        TRIGGER, json=EXAMPLE, headers={**JSON, "authorization": f"Bearer {secrets.good}"}
    )
    path = f"/api/client/deliveries/{accepted.headers['x-trigger-id']}"

    async def get(secret: str) -> httpx.Response:
        return await http.get(path, headers={"authorization": f"Bearer {secret}"})

    assert (await get(secrets.reads)).json()["delivery"]["campaign_id"] == 44
    forbidden = await get(secrets.held_to_45)
    assert (forbidden.status_code, reason(forbidden)) == (403, "SCOPE_MISSING")
    unknown = await http.get(
        "/api/client/deliveries/00000000-0000-7000-8000-000000000000",
        headers={"authorization": f"Bearer {secrets.reads}"},
    )
    assert (unknown.status_code, reason(unknown)) == (404, "DELIVERY_NOT_FOUND")
    stub = delivery_pb2_grpc.DeliveryServiceStub(channels["gateway"])
    bad = delivery_pb2.GetDeliveryRequest(trigger_id="nonsense")
    error = await refused(stub.GetDelivery(bad, metadata=(("authorization", f"Bearer {secrets.reads}"),)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(check_call(error)) == "INVALID_REQUEST"


async def test_revoked_key_is_rejected(http: httpx.AsyncClient, pool: Pool) -> None:
    project = await projects.ensure_project(pool, "demo")
    secret = new_secret()
    key = await keys.create_key(pool, secret, project_id=project, name="short", scopes={Scope.TRIGGER})
    headers = {**JSON, "authorization": f"Bearer {secret}"}
    await until_status(http, headers, 204)
    await keys.revoke_key(pool, key.id)
    await until_status(http, headers, 401)


async def test_integers_of_19_digits_stay_exact(stack: Stack, http: httpx.AsyncClient) -> None:
    body = (
        '{"user": {"external_id": "x", "email": "a@b.example"}, "event": {"order_id": 9007199254740993123}}'
    )
    answer = await http.post(TRIGGER, content=body, headers=stack.headers())
    path = await stack.delivered("email", answer.headers["x-trigger-id"])
    assert "9007199254740993123" in path.read_text()


async def test_concurrent_bad_requests_get_clear_errors(stack: Stack, http: httpx.AsyncClient) -> None:
    bodies = [
        b"{",
        b'{"user": 1}',
        b'{"user": {"external_id": "\\ud800"}}',
        b"[" * 5000,
        b'{"user": {}, "x": 1}',
    ]
    limits = httpx.Limits(max_connections=100)
    async with http_client(stack.url, limits=limits) as many:
        posts = (many.post(TRIGGER, content=bodies[n % 5], headers=stack.headers()) for n in range(200))
        answers = await asyncio.gather(*posts)
    assert {(answer.status_code, reason(answer)) for answer in answers} == {(422, "INVALID_REQUEST")}
    assert (await http.post(TRIGGER, json=EXAMPLE, headers=stack.headers())).status_code == 204


async def test_logs_contain_no_keys_or_addresses(
    stack: Stack, http: httpx.AsyncClient, secrets: Keys
) -> None:
    marked = {"external_id": "x", "email": "very.secret.person@nowhere.example"}
    answer = await http.post(TRIGGER, json={"user": marked}, headers=stack.headers())
    assert answer.status_code == 204
    await http.post(TRIGGER, json={"user": {**marked, "x": 1}}, headers=stack.headers())

    def logs() -> str:
        return "".join(path.read_text(errors="replace") for path in (stack.data / "log").iterdir())

    await until(lambda: answer.headers["x-trigger-id"] in logs(), "the trigger is in a log")
    for hidden in ("very.secret.person", secrets.good, secrets.revoked, secrets.reads):
        assert hidden not in logs()
