"""Checks of templates that take long: they hold no connection, and what changes meanwhile is kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from clarion.admin.v1 import campaign_draft_pb2, campaign_pb2
from server.admin import campaign_content
from server.admin.client import LocalAdmin
from server.admin.errors import EtagMismatch
from server.config import load
from server.domain.campaign import Campaign
from server.store.pool import Pool
from server.wiring.operators import build_backend
from tests.kit.until import until

WHICH = {"project": "one", "campaign_id": "7"}
Call = Callable[..., Awaitable[Any]]


class SlowChecks:
    """Checks that wait until they may end."""

    def __init__(self) -> None:
        self.check = campaign_content.to_campaign
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Campaign:
        self.has_begun.set()
        self.may_end.wait()
        return self.check(*arguments)


@pytest.fixture
def call(pool: Pool) -> Call:
    admin = LocalAdmin(build_backend(load(None, {}), pool))

    async def called(method: str, **fields: Any) -> Any:
        is_draft = "Draft" in method
        messages: Any = campaign_draft_pb2 if is_draft else campaign_pb2
        request = getattr(messages, f"{method}Request")(**WHICH, **fields)
        return await admin.call("campaign_drafts" if is_draft else "campaigns", method, request)

    return called


def content(name: str) -> campaign_pb2.CampaignContent:
    return campaign_pb2.CampaignContent(
        display_name=name,
        campaign_channel="email",
        sender="a@example.com",
        providers=["sandbox"],
        templates=[campaign_pb2.CampaignTemplate(locale="default", subject="s", text="t")],
    )


@asynccontextmanager
async def checking(pool: Pool, calling: Awaitable[Any]) -> AsyncIterator[asyncio.Future[Any]]:
    """Let a call check templates during the block, which needs no connection."""
    with pytest.MonkeyPatch.context() as patch:
        slow = SlowChecks()
        patch.setattr(campaign_content, "to_campaign", slow)
        task = asyncio.ensure_future(calling)
        try:
            await until(slow.has_begun.is_set, "the check has begun")
            assert pool.get_idle_size() == pool.get_size()
            yield task
        finally:
            slow.may_end.set()
            await asyncio.wait([task])


async def test_a_slow_check_holds_no_connection(pool: Pool, call: Call) -> None:
    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("CreateCampaign", {"content": content("one")}),
        ("UpdateCampaign", {"content": content("two")}),
        ("SaveCampaignDraft", {"content": content("three")}),
        ("PublishCampaignDraft", {}),
    )
    for method, fields in calls:
        async with checking(pool, call(method, **fields)) as task:
            pass
        await task
    found = (await call("GetCampaign")).campaign
    assert (found.content.display_name, found.version) == ("three", 3)


async def test_a_change_during_a_check_is_kept(pool: Pool, call: Call) -> None:
    made = (await call("CreateCampaign", content=content("one"))).campaign
    update = call("UpdateCampaign", content=content("two"), etag=made.etag)
    async with checking(pool, update) as task:
        await call("PauseCampaign")
    with pytest.raises(EtagMismatch):
        await task
    async with checking(pool, call("UpdateCampaign", content=content("three"))) as task:
        await call("ResumeCampaign")
    await task
    found = (await call("GetCampaign")).campaign
    assert (found.content.display_name, found.campaign_state) == ("three", "active")


async def test_a_draft_that_changes_during_a_check_is_not_published(pool: Pool, call: Call) -> None:
    await call("CreateCampaign", content=content("one"))
    await call("SaveCampaignDraft", content=content("two"))
    async with checking(pool, call("PublishCampaignDraft")) as task:
        await pool.execute("UPDATE campaign_draft SET saved_at = clock_timestamp()")
    with pytest.raises(EtagMismatch):
        await task
    assert (await call("GetCampaign")).campaign.content.display_name == "one"
