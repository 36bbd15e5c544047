"""The dispatcher process: claims due triggers and webhook messages, and sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from ..config import Settings
from ..domain.campaign import Campaign, Channel
from ..process.tasks import Tasks
from ..store.catalog import Catalog
from ..store.pool import Pool, reached
from ..store.presence import Presence
from ..store.queue.triggers import SESSION, PostgresQueue
from ..store.queue.webhooks import WebhookQueue
from ..store.records.admin_lists import dead_letters, oldest_due
from ..store.retention import run_webhook_retention
from .common import build_catalog, build_providers, opened_pool

if TYPE_CHECKING:
    from ..dispatcher.dispatcher import Dispatcher
    from ..dispatcher.providers.base import Provider

log = structlog.get_logger(__name__)


__all__ = ["dispatch"]


class _CatalogCampaigns:
    """The catalog, as the dispatcher sees it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        return await self._catalog.newest_campaign(project_id, campaign_id)

    def timezone(self, project_id: int) -> str:
        return self._catalog.project_timezone(project_id)

    def lanes(self) -> frozenset[str]:
        return self._catalog.lanes


async def dispatch(settings: Settings) -> None:
    """Run a dispatcher until SIGTERM or SIGINT; hand back what it holds.

    Raises:
        ConfigError: a setting is wrong, or the database is not migrated.
        StoreUnavailable: the database cannot be reached at the start.
    """
    from ..dispatcher import metrics  # noqa: PLC0415
    from ..dispatcher.dispatcher import Dispatcher  # noqa: PLC0415
    from ..dispatcher.router import ProviderRouter  # noqa: PLC0415
    from ..dispatcher.trigger_sender import TriggerSender  # noqa: PLC0415
    from ..process.metrics_server import address, serve_metrics  # noqa: PLC0415
    from .webhooks import poster, webhook_dispatcher  # noqa: PLC0415 - see above

    if settings.dispatch.metrics:
        address(settings.dispatch.metrics)  # a wrong one is told before anything is sent
    async with AsyncExitStack() as stack:
        by_name = build_providers(settings)
        for provider in by_name.values():
            stack.push_async_callback(provider.aclose)
        posts = poster(settings)
        stack.push_async_callback(posts.aclose)
        pool = await stack.enter_async_context(opened_pool(settings, SESSION, migrated=True))
        tasks = await stack.enter_async_context(Tasks())
        catalog = build_catalog(pool, settings, for_dispatch=True)
        await catalog.refresh()
        queue = PostgresQueue(pool)
        stack.push_async_callback(queue.close)
        router = ProviderRouter(by_name, ahead=1)
        presence = Presence(pool, router.share_among, role="dispatcher")
        await presence.beat()
        stack.push_async_callback(presence.leave)
        _warn_of_slow_providers(by_name, settings.dispatch.shutdown_grace)
        known = _CatalogCampaigns(catalog)
        sender = TriggerSender(known, by_name)
        messages = WebhookQueue(pool)
        dispatchers: list[Dispatcher[Any]] = [
            Dispatcher(queue, known, sender, router, settings.dispatch),
            webhook_dispatcher(messages, catalog, posts, settings),
        ]
        tasks.start(catalog.run(), presence.run(), run_webhook_retention(pool, settings.webhooks.keep))
        if settings.dispatch.metrics:
            look = partial(_look, pool, queue)
            tasks.start(serve_metrics(settings.dispatch.metrics), metrics.report(look, router.breaker_states))
            tasks.start(metrics.report_webhooks(messages.waiting))
        running = tasks.start(*(dispatcher.run() for dispatcher in dispatchers))
        log.info("dispatching", providers=sorted(by_name))
        try:
            await tasks.until_signal()
        finally:  # also when another task failed: what is under way is to be recorded
            for dispatcher in dispatchers:
                dispatcher.stop()
            await asyncio.wait(running)
        await asyncio.gather(*running)
        log.info("dispatcher stopped")


def _warn_of_slow_providers(by_name: Mapping[str, Provider], grace: float) -> None:
    slow = sorted(name for name, provider in by_name.items() if provider.timeout > grace)
    if slow:
        log.warning(
            "shutdown_grace is shorter than a send may take: it can be cut off, and made twice",
            providers=slow,
        )


async def _look(pool: Pool, queue: PostgresQueue) -> tuple[Mapping[Channel, float], int]:
    async with reached():
        return await oldest_due(pool, sorted(await queue.lanes())), await dead_letters(pool)
