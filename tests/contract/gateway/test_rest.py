"""What REST callers get: transcoding, the order of refusals, the shape of errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.kit.cases import each_case
from tests.kit.gateway import JSON, KEY, ToyStack, hidden, refused, trigger
from tests.kit.toy_upstream import TRIGGER_ID


async def test_valid_trigger_is_204_with_id_and_location(
    client: httpx.AsyncClient,
) -> None:
    answer = await trigger(client)
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["x-trigger-id"] == TRIGGER_ID
    assert answer.headers["location"] == f"/api/client/triggers/{TRIGGER_ID}"
    assert set(answer.headers) == {"x-trigger-id", "location", "date", "server", "x-request-id"}
    assert answer.headers["server"] == "clarion"


async def test_body_and_metadata_arrive_unchanged(toy_stack: ToyStack, client: httpx.AsyncClient) -> None:
    body = b'{"event": {"order": 90071992547409931234, "x": 1.10, },}'
    answer = await trigger(
        client, "not-a-number", content=body, headers={**KEY, **JSON, "idempotency-key": "a-1"}
    )
    assert answer.status_code == 204
    assert toy_stack.toy.last.campaign_id == "not-a-number"
    assert toy_stack.toy.last.body.data == body
    assert toy_stack.toy.metadata["authorization"] == KEY["authorization"]
    assert toy_stack.toy.metadata["idempotency-key"] == "a-1"
    assert toy_stack.toy.metadata["x-request-id"] == answer.headers["x-request-id"]


@each_case(
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
async def test_server_errors_keep_their_details(
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


@each_case("content", [b"", b"{", b"x" * 70_000])
@each_case("kind", ["application/json", "text/plain"])
@each_case(
    ("credentials", "reason"),
    [
        ({}, "CREDENTIALS_MISSING"),
        ({"authorization": "Basic eDp5"}, "CREDENTIALS_INVALID"),
        ({"authorization": "Bearer"}, "CREDENTIALS_INVALID"),
        ({"authorization": "Bearer two words"}, "CREDENTIALS_INVALID"),
    ],
)
async def test_call_without_key_is_401(
    client: httpx.AsyncClient, content: bytes, kind: str, credentials: dict[str, str], reason: str
) -> None:
    answer = await trigger(client, content=content, headers={**credentials, "content-type": kind})
    refused(answer, 401, reason)
    assert answer.headers["www-authenticate"] == 'Bearer realm="clarion"'


@pytest.mark.parametrize("word", ["bearer", "BEARER", "Bearer "])
async def test_bearer_is_case_insensitive(client: httpx.AsyncClient, word: str) -> None:
    answer = await trigger(
        client, headers={**JSON, "authorization": KEY["authorization"].replace("Bearer", word)}
    )
    assert answer.status_code == 204


async def test_head_request_is_405_without_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/api/client/keys/1")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "DELETE", b"")


async def test_head_gets_the_headers_of_get(client: httpx.AsyncClient) -> None:
    path = "/api/client/campaigns?page_size=3"
    full, answer = await client.get(path, headers=KEY), await client.head(path, headers=KEY)
    assert (answer.status_code, answer.content) == (200, b"")
    own = {"date", "x-request-id"}
    assert {k: v for k, v in answer.headers.items() if k not in own} == {
        k: v for k, v in full.headers.items() if k not in own
    }
    assert int(answer.headers["content-length"]) == len(full.content)
    again = await client.get(path, headers=KEY)  # on the same connection
    assert again.json() == full.json()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("campaigns", {}, 401), ("campaigns?page_size=x", KEY, 422), ("deliveries/a", KEY, 501)],
)
async def test_head_of_a_refused_get_has_its_status(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], status: int
) -> None:
    answers = [await client.request(m, f"/api/client/{path}", headers=headers) for m in ("GET", "HEAD")]
    assert [one.status_code for one in answers] == [status, status]
    assert answers[1].content == b""
    assert not hidden(answers[1])


async def test_head_of_a_stream_is_405(client: httpx.AsyncClient) -> None:
    answer = await client.head("/api/client/triggers:watch", headers=KEY)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@each_case(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/jsonx"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json; version=1; Charset=latin-1; x=y"},
        {"content-type": "application/json, application/json"},
        {"content-type": "application/json version=1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "application/json", "content-encoding": "identity, gzip"},
        {},
    ],
)
async def test_other_content_type_is_415(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    refused(await trigger(client, headers={**KEY, **headers}), 415, "CONTENT_TYPE_UNSUPPORTED")


@each_case(
    "kind",
    [
        "Application/JSON",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json;CHARSET=Utf8 ; version=1",
        "application/json; charset=us-ascii",
        "application/json; version=1",
        "application/json;odata=verbose;streaming=true",
        'application/json; profile="https://example.com/a;b"',
        "application/json;",
        "application/json\t;\tcharset=utf-8",
    ],
)
async def test_json_content_type_may_have_parameters(client: httpx.AsyncClient, kind: str) -> None:
    assert (await trigger(client, headers={**KEY, "content-type": kind})).status_code == 204


@pytest.mark.parametrize("encoding", ["identity", "Identity", "IDENTITY", ""])
async def test_identity_is_no_compression(client: httpx.AsyncClient, encoding: str) -> None:
    answer = await trigger(client, headers={**KEY, **JSON, "content-encoding": encoding})
    assert answer.status_code == 204


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b"x" * 1000


async def test_body_size_limit_is_exact(client: httpx.AsyncClient) -> None:
    assert (await trigger(client, content=b"x" * 65536)).status_code == 204
    refused(await trigger(client, content=b"x" * 65537), 413, "BODY_TOO_LARGE")


async def test_large_chunked_body_is_413(client: httpx.AsyncClient) -> None:
    refused(await trigger(client, content=chunks(70_000)), 413, "BODY_TOO_LARGE")


async def test_slow_server_is_504(impatient_client: httpx.AsyncClient) -> None:
    """Whatever time limits the caller sends along."""
    for headers in ({}, {"x-envoy-upstream-rq-timeout-ms": "99999", "grpc-timeout": "99S"}):
        answer = await trigger(impatient_client, "sleep", headers={**KEY, **JSON, **headers})
        refused(answer, 504, "TIMED_OUT")


async def test_other_calls_are_transcoded(client: httpx.AsyncClient) -> None:
    revoked = await client.delete("/api/client/keys/a-b", headers=KEY)
    key = {"key_id": "a-b", "campaign_ids": [44, -45]}
    assert (revoked.status_code, revoked.json()) == (200, {"api_key": key})
    assert not hidden(revoked)
    listed = await client.get("/api/client/campaigns?page_size=10000", headers=KEY)
    assert len(listed.json()["campaigns"]) == 10000


async def test_responses_have_words_and_integers(client: httpx.AsyncClient) -> None:
    """As in webhooks, the client and the command line, but only in fields of these types."""
    answer = await client.get("/api/client/triggers/a", headers=KEY)
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.json()["delivery"] == {
        "campaign_id": 2**63 - 1,
        "channel": "text",
        "state": "dead",
        "external_id": '"state":"DELIVERY_STATE_DEAD"',
        "attempts": [{"outcome": "in_doubt", "provider": "CHANNEL_TEXT", "error": '"campaign_id":"44"'}],
    }


async def test_forged_headers_have_no_effect(toy_stack: ToyStack, client: httpx.AsyncClient) -> None:
    forged = {
        "x-trigger-id": "forged",
        "x-envoy-upstream-service-time": "1",
        "x-envoy-upstream-rq-timeout-ms": "99999",
        "x-envoy-original-path": "/elsewhere",
        "grpc-timeout": "9S",
        "a_b": "dropped",
    }
    answer = await trigger(client, headers={**KEY, **JSON, **forged})
    assert answer.headers["x-trigger-id"] == TRIGGER_ID
    assert "a_b" not in toy_stack.toy.metadata


@each_case(
    ("name", "value"),
    [
        ("grpc-timeout", "x"),
        ("grpc-timeout", "0S"),
        ("grpc-encoding", "foo"),
        ("grpc-tags-bin", "!"),
        ("custom-bin", "!"),
        ("5!", "a name that gRPC does not know"),
        ("a^|~b", ""),
    ],
)
async def test_grpc_headers_do_not_affect_rest_calls(
    client: httpx.AsyncClient, name: str, value: str
) -> None:
    assert (await trigger(client, headers={**KEY, **JSON, name: value})).status_code == 204
