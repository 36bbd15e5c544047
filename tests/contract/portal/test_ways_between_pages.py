"""Where pages lead: to what belongs together, back to where the person came from, and not to dead ends."""

from __future__ import annotations

import re
import uuid

import pytest

from clarion.admin.v1 import api_key_pb2
from server.admin.client import LocalAdmin
from server.dispatcher.test_recipients import Scenario, scenario_of
from server.domain.campaign import Channel
from server.store.pool import Pool
from tests.contract.portal.conftest import Visitor
from tests.kit.admin import create_admin_key
from tests.kit.portal_world import World
from tests.kit.stack import Stack, client

SUPPRESS = """
    INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id)
    SELECT project_id, 'email', address, 'unknown', 'smtp', id FROM trigger WHERE id = $1
"""
LINK = re.compile(r'<a[^>]*href="([^"]*)"[^>]*>([^<]*)')


def links(page: str) -> dict[str, str]:
    """Return the address of each link by its text."""
    return {text.strip(): address.replace("&amp;", "&") for address, text in LINK.findall(page)}


@pytest.mark.parametrize("action", ["pause", "archive", "release", "draft/discard", "versions/1/roll-back"])
async def test_a_confirmation_leads_back_to_the_campaign(admin: Visitor, action: str) -> None:
    page = (await admin.get(f"/campaigns/demo/44/{action}")).text
    assert links(page)["Campaign 44"] == "/portal/campaigns/demo/44"
    assert links(page)["Go back"].startswith("/portal/campaigns/demo/44")


async def test_a_bulk_action_leads_back_to_the_same_list(admin: Visitor) -> None:
    page = (await admin.get("/deliveries/all/retry?error=refused&address=a@b.example&project=demo")).text
    back = links(page).get("Back to the deliveries") or links(page)["Go back"]
    assert back == "/portal/deliveries?project=demo&address=a%40b.example&error=refused"
    assert 'name="address" type="text" value="a@b.example"' in (await admin.get(back[7:])).text


async def test_a_search_without_a_match_explains_what_to_enter(admin: Visitor) -> None:
    assert "Enter the whole trigger ID" in (await admin.get("/deliveries?q=part-of-it")).text
    assert "Enter the whole trigger ID" not in (await admin.get("/deliveries?campaign_id=987654")).text


async def test_the_page_of_a_test_key_lists_the_test_recipients(admin: Visitor, local: LocalAdmin) -> None:
    request = api_key_pb2.CreateApiKeyRequest(
        project="demo", display_name="t", kind="test", scopes=["trigger"]
    )
    made: api_key_pb2.CreateApiKeyResponse = await local.call("api_keys", "CreateApiKey", request)
    page = (await admin.get(f"/keys/{made.api_key.key_id}")).text
    rows = re.findall(r"<td><code>(.*?)</code></td>\s*" * 3, page)
    shown = [
        {scenario_of(channel, address) for channel, address in zip(Channel, row, strict=True)} for row in rows
    ]
    assert shown == [{scenario} for scenario in Scenario]


async def test_a_person_of_one_project_is_not_led_to_dead_ends(stack: Stack, local: LocalAdmin) -> None:
    async with client(stack) as http:
        visitor = Visitor(http, await create_admin_key(local, "operator", project="demo"))
        await visitor.sign_in()
        found = links((await visitor.get("/")).text)
        assert "Providers" not in found
        assert "Create an API key" not in found
        assert (await visitor.get("/keys/new")).status_code == 403
        assert (await visitor.get("/campaigns/demo/44/edit")).status_code == 403


async def test_the_audit_log_leads_to_what_was_changed(admin: Visitor, local: LocalAdmin) -> None:
    request = api_key_pb2.CreateApiKeyRequest(
        project="demo", display_name="a", kind="live", scopes=["trigger"]
    )
    made: api_key_pb2.CreateApiKeyResponse = await local.call("api_keys", "CreateApiKey", request)
    page = (await admin.get(f"/audit?resource=key/{made.api_key.key_id}")).text
    assert links(page)["Open"] == f"/portal/keys/{made.api_key.key_id}"


async def test_a_dead_letter_leads_to_the_suppression(admin: Visitor, world: World, pool: Pool) -> None:
    trigger_id = uuid.UUID(world.ids["trigger_id"])
    await pool.execute("UPDATE trigger SET address = 'nosuch@b.example' WHERE id = $1", trigger_id)
    await pool.execute("DELETE FROM attempt WHERE trigger_id = $1 AND outcome = 'delivered'", trigger_id)
    path = f"/deliveries/{trigger_id}"
    assert "The recipient is suppressed" not in (await admin.get(path)).text
    await pool.execute(SUPPRESS, trigger_id)
    page = (await admin.get(path)).text
    assert "The recipient is suppressed" in page
    assert links(page)["See the suppression"].startswith("/portal/suppressions?project=")
