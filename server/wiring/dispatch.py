"""Runs the dispatcher process, which claims due triggers and webhook messages, and sends them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from msgspec import structs

from ..config import Settings
from ..dispatcher import metrics
from ..dispatcher.dispatcher import Dispatcher
from ..dispatcher.lane_mover import LaneMover
from ..dispatcher.providers.base import Provider
from ..dispatcher.router import ProviderRouter
from ..dispatcher.test_recipients import SimulatedProvider
from ..dispatcher.trigger_sender import TriggerSender
from ..dispatcher.webhooks.client import Poster
from ..dispatcher.webhooks.endpoints import AHEAD, Endpoints
from ..dispatcher.webhooks.sender import WebhookSender
from ..domain.campaign import TEST_PROVIDER, Campaign, is_test_lane
from ..domain.figures import DatabaseFigures, QueueFigures
from ..domain.waiting import ProviderStatus
from ..domain.webhook import WebhookClaim
from ..process.exposure import log_exposures
from ..process.metrics_server import metrics_served
from ..process.tasks import Tasks
from ..process.traces import traces_exported
from ..store import metrics as store_metrics
from ..store.catalog import Catalog
from ..store.figures import crowds, database_figures, queued
from ..store.pool import Pool, reached
from ..store.presence import Presence
from ..store.queue import sending_hold
from ..store.queue.triggers import SESSION, PostgresQueue
from ..store.queue.webhooks import WebhookQueue
from ..store.records.admin_lists import dead_letters, oldest_due
from ..store.retention import RecordRetention, run_webhook_retention
from .common import build_catalog, build_providers, opened_pool, primary_of
from .webhooks import build_poster

__all__ = ["dispatch", "webhook_dispatcher"]

log = structlog.get_logger(__name__)


class _CatalogCampaigns:
    """Adapts the catalog to the dispatcher's `Campaigns`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        return await self._catalog.newest_campaign(project_id, campaign_id)

    async def current_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        return await self._catalog.current_campaign(project_id, campaign_id)

    def timezone(self, project_id: int) -> str:
        return self._catalog.project_timezone(project_id)

    def lanes(self) -> frozenset[str]:
        return self._catalog.lanes


async def dispatch(settings: Settings, config: Path | None) -> None:
    """Run a dispatcher until SIGTERM or SIGINT, then release its claims.

    Args:
        settings: The settings.
        config: The file that they were read from, if any.

    Raises:
        ConfigError: A setting is invalid, or the database is not migrated.
        StoreUnavailable: The database cannot be reached at startup.
    """
    async with AsyncExitStack() as stack:
        served = metrics_served("dispatcher", settings.dispatch.metrics, "dispatch.metrics")
        await stack.enter_async_context(served)
        await stack.enter_async_context(traces_exported("dispatcher"))
        providers = build_providers(settings)
        for provider in providers.values():
            stack.push_async_callback(provider.aclose)
        poster = build_poster(settings)
        stack.push_async_callback(poster.aclose)
        primary = primary_of(settings)
        pool = await stack.enter_async_context(
            opened_pool(
                settings, SESSION, migrated=True, primary=primary, on_connect=sending_hold.hold_if_restored
            )
        )
        tasks = await stack.enter_async_context(Tasks())
        catalog = build_catalog(pool, settings, for_dispatch=True)
        await catalog.refresh()
        queue, messages = PostgresQueue(pool), WebhookQueue(pool)
        stack.push_async_callback(queue.close)
        messenger = webhook_dispatcher(messages, catalog, poster, settings)
        router = ProviderRouter({**providers, TEST_PROVIDER: SimulatedProvider()}, ahead=1)
        campaigns = _CatalogCampaigns(catalog)
        sender = TriggerSender(campaigns, providers, count_campaigns=settings.dispatch.metrics_by_campaign)
        status = partial(_statuses, router, sender, providers)
        presence = Presence(pool, router.share_among, role="dispatcher", status=status)
        await presence.beat()
        stack.push_async_callback(presence.leave)
        tasks.start(primary.watch(), catalog.run(), presence.run())
        tasks.start(run_webhook_retention(pool, settings.webhooks.keep))
        keep = settings.retention
        retention = RecordRetention(pool, content=keep.content, record=keep.record, audit=keep.audit)
        await retention.report()
        tasks.start(retention.run())
        store_metrics.watch_pool("dispatching", pool)
        store_metrics.watch_catalog(lambda: catalog.age)
        if settings.dispatch.metrics:
            metrics.watch_disk(settings.data_dir)
            metrics.watch_receivers(messenger.breaker_states)
            figures = partial(_figures, pool, queue, messages)
            tasks.start(metrics.report(figures, router.breaker_states, router.medians))
        mover = LaneMover(queue, lambda: catalog.lanes_by_campaign)
        triggers = Dispatcher(queue, campaigns, sender, router, settings.dispatch, on_room=mover.request_more)
        tasks.start(mover.run())
        log_exposures(config)
        log.info("dispatching", providers=sorted(providers))
        gc.freeze()  # these objects are never freed, so the garbage collector can skip them
        await _run(tasks, triggers, messenger)
        log.info("dispatcher stopped")


def _statuses(
    router: ProviderRouter, sender: TriggerSender, providers: Mapping[str, Provider]
) -> Mapping[str, ProviderStatus]:
    """Return the status of each provider, for the reports that commands show."""
    paused = sender.suppression_paused()
    channels = {name: tuple(sorted(one.channels)) for name, one in providers.items()}
    return {
        name: structs.replace(status, suppression_paused=name in paused, channels=channels.get(name, ()))
        for name, status in router.statuses().items()
    }


def webhook_dispatcher(
    queue: WebhookQueue, catalog: Catalog, poster: Poster, settings: Settings
) -> Dispatcher[WebhookClaim]:
    """Return the dispatcher of webhook messages, for the endpoints that the catalog has now and later."""
    webhooks = settings.webhooks
    endpoints = Endpoints(
        lambda: catalog.webhooks, timeout=webhooks.timeout, concurrency=webhooks.concurrency
    )
    sender = WebhookSender(endpoints, poster)
    return Dispatcher(queue, endpoints, sender, ProviderRouter(endpoints, ahead=AHEAD), settings.dispatch)


async def _run(tasks: Tasks, *dispatchers: Dispatcher[Any]) -> None:
    """Run dispatchers until a signal, or until any task fails, and let them finish."""
    running = tasks.start(*(dispatcher.run() for dispatcher in dispatchers))
    try:
        await tasks.until_signal()
    finally:  # even after a failure, the outcomes of messages in flight must be recorded
        for dispatcher in dispatchers:
            dispatcher.stop()
        await asyncio.wait(running)
    await asyncio.gather(*running)


async def _figures(
    pool: Pool, queue: PostgresQueue, messages: WebhookQueue
) -> tuple[QueueFigures, DatabaseFigures]:
    async with reached():
        lanes = sorted(lane for lane in await queue.lanes() if not is_test_lane(lane))
        figures = QueueFigures(
            await oldest_due(pool, lanes),
            await queued(pool, lanes),
            await dead_letters(pool),
            await messages.waiting(),
            await crowds(pool, lanes),
            held=await sending_hold.find_hold(pool) is not None,
        )
        return figures, await database_figures(pool)
