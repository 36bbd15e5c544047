"""What the list of deliveries offers, and where the pages around it lead."""

from __future__ import annotations

import re
from typing import Any

import pytest

from clarion.admin.v1 import delivery_pb2 as pb
from server.admin.client import LocalAdmin
from tests.contract.portal.conftest import Visitor

RETRY, CANCEL = "/deliveries/all/retry?", "/deliveries/all/cancel?"


@pytest.mark.parametrize(
    ("filters", "offered"),
    [
        ("campaign_id=44", {RETRY, CANCEL}),
        ("campaign_id=44&state=dead", {RETRY}),
        ("campaign_id=44&state=pending", {CANCEL}),
        ("campaign_id=44&state=delivered", set()),
        ("state=dead", set()),
        ("project=demo&state=dead", set()),
    ],
)
async def test_only_actions_for_what_is_listed_are_offered(
    admin: Visitor, filters: str, offered: set[str]
) -> None:
    page = (await admin.get(f"/deliveries?{filters}")).text
    assert {one for one in (RETRY, CANCEL) if one in page} == offered
    assert ("choose another filter, too" in page) == (not offered and "state=dead" in filters)


async def test_an_operation_leads_to_its_deliveries(admin: Visitor, local: LocalAdmin) -> None:
    cases: tuple[tuple[dict[str, Any], set[str]], ...] = (
        ({"error": "a: b", "campaign_id": "44"}, {"error=a%3A+b", "campaign_id=44"}),
        ({"external_id": "u-1"}, {"q=u-1"}),
    )
    for fields, query in cases:
        request = pb.RetryDeliveriesRequest(project="demo", **fields)
        started: pb.RetryDeliveriesResponse = await local.call("deliveries", "RetryDeliveries", request)
        page = (await admin.get(f"/operations/{started.operation.operation_id}")).text
        found = re.search(r'href="/portal/deliveries\?([^"]*)">See what became', page)
        assert found, page
        assert set(found[1].split("&amp;")) == {"project=demo", *query}


async def test_dead_letters_lead_back_to_deliveries(admin: Visitor) -> None:
    page = (await admin.get("/dead-letters")).text
    assert '<a href="/portal/deliveries">Deliveries</a>' in page
    assert '<a href="/portal/deliveries" aria-current="page">' in page
