"""The catalog: changes spread to it, and a snapshot that is too old answers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.domain.campaign import CampaignState, SendWindow
from server.domain.key import Scope, hash_secret, new_secret
from server.errors import StoreUnavailable
from server.store.admin import campaigns, keys, projects
from server.store.catalog import Catalog
from server.store.pool import Pool, open_pool
from tests.kit.store import a_campaign, set_timezone
from tests.kit.until import until


@asynccontextmanager
async def running_catalog(
    pool: Pool, *, max_age: float = 60, templates: bool = False
) -> AsyncIterator[Catalog]:
    catalog = Catalog(pool, interval=0.25, max_age=max_age, templates=templates)
    await catalog.refresh()
    running = asyncio.create_task(catalog.run())
    try:
        yield catalog
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_unknown_campaign_is_looked_up_before_it_is_refused(
    pool: Pool,
) -> None:
    catalog = Catalog(pool, interval=60, max_age=60, templates=True)
    await catalog.refresh()
    assert await catalog.newest_campaign(1, 44) is None
    await campaigns.apply_campaigns(pool, [a_campaign(44)])
    assert catalog.campaign(1, 44) is None
    found = await catalog.newest_campaign(1, 44)
    assert found is not None
    assert found is catalog.campaign(1, 44)


async def test_current_campaign_is_not_out_of_date(pool: Pool) -> None:
    catalog = Catalog(pool, interval=60, max_age=60, templates=True)
    await campaigns.apply_campaigns(pool, [a_campaign(44)])
    await catalog.refresh()
    changed = a_campaign(44, window=SendWindow("09:00", "17:00"))
    await campaigns.apply_campaigns(pool, [changed])
    await set_timezone(pool, "one", "Asia/Tokyo")
    stale = catalog.campaign(1, 44)
    assert stale is not None
    assert (stale.window, catalog.project_timezone(1)) == (None, "UTC")
    found = await asyncio.gather(*(catalog.current_campaign(1, 44) for _ in range(20)))
    assert {one.window for one in found if one} == {changed.window}
    assert catalog.project_timezone(1) == "Asia/Tokyo"


async def test_catalog_picks_up_changes(pool: Pool) -> None:
    secret = new_secret()
    async with running_catalog(pool) as catalog:
        key = await keys.create_key(pool, secret, project_id=1, name="a", scopes=[Scope.TRIGGER])
        await campaigns.apply_campaigns(pool, [a_campaign()])
        await until(lambda: _shows(catalog, secret, CampaignState.ACTIVE), "the campaign is known")
        assert catalog.key(hash_secret(secret)) == key
        assert catalog.campaign(2, 44) is None
        await campaigns.apply_campaigns(pool, [a_campaign(state=CampaignState.PAUSED)])
        await until(lambda: _shows(catalog, secret, CampaignState.PAUSED), "the campaign is paused")
        await keys.revoke_key(pool, key.id)
        await until(lambda: _is_revoked(catalog, secret), "the key is revoked")


async def test_catalog_picks_up_time_zones_and_lanes(pool: Pool) -> None:
    await campaigns.apply_campaigns(pool, [a_campaign(44), a_campaign(45, providers=("smtp", "backup"))])
    async with running_catalog(pool) as catalog:
        assert (catalog.project_timezone(1), catalog.project_timezone(99)) == ("UTC", "UTC")
        assert catalog.lanes == {"email/sandbox", "email/smtp,backup"}
        changed = await set_timezone(pool, "one", "Asia/Tokyo")
        assert (changed.name, changed.timezone) == ("one", "Asia/Tokyo")
        await campaigns.apply_campaigns(pool, [a_campaign(45)])

        async def is_known() -> bool:
            return catalog.project_timezone(1) == "Asia/Tokyo" and catalog.lanes == {"email/sandbox"}

        await until(is_known, "the changes are known")
        assert catalog.project_timezone(2) == "UTC"
    assert [one.timezone for one in await projects.list_projects(pool)] == ["Asia/Tokyo", "UTC"]


async def _shows(catalog: Catalog, secret: str, state: CampaignState) -> bool:
    campaign = catalog.campaign(1, 44)
    return catalog.key(hash_secret(secret)) is not None and campaign is not None and campaign.state is state


async def _is_revoked(catalog: Catalog, secret: str) -> bool:
    key = catalog.key(hash_secret(secret))
    return key is not None and key.revoked_at is not None


async def test_templates_are_in_memory_only_where_they_are_needed(pool: Pool) -> None:
    await campaigns.apply_campaigns(pool, [a_campaign()])
    for templates in (True, False):
        async with running_catalog(pool, templates=templates) as catalog:
            found = catalog.campaign(1, 44)
            assert found
            assert bool(found.templates) is templates


async def test_a_snapshot_that_is_too_old_answers_nothing(url: str, pool: Pool) -> None:
    lost = await open_pool(url, size=2, connect_timeout=60)
    fresh = Catalog(lost, interval=0.25, max_age=5, templates=False)
    with pytest.raises(StoreUnavailable):
        fresh.key(b"")
    async with running_catalog(lost, max_age=3) as catalog:
        assert catalog.is_fresh
        lost.terminate()
        assert catalog.key(b"") is None
        await until(lambda: _is_stale(catalog), "the catalog is stale")
        for look in (
            lambda: catalog.key(b""),
            lambda: catalog.campaign(1, 1),
        ):
            with pytest.raises(StoreUnavailable):
                look()
        with pytest.raises(StoreUnavailable):
            await catalog.refresh()


async def _is_stale(catalog: Catalog) -> bool:
    return not catalog.is_fresh
