"""PersonService over REST and the command line: what a project has about a person."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of
from tests.kit.stack import Stack, client
from tests.kit.triggers import delivery_in_state, post, trigger_id


@pytest.fixture
async def sender(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of its project."""
    async with client(stack) as opened:
        opened.headers.update(stack.headers())
        yield opened


def a_person() -> tuple[str, str]:
    return f"person-{uuid.uuid4()}", f"{uuid.uuid4()}@person.example"


async def deliver(rest: httpx.AsyncClient, external_id: str, address: str) -> str:
    user = {"external_id": external_id, "email": address, "data": {"name": "Ada"}, "locale": "de"}
    sent = trigger_id(await post(rest, user=user, event={"order": 7}))
    await delivery_in_state(rest, sent)
    return sent


async def export(caller: Operator, **named: object) -> httpx.Response:
    return await caller.call("POST", "/people:export", {"project": "demo", **named})


async def test_an_export_has_everything_about_a_person(
    admin: Operator, sender: httpx.AsyncClient, stack: Stack, pool: Pool
) -> None:
    external_id, address = a_person()
    first = await deliver(sender, external_id, address)
    second = await deliver(sender, external_id, f"other-{address}")
    third = await deliver(sender, f"other-{external_id}", address)
    await deliver(sender, *a_person())
    suppressed = {"project": "demo", "channel": "email", "addresses": [address], "reason": "by phone"}
    await admin.call("POST", "/suppressions:add", suppressed)
    found = (await export(admin, external_id=external_id)).json()
    assert [one["delivery"]["trigger_id"] for one in found["deliveries"]] == [first, second]
    one = found["deliveries"][0]
    assert (one["address"], one["locale"], json.loads(one["event"])) == (address, "de", {"order": 7})
    assert json.loads(one["user_data"]) == {"name": "Ada"}
    assert [attempt["outcome"] for attempt in one["delivery"]["attempts"]] == ["delivered"]
    assert [one["address"] for one in found["suppressions"]] == [address]
    by_address = (await export(admin, address=address)).json()["deliveries"]
    assert [one["delivery"]["trigger_id"] for one in by_address] == [first, third]
    words = ("people", "export", "--project", "demo", "--external-id", external_id, "--address", address)
    code, out, err = await stack.run(*words, "--target", stack.url, CLARION_ADMIN_KEY=admin.secret)
    assert code == 0, err
    both = json.loads(out)
    assert [one["delivery"]["trigger_id"] for one in both["deliveries"]] == [first, second, third]
    assert len(both["suppressions"]) == 1
    logged = await pool.fetch("SELECT after FROM audit_event WHERE action = 'person.export'")
    assert len(logged) >= 3
    assert all(set(json.loads(row["after"])) == {"named_by"} for row in logged)


async def test_pages_of_an_export_have_each_delivery_once(admin: Operator, sender: httpx.AsyncClient) -> None:
    external_id, address = a_person()
    sent = [await deliver(sender, external_id, address) for _ in range(3)]
    found: list[str] = []
    token = ""
    while True:
        page = (await export(admin, external_id=external_id, page_size=2, page_token=token)).json()
        found += [one["delivery"]["trigger_id"] for one in page["deliveries"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert found == sent


async def test_an_erased_person_is_gone(
    admin: Operator, sender: httpx.AsyncClient, stack: Stack, pool: Pool
) -> None:
    external_id, address = a_person()
    sent = await deliver(sender, external_id, address)
    user = {"external_id": external_id, "email": address}
    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    later = trigger_id(await post(sender, user=user, send_at=tomorrow))
    kept = await deliver(sender, *a_person())
    suppressed = {"project": "demo", "channel": "email", "addresses": [address], "reason": "by phone"}
    await admin.call("POST", "/suppressions:add", suppressed)
    body = {"project": "demo", "external_id": external_id}
    counted = (await admin.call("POST", "/people:erase", {**body, "dry_run": True})).json()
    assert counted == {"deliveries": 2, "cancelled": 1, "suppressions": 1, "done": True}
    assert len((await export(admin, external_id=external_id)).json()["deliveries"]) == 2
    words = ("people", "erase", "--project", "demo", "--external-id", external_id, "--json")
    code, out, err = await stack.run(*words, "--target", stack.url, CLARION_ADMIN_KEY=admin.secret)
    assert code == 0, err
    erased = json.loads(out)
    assert (erased["deliveries"], erased["cancelled"], erased["done"]) == (2, 1, True)
    for named in ({"external_id": external_id}, {"address": address}):
        assert (await export(admin, **named)).json().get("deliveries", []) == []
    for one, state in ((sent, "delivered"), (later, "cancelled")):
        delivery = await delivery_in_state(sender, one, state)
        assert (delivery["external_id"], delivery["campaign_id"]) == ("[erased]", 44)
        assert (await admin.call("GET", f"/deliveries/{one}")).status_code == 200
    assert (await delivery_in_state(sender, kept))["external_id"].startswith("person-")
    [event] = await pool.fetch(
        "SELECT after::text FROM audit_event WHERE action = 'person.erase' AND after->>'deliveries' = '2'"
    )
    assert external_id not in event["after"]
    assert address not in event["after"]


async def test_erasing_by_address_next_to_the_database(
    sender: httpx.AsyncClient, stack: Stack, admin: Operator
) -> None:
    external_id, address = a_person()
    await deliver(sender, external_id, address)
    words = ("people", "erase", "--project", "demo", "--address", address)
    dry = await stack.run(*words, "--dry-run")
    assert dry == (0, "would erase the person from 1 delivery\n", "")
    assert await stack.run(*words) == (0, "erased the person from 1 delivery\n", "")
    assert await stack.run(*words) == (0, "erased nothing\n", "")
    assert (await export(admin, external_id=external_id)).json().get("deliveries", []) == []
    code, _, err = await stack.run("people", "erase", "--project", "demo")
    assert (code, err) == (2, "clarion: give --external-id, --address or both\n")


async def test_only_admins_of_the_project_answer_people(
    admin: Operator, viewer: Operator, demo_admin: Operator
) -> None:
    external_id, _ = a_person()
    kept = await viewer.call("POST", "/people:erase", {"project": "demo", "external_id": external_id})
    assert (kept.status_code, reason_of(kept)) == (403, "ROLE_MISSING")
    refused = await export(viewer, external_id=external_id)
    assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")
    other = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": other})
    hidden = await export(demo_admin, external_id=external_id, project=other)
    assert (hidden.status_code, reason_of(hidden)) == (404, "RESOURCE_NOT_FOUND")
    unnamed = await export(admin)
    assert (unnamed.status_code, reason_of(unnamed)) == (422, "INVALID_REQUEST")
    erased = await export(admin, external_id="[erased]")
    assert (erased.status_code, reason_of(erased)) == (422, "INVALID_REQUEST")
