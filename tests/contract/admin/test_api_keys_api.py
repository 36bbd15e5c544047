"""ApiKeyService of the admin API: creation, rotation, limits, last use, roles, and two servers."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from server.store.admin import keys as store
from server.store.pool import Pool
from server.store.records.key_use import KeyUse
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of
from tests.kit.stack import EXAMPLE, Stack, client, running_stack
from tests.kit.until import until

CAMPAIGN = "/api/client/campaigns/44/trigger"


async def made(caller: Operator, **more: object) -> dict[str, Any]:
    created = await caller.call("POST", "/keys", {"project": "demo", "display_name": "shop", **more})
    assert created.status_code == 200, created.text
    body: dict[str, Any] = created.json()
    return body


async def trigger(caller: Operator, secret: str) -> int:
    headers = {"authorization": f"Bearer {secret}"}
    return (await caller.http.post(CAMPAIGN, json=EXAMPLE, headers=headers)).status_code


async def until_answered(caller: Operator, secret: str, status: int) -> None:
    async def answered() -> bool:
        return await trigger(caller, secret) == status

    await until(answered, f"{status} for a trigger")


async def test_key_is_created_used_and_revoked(admin: Operator, pool: Pool) -> None:
    created = await made(admin, scopes=["trigger", "deliveries.read"], campaign_ids=[44], burst=500)
    key, secret = created["api_key"], created["secret"]
    assert (key["key_state"], key["scopes"]) == ("active", ["deliveries.read", "trigger"])
    assert (key["campaign_ids"], key["burst"], key["created_by"]) == ([44], 500, "a test's admin")
    assert key["secret_hint"] == f"sk_…{secret[-4:]}"
    await until_answered(admin, secret, 204)
    path = f"/keys/{key['key_id']}"
    read = await admin.call("GET", path)
    assert read.json()["api_key"] == key
    assert secret not in read.text
    revoked = (await admin.call("POST", f"{path}:revoke", {})).json()["api_key"]
    assert revoked["key_state"] == "revoked"
    await until_answered(admin, secret, 401)
    again = (await admin.call("POST", f"{path}:revoke", {})).json()["api_key"]
    assert again["revoke_time"] == revoked["revoke_time"]
    rows = await pool.fetch("SELECT * FROM audit_event WHERE resource = $1", f"key/{key['key_id']}")
    assert [row["action"] for row in rows] == ["key.create", "key.revoke"]
    assert secret not in str(rows)


async def test_both_keys_work_while_a_rotation_overlaps(admin: Operator) -> None:
    created = await made(admin, requests_per_second=1000)
    path = f"/keys/{created['api_key']['key_id']}"
    rotated = (await admin.call("POST", f"{path}:rotate", {"overlap": "3600s"})).json()
    new, old = rotated["api_key"], rotated["previous_key"]
    assert (old["successor_id"], old["key_state"]) == (new["key_id"], "expiring")
    assert (new["requests_per_second"], new["display_name"], new["scopes"]) == (1000, "shop", ["trigger"])
    assert "expire_time" not in new
    await until_answered(admin, rotated["secret"], 204)
    assert await trigger(admin, created["secret"]) == 204
    twice = await admin.call("POST", f"{path}:rotate", {})
    assert (twice.status_code, reason_of(twice)) == (422, "RESOURCE_STATE")
    at_once = (await admin.call("POST", f"/keys/{new['key_id']}:rotate", {"overlap": "0s"})).json()
    await until_answered(admin, at_once["secret"], 204)
    await until_answered(admin, rotated["secret"], 401)


async def test_changes_apply_to_the_fields_of_the_mask(admin: Operator) -> None:
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(days=3)).isoformat()
    key = (await made(admin, expire_time=soon, burst=5))["api_key"]
    path = f"/keys/{key['key_id']}"
    assert key["key_state"] == "expiring"
    renamed = (await admin.call("PATCH", path, {"display_name": "till", "etag": key["etag"]})).json()[
        "api_key"
    ]
    assert (renamed["display_name"], renamed["burst"]) == ("till", 5)
    stale = await admin.call("PATCH", path, {"display_name": "x", "etag": key["etag"]})
    assert (stale.status_code, reason_of(stale)) == (409, "ETAG_MISMATCH")
    unlimited = (await admin.call("PATCH", path, {"update_mask": "burst,expire_time"})).json()["api_key"]
    assert (unlimited["key_state"], "burst" in unlimited) == ("active", False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"display_name": ""}, "display_name"),
        ({"display_name": "\x1b[31m"}, "display_name"),
        ({"display_name": "x" * 101}, "display_name"),
        ({"scopes": ["trigger", "everything"]}, "scopes[1]"),
        ({"campaign_ids": [0]}, "campaign_ids[0]"),
        ({"burst": 0}, "burst"),
        ({"expire_time": "2020-01-01T00:00:00Z"}, "expire_time"),
        ({"expire_time": "soon"}, "expire_time"),
        ({"requests_per_second": "many"}, "requests_per_second"),
        ({"kind": "x"}, "kind"),
        ({"kind": "test", "scopes": ["trigger", "keys.manage"]}, "scopes"),
    ],
)
async def test_invalid_keys_are_refused(admin: Operator, body: dict[str, object], field: str) -> None:
    refused = await admin.call("POST", "/keys", {"project": "demo", "display_name": "shop", **body})
    assert (refused.status_code, reason_of(refused)) == (422, "INVALID_REQUEST")
    assert refused.json()["details"][1]["field_violations"][0]["field"] == field


async def test_roles_restrict_keys(admin: Operator, viewer: Operator, demo_admin: Operator) -> None:
    mine = (await made(admin))["api_key"]["key_id"]
    assert (await viewer.call("GET", f"/keys/{mine}")).status_code == 200
    writes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/keys", {"project": "demo", "display_name": "x"}),
        ("PATCH", f"/keys/{mine}", {"display_name": "x"}),
        ("POST", f"/keys/{mine}:rotate", {}),
        ("POST", f"/keys/{mine}:revoke", {}),
    ]
    for method, path, body in writes:
        refused = await viewer.call(method, path, body)
        assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING"), path
    other = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": other})
    theirs = (await made(admin, project=other))["api_key"]["key_id"]
    hidden = await demo_admin.call("POST", f"/keys/{theirs}:revoke", {})
    assert (hidden.status_code, reason_of(hidden)) == (404, "KEY_NOT_FOUND")
    listed = (await demo_admin.call("GET", "/keys?page_size=1000")).json()["api_keys"]
    assert {one["project"] for one in listed} == {"demo"}


async def test_keys_are_listed_by_state_in_pages(admin: Operator) -> None:
    project = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": project})
    ids = [(await made(admin, project=project))["api_key"]["key_id"] for _ in range(3)]
    await admin.call("POST", f"/keys/{ids[0]}:revoke", {})
    params = {"project": project, "key_state": "active", "page_size": "1"}
    first = (await admin.call("GET", "/keys", params=params)).json()
    second = (
        await admin.call("GET", "/keys", params={**params, "page_token": first["next_page_token"]})
    ).json()
    assert [page["api_keys"][0]["key_id"] for page in (first, second)] == [ids[2], ids[1]]
    assert "next_page_token" not in second


async def test_test_keys_stay_test_keys(admin: Operator) -> None:
    created = await made(admin, kind="test")
    key, secret = created["api_key"], created["secret"]
    assert (key["kind"], key["secret_hint"]) == ("test", f"sk_test_…{secret[-4:]}")
    assert secret.startswith("sk_test_")
    rotated = (await admin.call("POST", f"/keys/{key['key_id']}:rotate", {})).json()
    assert rotated["secret"].startswith("sk_test_")
    assert rotated["api_key"]["kind"] == rotated["previous_key"]["kind"] == "test"
    live = (await made(admin))["api_key"]["key_id"]
    listed = (await admin.call("GET", "/keys", params={"kind": "test", "page_size": "1000"})).json()[
        "api_keys"
    ]
    ids = {one["key_id"] for one in listed}
    assert {key["key_id"], rotated["api_key"]["key_id"]} <= ids
    assert live not in ids


async def test_killed_server_loses_only_what_was_not_stored(pool: Pool) -> None:
    use, stored, lost = KeyUse(pool), uuid.uuid4(), uuid.uuid4()
    use.note(stored)
    await use.store()
    use.note(lost)
    del use  # as if the process had been killed
    assert set(await store.last_use(pool, [stored, lost])) == {stored}


async def test_last_use_is_recorded_to_the_minute(pool: Pool) -> None:
    use, other = KeyUse(pool), KeyUse(pool)
    key_id = uuid.uuid4()
    await asyncio.gather(use.store(), other.store())
    assert await store.last_use(pool, [key_id]) == {}
    for one in (use, other):
        one.note(key_id)
    await asyncio.gather(use.store(), other.store())
    [used_at] = (await store.last_use(pool, [key_id, uuid.uuid4()])).values()
    assert used_at.second == used_at.microsecond == 0
    assert dt.timedelta() <= dt.datetime.now(dt.UTC) - used_at < dt.timedelta(minutes=10)


async def test_stopping_server_stores_the_last_use(pool: Pool) -> None:
    use, key_id = KeyUse(pool, interval=3600), uuid.uuid4()
    running = asyncio.create_task(use.run())
    await asyncio.sleep(0)
    use.note(key_id)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await store.last_use(pool, [key_id])


@pytest.fixture
async def two_servers(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path, {"server": {"processes": 2}}) as stack:
        yield stack


@pytest.mark.long
async def test_changes_are_in_force_on_all_servers_within_a_second(two_servers: Stack) -> None:
    """Each of two servers accepts a new key, and rejects a revoked one and a revoked admin key."""
    code, admin_secret, err = await two_servers.run("operators", "create", "--name", "me", "--role", "admin")
    assert code == 0, err
    async with client(two_servers) as http:
        admin = Operator(http, admin_secret.strip())
        created = await made(admin)
        for number in (0, 1):
            target = f"unix:{two_servers.server_socket.with_name(f'server-{number}.sock')}"
            async with grpc.aio.insecure_channel(target) as channel:
                stub = trigger_pb2_grpc.TriggerServiceStub(channel)
                await until(lambda: _known(stub, created["secret"]), f"server {number} knows the key")  # noqa: B023
        await admin.call("POST", f"/keys/{created['api_key']['key_id']}:revoke", {})
        for number in (0, 1):
            target = f"unix:{two_servers.server_socket.with_name(f'server-{number}.sock')}"
            async with grpc.aio.insecure_channel(target) as channel:
                stub = trigger_pb2_grpc.TriggerServiceStub(channel)

                async def rejected() -> bool:
                    return not await _known(stub, created["secret"])  # noqa: B023

                await until(rejected, f"server {number} rejects the key")


async def _known(stub: trigger_pb2_grpc.TriggerServiceStub, secret: str) -> bool:
    try:
        await stub.TriggerEmail(
            trigger_pb2.TriggerEmailRequest(), metadata=(("authorization", f"Bearer {secret}"),)
        )
    except grpc.aio.AioRpcError as error:
        return error.code() is not grpc.StatusCode.UNAUTHENTICATED
    return True
