"""Lists of deliveries: pages, tokens, and filters by time."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from server.store.pool import Pool
from tests.kit.documented_errors import check_rest, fields_of
from tests.kit.following import TRIGGERS, trigger
from tests.kit.stack import Stack


async def listed(http: httpx.AsyncClient, stack: Stack, **query: Any) -> httpx.Response:
    return await http.get(TRIGGERS, params=query, headers=stack.headers())


async def test_pages_cover_the_whole_list(http: httpx.AsyncClient, stack: Stack, user: str) -> None:
    made = [await trigger(http, stack, user) for _ in range(3)]
    first = (await listed(http, stack, external_id=user, page_size=2)).json()
    token = first["next_page_token"]
    second = (await listed(http, stack, external_id=user, page_size=1, page_token=token)).json()
    assert "next_page_token" not in second
    shown = [f"{TRIGGERS}/{one['trigger_id']}" for one in first["deliveries"] + second["deliveries"]]
    assert shown == made[::-1]


async def test_page_of_large_items_is_shortened(
    http: httpx.AsyncClient, stack: Stack, pool: Pool, user: str
) -> None:
    made = [await trigger(http, stack, user) for _ in range(3)]
    await pool.execute(
        "INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration,"
        " provider_message_id, error) SELECT id, number, 'sandbox', 'retry', now(), 0.1, '', repeat('x', 50)"
        " FROM unnest($1::uuid[]) AS id, generate_series(2, 3001) AS number",
        [location[-36:] for location in made],
    )
    shown, query = list[str](), {"external_id": user}
    while query.get("page_token") != "":
        page = (await listed(http, stack, **query)).json()
        assert len(page["deliveries"]) == 1
        shown += [f"{TRIGGERS}/{one['trigger_id']}" for one in page["deliveries"]]
        query["page_token"] = page.get("next_page_token", "")
    assert shown == made[::-1]


@pytest.mark.parametrize(
    "changed",
    [
        {"external_id": "another"},
        {"external_id": ""},
        {"campaign_id": "44"},
        {"state": "DELIVERY_STATE_PENDING"},
        {"accepted_since": "2026-01-01T00:00:00Z"},
    ],
)
async def test_page_token_of_another_query_is_rejected(
    http: httpx.AsyncClient, stack: Stack, user: str, changed: dict[str, str]
) -> None:
    for _ in range(2):
        await trigger(http, stack, user)
    token = (await listed(http, stack, external_id=user, page_size=1)).json()["next_page_token"]
    query = {"external_id": user, **changed, "page_token": token}
    refusal = check_rest(await listed(http, stack, **query))
    assert fields_of(refusal) == [("page_token", "INVALID_FORMAT")]
    assert "from another query" in refusal["message"]


@pytest.mark.parametrize("value", ["yesterday", "2026-11-23", "2026-11-23T00:00:00", "", "1764000000"])
@pytest.mark.parametrize("name", ["accepted_since", "accepted_before"])
async def test_invalid_timestamp_is_422(http: httpx.AsyncClient, stack: Stack, name: str, value: str) -> None:
    answer = await listed(http, stack, **{name: value})
    message = check_rest(answer)["message"]
    assert answer.status_code == 422
    assert name in message
    assert message.endswith(f'must be an RFC 3339 time such as 2026-12-24T18:00:00Z, found "{value}"')


async def test_plus_that_became_a_space_is_explained(http: httpx.AsyncClient, stack: Stack) -> None:
    answer = await listed(http, stack, accepted_since="2026-11-23T00:00:00 01:00")
    assert check_rest(answer)["message"].endswith('found "2026-11-23T00:00:00 01:00"; write + as %2B')


async def test_query_decodes_both_forms_of_a_space(http: httpx.AsyncClient, stack: Stack, user: str) -> None:
    await trigger(http, stack, f"{user} a+b")
    for spelt in (f"{user}+a%2Bb", f"{user}%20a%2bb"):
        answer = await http.get(f"{TRIGGERS}?external_id={spelt}", headers=stack.headers())
        assert len(answer.json()["deliveries"]) == 1


async def test_timestamps_may_have_any_offset(http: httpx.AsyncClient, stack: Stack, user: str) -> None:
    await trigger(http, stack, user)
    query = {"external_id": user, "accepted_since": "2020-01-01T00:00:00.5+14:00"}
    assert len((await listed(http, stack, **query)).json()["deliveries"]) == 1
