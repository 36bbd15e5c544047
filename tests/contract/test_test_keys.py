"""Test keys end to end: outcomes by recipient, over every way in, and nothing that leaves."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Any

import httpx
import pytest

from clarion_client import AsyncClient, Client
from server.domain.campaign import Campaign, Channel, SendWindow, Template
from server.domain.delivery import DeliveryState
from server.domain.key import Scope, new_secret
from server.store.admin import campaigns, keys, projects
from server.store.pool import Pool
from tests.kit.admin import reason_of
from tests.kit.stack import Stack
from tests.kit.until import until

TRIGGER = "/api/client/campaigns/{}/trigger"
ENDED = {"delivered", "dead", "suppressed", "cancelled"}


@pytest.fixture(scope="module")
async def test_key(stack: Stack, pool: Pool) -> str:
    return await a_key(stack, pool, new_secret(test=True))


@pytest.fixture(scope="module")
async def live_key(stack: Stack, pool: Pool) -> str:
    return await a_key(stack, pool, new_secret())


async def a_key(stack: Stack, pool: Pool, secret: str) -> str:
    project = await projects.ensure_project(pool, "demo")
    scopes = {Scope.TRIGGER, Scope.DELIVERIES_READ}
    await keys.create_key(pool, secret, project_id=project, name="tests", scopes=scopes)
    await stack.until_in_force()
    return secret


async def trigger(
    http: httpx.AsyncClient, key: str, user: dict[str, str], campaign: int = 44, **more: Any
) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
    body = {"user": {"external_id": "tester", **user}, "event": {"order": "7"}, **more}
    return await http.post(TRIGGER.format(campaign), json=body, headers=headers)


def id_of(answer: httpx.Response) -> str:
    assert answer.status_code == 204, answer.text
    return str(answer.headers["location"]).rpartition("/")[2]


async def ended(http: httpx.AsyncClient, key: str, trigger_id: str) -> dict[str, Any]:
    """Return a delivery once it has ended."""
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        answer = await http.get(
            f"/api/client/triggers/{trigger_id}", headers={"authorization": f"Bearer {key}"}
        )
        found.update(answer.json()["delivery"])
        return found["state"] in ENDED

    await until(has_ended, lambda: f"the test ended: {found}")
    return found


def left(stack: Stack, *ids: str) -> list[str]:
    """Return the files for these triggers in the outbox of the only provider of the stack."""
    files = [path for channel in Channel for path in stack.outbox(channel)]
    return [path.name for path in files if path.stem in ids]


async def campaign_of(pool: Pool, number: int, channel: Channel, **changes: Any) -> None:
    project = await projects.ensure_project(pool, "demo")
    template = Template(subject="s", title="t", text="Order {{ event.order }}")
    base: dict[str, Any] = {"providers": ("sandbox",), "sender": "a@clarion.example", **changes}
    if channel is not Channel.EMAIL:
        base["sender"] = "Clarion" if channel is Channel.TEXT else ""
    await campaigns.apply_campaigns(
        pool, [Campaign(project, number, "tests", channel, templates={"default": template}, **base)]
    )


async def test_recipient_chooses_the_outcome_on_every_channel(
    stack: Stack, http: httpx.AsyncClient, pool: Pool, test_key: str
) -> None:
    fields = {Channel.EMAIL: "email", Channel.TEXT: "phone", Channel.PUSH: "device_token"}
    recipients = {
        Channel.EMAIL: "{}+1@clarion.test",
        Channel.TEXT: "+1202555010{}",
        Channel.PUSH: "clarion-test-{}",
    }
    expected = {
        "delivered": ["delivered"],
        "refused": ["dead"],
        "bounced": ["delivered"],
        "throttled": ["retry", "delivered"],
        "dead": ["retry", "retry", "dead"],
    }
    sent: list[tuple[str, list[str]]] = []
    for number, channel in enumerate(Channel, 960):
        await campaign_of(pool, number, channel)
    await stack.until_in_force()
    for number, channel in enumerate(Channel, 960):
        for place, (name, outcomes) in enumerate(expected.items()):
            address = recipients[channel].format(place if channel is Channel.TEXT else name)
            answer = await trigger(http, test_key, {fields[channel]: address}, number)
            sent.append((id_of(answer), outcomes))
    for trigger_id, outcomes in sent:
        delivery = await ended(http, test_key, trigger_id)
        assert [attempt["outcome"] for attempt in delivery["attempts"]] == outcomes
        assert delivery["test"] is True
        assert {attempt["provider"] for attempt in delivery["attempts"]} == {"_test"}
    assert left(stack, *(trigger_id for trigger_id, _ in sent)) == []
    assert await pool.fetchval("SELECT count(*) FROM suppression WHERE provider = '_test'") == 0
    marked = "SELECT bool_and(d.test) FROM dead_letter d JOIN trigger t ON t.id = d.trigger_id WHERE t.test"
    assert await pool.fetchval(marked)


async def test_live_and_test_triggers_do_not_share_idempotency_keys(
    stack: Stack, http: httpx.AsyncClient, test_key: str, live_key: str
) -> None:
    headers = {"idempotency-key": f"k-{uuid.uuid4()}"}
    user = {"email": "delivered@clarion.test"}
    answers = await asyncio.gather(
        *(trigger(http, key, user, headers=headers) for key in (test_key, live_key) for _ in range(3))
    )
    tests, live = {id_of(one) for one in answers[:3]}, {id_of(one) for one in answers[3:]}
    assert len(tests) == len(live) == 1
    assert tests != live
    await stack.delivered("email", *live)
    assert (await ended(http, test_key, *tests))["state"] == "delivered"
    assert left(stack, *tests) == []
    changed = await trigger(http, test_key, {"email": "dead@clarion.test"}, headers=headers)
    assert (changed.status_code, reason_of(changed)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_batches_of_both_kinds_share_commits(
    stack: Stack, http: httpx.AsyncClient, test_key: str, live_key: str
) -> None:
    """Batches large enough for COPY, and small ones, at the same moment."""

    async def batch(key: str, size: int) -> list[str]:
        item = {"campaign_id": 44, "user": {"external_id": "tester", "email": "a@clarion.test"}}
        answer = await http.post(
            "/api/client/triggers:batch",
            json={"triggers": [{**item, "request_id": str(uuid.uuid4())} for _ in range(size)]},
            headers={"authorization": f"Bearer {key}"},
        )
        assert answer.status_code == 200, answer.text
        return [one["trigger_id"] for one in answer.json()["outcomes"]]

    tests, live, few = await asyncio.gather(batch(test_key, 120), batch(live_key, 3), batch(test_key, 3))
    for trigger_id in live:
        await stack.delivered("email", trigger_id)
    await asyncio.gather(*(ended(http, test_key, one) for one in (*tests[-3:], *few)))
    assert left(stack, *tests, *few) == []


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_python_client_follows_tests(
    stack: Stack, test_key: str, kind: type[Client | AsyncClient]
) -> None:
    """The example of the reference, for a recipient of every outcome."""
    expected = {"delivered": "delivered", "refused": "dead", "throttled": "delivered", "dead": "dead"}
    client = kind(stack.url, test_key)
    try:
        for name, state in expected.items():
            address = f"{name}@clarion.test"
            if isinstance(client, AsyncClient):
                accepted = await client.trigger_email(44, external_id="grace", email=address)
                changes = [one async for one in client.watch(trigger_ids=[accepted.trigger_id])]
            else:
                accepted = await asyncio.to_thread(
                    client.trigger_email, 44, external_id="grace", email=address
                )
                ids = [accepted.trigger_id]
                changes = await asyncio.to_thread(lambda: list(client.watch(trigger_ids=ids)))  # noqa: B023
            last = changes[-1].delivery
            assert (last.state, last.test) == (state, True), name
            assert left(stack, last.trigger_id) == []
    finally:
        if isinstance(client, AsyncClient):
            await client.aclose()
        else:
            client.close()


async def test_test_key_sees_and_cancels_only_tests(
    http: httpx.AsyncClient, test_key: str, live_key: str
) -> None:
    user = {"email": "delivered@clarion.test", "external_id": f"user-{uuid.uuid4()}"}
    at: Any = {"send_at": (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()}
    of_test = id_of(await trigger(http, test_key, user, **at))
    live = id_of(await trigger(http, live_key, user, **at))
    mine = {"authorization": f"Bearer {test_key}"}
    theirs = {"authorization": f"Bearer {live_key}"}

    async def listed(headers: dict[str, str], **more: str) -> set[str]:
        params = {"external_id": user["external_id"], **more}
        answer = await http.get("/api/client/triggers", params=params, headers=headers)
        return {one["trigger_id"] for one in answer.json().get("deliveries", [])}

    assert await listed(mine) == await listed(mine, state=DeliveryState.PENDING) == {of_test}
    assert await listed(theirs) == {of_test, live}
    hidden = await http.get(f"/api/client/triggers/{live}", headers=mine)
    watched = await http.get("/api/client/triggers:watch", params={"trigger_ids": live}, headers=mine)
    cancel = await http.delete(f"/api/client/triggers/{live}", headers=mine)
    assert [hidden.status_code, watched.status_code] == [404, 404]
    assert cancel.status_code == 404, cancel.text
    shown = (await http.get(f"/api/client/triggers/{live}", headers=theirs)).json()["delivery"]
    assert (shown["state"], "test" in shown) == ("pending", False)


async def test_changed_windows_and_providers_send_nothing(
    stack: Stack, http: httpx.AsyncClient, pool: Pool, test_key: str
) -> None:
    """A test waits for its campaign's window; then the window and the providers change."""
    closed = SendWindow(opens="00:00", closes="00:01")
    await campaign_of(pool, 970, Channel.EMAIL, window=closed, providers=("removed",))
    await stack.until_in_force()
    waiting = [
        id_of(
            await trigger(http, test_key, {"email": f"{name}@clarion.test", "timezone": _where_closed()}, 970)
        )
        for name in ("delivered", "dead")
    ]
    lanes = await pool.fetch("SELECT lane FROM queue WHERE trigger_id = ANY($1::uuid[])", waiting)
    assert {row["lane"] for row in lanes} == {"email/_test"}
    await campaign_of(pool, 970, Channel.EMAIL, providers=("sandbox",))
    await stack.until_in_force()  # or a claim would wait for the window once more
    await pool.execute("UPDATE queue SET due_at = now() WHERE trigger_id = ANY($1::uuid[])", waiting)
    await pool.execute("NOTIFY clarion_queue")
    states = [(await ended(http, test_key, one))["state"] for one in waiting]
    assert states == ["delivered", "dead"]
    code, _, err = await stack.run("deliveries", "retry", waiting[1])
    assert code == 0, err

    async def retried() -> bool:
        delivery = await ended(http, test_key, waiting[1])
        return len(delivery["attempts"]) == 6

    await until(retried, "the dead letter was retried and is dead again")
    assert left(stack, *waiting) == []


def _where_closed() -> str:
    """Return a time zone in which it is not shortly before or after midnight."""
    return "Etc/GMT" if 1 < dt.datetime.now(dt.UTC).hour < 23 else "Etc/GMT+12"
