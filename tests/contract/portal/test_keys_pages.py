"""The form that changes a key."""

from __future__ import annotations

import datetime as dt
import html
import re
import uuid

from clarion.admin.v1 import api_key_pb2 as pb
from server.admin.client import LocalAdmin
from tests.contract.portal.conftest import Visitor


async def _key(local: LocalAdmin, **fields: object) -> pb.ApiKey:
    request = pb.CreateApiKeyRequest(project="demo", display_name=f"key {uuid.uuid4()}", **fields)  # type: ignore[arg-type]
    made: pb.CreateApiKeyResponse = await local.call("api_keys", "CreateApiKey", request)
    return made.api_key


async def _reread(local: LocalAdmin, key: pb.ApiKey) -> pb.ApiKey:
    found: pb.ApiKey = (
        await local.call("api_keys", "GetApiKey", pb.GetApiKeyRequest(key_id=key.key_id))
    ).api_key
    return found


async def test_a_key_is_changed_and_keeps_its_expiry(admin: Visitor, local: LocalAdmin) -> None:
    expires = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=30)
    key = await _key(local, expire_time=expires, requests_per_second=1234.567)
    page = (await admin.get(f"/keys/{key.key_id}/edit")).text
    names = ("etag", "display_name", "expire_time", "requests_per_second", "burst")
    fields = {name: re.search(f'name="{name}"[^>]*value="([^"]*)"', page) for name in names}
    sent = {name: found[1] for name, found in fields.items() if found}
    assert (sent["requests_per_second"], sent["burst"]) == ("1234.567", "")
    done = await admin.post(f"/keys/{key.key_id}/edit", {**sent, "burst": "7"})
    assert done.status_code == 303, done.text
    changed = await _reread(local, key)
    assert (changed.burst, changed.requests_per_second) == (7, 1234.567)
    assert changed.expire_time == key.expire_time
    stale = await admin.post(f"/keys/{key.key_id}/edit", {**sent, "burst": "8"})
    assert (stale.status_code, "Someone else has saved a change" in stale.text) == (409, True)
    now = {**sent, "etag": changed.etag, "burst": "", "requests_per_second": "", "expire_time": ""}
    assert (await admin.post(f"/keys/{key.key_id}/edit", now)).status_code == 303
    unlimited = await _reread(local, key)
    assert not any(unlimited.HasField(name) for name in ("burst", "requests_per_second", "expire_time"))


async def test_wrong_values_of_a_key_are_named(admin: Visitor, local: LocalAdmin) -> None:
    key = await _key(local)
    for field, value, label in (
        ("display_name", "", "Name"),
        ("expire_time", "tomorrow", "Last day"),
        ("requests_per_second", "many", "Calls per second"),
        ("burst", "2.5", "Burst"),
        ("burst", "0", "Burst"),
    ):
        answer = await admin.post(f"/keys/{key.key_id}/edit", {"display_name": "x", field: value})
        assert answer.status_code == 422, (field, value)
        assert f'<a href="#field-{field}">{label}</a>' in answer.text, (field, value)
    assert (await _reread(local, key)).etag == key.etag


async def test_the_call_for_a_new_key_suits_its_campaign(admin: Visitor) -> None:
    for campaign, number, recipient in (
        ("", "44", '"email": "delivered@clarion.test"'),
        ("45", "45", '"phone": "+12025550100"'),
        ("46", "46", '"device_token": "clarion-test-delivered"'),
    ):
        fields = {"project": "demo", "display_name": "new", "scopes": "trigger", "campaign_ids": campaign}
        page = html.unescape((await admin.post("/keys/new", fields)).text)
        assert f"/api/client/campaigns/{number}/trigger" in page
        assert recipient in page
        form = (await admin.get(f"/api?project=demo&campaign_id={number}")).text
        assert f'href="/portal/api?project=demo&campaign_id={number}"' in page
        assert recipient in html.unescape(form)
        (body,) = re.findall(r'name="body"[^>]*>\s*(.*?)</textarea>', form, re.DOTALL)
        assert html.unescape(body).strip() in page


async def test_keys_that_ended_are_hidden_unless_chosen(admin: Visitor, local: LocalAdmin) -> None:
    """The portal's own keys for test triggers are revoked at once."""
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    kept, ended = await _key(local, expire_time=expires), await _key(local)
    await local.call("api_keys", "RevokeApiKey", pb.RevokeApiKeyRequest(key_id=ended.key_id))
    names = {kept.display_name, ended.display_name}
    for query, shown in (
        ("", {kept.display_name}),
        ("?key_state=usable", {kept.display_name}),
        ("?key_state=revoked", {ended.display_name}),
        ("?key_state=all", names),
    ):
        page = (await admin.get(f"/keys{query}")).text
        assert {name for name in names if name in page} == shown, query
