"""Paths and queries of REST calls: transcoded, checked, and not to be forged."""

from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest

from tests.kit.gateway import JSON, KEY, ToyStack, refused, trigger


@pytest.mark.parametrize(
    "path", ["/x", "/nope", "/api/client/campaigns/44/trigger/", "/clarion.v1.TriggerService/TriggerCampaign"]
)
async def test_unknown_path_is_404(client: httpx.AsyncClient, path: str) -> None:
    refused(await client.post(path, headers=JSON), 404, "PATH_NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_wrong_method_is_405_with_allow(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/api/client/campaigns/44/trigger")
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path", ["triggers:batch", "triggers%3Abatch", "triggers%3abatch", "trigger%73%3Abatch"]
)
async def test_colon_in_path_may_be_encoded(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(f"/api/client/{path}", content=b'{"a": 1}', headers={**KEY, **JSON})
    assert (answer.status_code, answer.content) == (200, b'{"a": 1}')


async def test_encoded_colon_has_the_same_refusals(client: httpx.AsyncClient) -> None:
    path, headers = "/api/client/triggers%3Abatch", {**KEY, **JSON}
    refused(await client.post(path, headers=JSON), 401, "CREDENTIALS_MISSING")
    refused(await client.get(path, headers=KEY), 405, "METHOD_NOT_ALLOWED")
    refused(await client.post(path + "?a=b", headers=headers), 422, "INVALID_REQUEST")
    large = await client.post(path, content=b"x" * 500_000, headers=headers)
    assert (large.status_code, len(large.content)) == (200, 500_000)  # the limit of batches


@pytest.mark.parametrize("state", ["dead", "DELIVERY_STATE_DEAD"])
async def test_queries_take_both_forms(client: httpx.AsyncClient, state: str) -> None:
    path = f"/api/client/triggers?external_id=state=pending&state={state}&page_size=1"
    answer = await client.get(path, headers=KEY)
    assert answer.json() == {"deliveries": [{"external_id": "state=pending", "state": "dead"}]}


async def test_unknown_state_in_a_query_is_422(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/client/triggers?state=gone", headers=KEY)
    [violation] = refused(answer, 422, "INVALID_REQUEST")["details"][1]["field_violations"]
    assert violation["field"] == "state"
    words = "pending, sending, retrying, delivered, dead, suppressed, cancelled"
    assert violation["description"] == f'must be one of {words}, found "gone"'


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page_size=many", "page_size"),
        ("page_size=1&page_size=2", "page_size"),
        ("nope=1", "nope"),
        ('nope="', "nope"),
        ("http_body=x", "http_body"),
        ("page_size=%ff", "page_size"),
        ("%ff=1", "query"),
        pytest.param("x" * 9000, "x" * 77 + "…", id="long"),
    ],
)
async def test_invalid_query_is_422(client: httpx.AsyncClient, query: str, field: str) -> None:
    body = refused(await client.get(f"/api/client/campaigns?{query}", headers=KEY), 422, "INVALID_REQUEST")
    assert [one["field"] for one in body["details"][1]["field_violations"]] == [field]


@pytest.mark.parametrize("query", ["?", "?&", ""])
async def test_empty_query_is_no_query(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/api/client/campaigns{query}", headers=KEY)).json() == {}


@pytest.mark.parametrize("value", ["%ff", "a%C3", "%c0%80", "%ed%a0%80", "%f4%90%80%80", "%E2%82"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "triggers/{}"), ("DELETE", "keys/{}"), ("POST", "campaigns/{}/trigger")],
)
async def test_path_must_be_utf_8(client: httpx.AsyncClient, method: str, path: str, value: str) -> None:
    url = f"/api/client/{path.format(value)}"
    answer = await client.request(method, url, headers={**KEY, **JSON})
    [violation] = refused(answer, 422, "INVALID_REQUEST")["details"][1]["field_violations"]
    assert (violation["field"], violation["reason"]) == ("path", "INVALID_FORMAT")


@pytest.mark.parametrize("value", ["é", "€", "𝄞", "%24", "a%20b", "%3A"])
async def test_path_may_have_any_character(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.delete(f"/api/client/keys/{value}", headers=KEY)
    assert answer.json()["api_key"]["key_id"] == unquote(value)


async def test_gateway_alone_sets_the_query(client: httpx.AsyncClient) -> None:
    forged = {**KEY, "x-clarion-query": "page_size=3"}
    assert (await client.get("/api/client/campaigns", headers=forged)).json() == {}


@pytest.mark.parametrize("query", ["campaign_id=55", "campaignId=55", "%63ampaign_id=55", "x=1"])
async def test_query_cannot_override_the_path(
    toy_stack: ToyStack, client: httpx.AsyncClient, query: str
) -> None:
    before = toy_stack.toy.calls
    refused(await trigger(client, f"44/trigger?{query}#"), 422, "INVALID_REQUEST")
    assert toy_stack.toy.calls == before
