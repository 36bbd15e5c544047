"""The composition root: the only file that wires store, gRPC front, dispatcher and gateway together.

What takes long to import (gRPC, templates, providers) is imported by the functions that need it: a command
that reads a table does not.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from msgspec import structs

from gateway import HALF_THE_CORES, GatewayOptions

from ..config import Settings
from ..domain.campaign import Campaign, Channel
from ..domain.limit import Limit, RateLimiter
from ..errors import ConfigError
from ..process.readiness import report_readiness
from ..process.tasks import Tasks
from ..store.accept.group_commit import TriggerWriter
from ..store.accept.notify import Announcer
from ..store.catalog import Catalog
from ..store.pool import READING, Pool, open_pool, reached
from ..store.presence import Presence
from ..store.queue.triggers import SESSION, PostgresQueue
from ..store.queue.webhooks import WebhookQueue
from ..store.records.admin_lists import dead_letters, oldest_due
from ..store.records.change_feed import Feed
from ..store.records.project_slots import Turns
from ..store.records.reader import Records
from ..store.retention import forget_keys_forever, forget_messages_forever
from ..store.schema.migrate import is_current, pending

if TYPE_CHECKING:
    from ..dispatcher.providers.base import Provider
    from ..dispatcher.settings import DispatchSettings

__all__ = [
    "dispatch",
    "gateway_options",
    "opened_pool",
    "providers",
    "serve",
    "server_ready",
    "with_database",
]

log = structlog.get_logger(__name__)

# By itself gRPC tries again only after 1 s, then 1.6 s: a server that starts would wait for us.
_SOON_AGAIN = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]

# Connections for lists, and for watchers: they take none of those that accept triggers, nor each other's.
# One project's slow lists leave a connection to the other projects.
_FOR_LISTS, _FOR_WATCHERS = 3, 2
_LISTS_OF_A_PROJECT = _FOR_LISTS - 1
_PATIENCE = 1.0  # seconds that a list waits for its turn


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


async def serve(settings: Settings) -> None:
    """Run a gRPC server until SIGTERM or SIGINT; end gracefully.

    Raises:
        ConfigError: a setting is wrong, or the database is not migrated.
        StoreUnavailable: the database cannot be reached at the start.
    """
    from ..api.server import RpcServer  # noqa: PLC0415 - see above

    async with (
        opened_pool(settings, migrated=True) as pool,
        opened_pool(settings, READING, size=_FOR_LISTS) as reading,
        opened_pool(settings, READING, size=_FOR_WATCHERS) as watching,
        Tasks() as tasks,
    ):
        catalog = _catalog(pool, settings)
        await catalog.refresh()
        announcer = Announcer(pool)
        remember = settings.server.idempotency_ttl
        writer = TriggerWriter(pool, announcer, max_pending=settings.server.max_pending, remember=remember)
        limits = _rate_limiter(settings)
        presence = Presence(pool, limits.share_among)
        await presence.beat()
        tasks.start(catalog.run(), announcer.run(), writer.run(), presence.run())
        feed = Feed(watching, max_watchers=settings.server.max_watchers)
        tasks.start(forget_keys_forever(pool, remember), feed.run())
        server = RpcServer(
            catalog,
            writer,
            Records(pool, reading, Turns(_LISTS_OF_A_PROJECT, _PATIENCE)),
            feed,
            deadline=settings.server.deadline,
            limits=limits,
            max_concurrent=settings.server.max_concurrent,
            reflect=settings.server.reflection,
        )
        port = await server.start(settings.server.listen)
        tasks.start(report_readiness(catalog, lambda: is_current(pool), server.set_ready))
        gc.freeze()  # what is there now stays: the collector need not look at it again and again
        log.info("serving", listen=settings.server.listen, port=port)
        number = await tasks.until_signal()
        # SIGINT is somebody's Ctrl-C, or comes when the gateway has ended: nobody must be told in advance.
        lame_duck = settings.server.lame_duck if number == signal.SIGTERM else 0
        leaving = asyncio.create_task(presence.leave())
        await server.stop(lame_duck=lame_duck, grace=settings.server.shutdown_grace)
        await leaving
        log.info("server stopped")


async def dispatch(settings: Settings) -> None:
    """Run a dispatcher until SIGTERM or SIGINT; hand back what it holds.

    Raises:
        ConfigError: a setting is wrong, or the database is not migrated.
        StoreUnavailable: the database cannot be reached at the start.
    """
    from ..dispatcher import metrics  # noqa: PLC0415
    from ..dispatcher.dispatcher import Dispatcher  # noqa: PLC0415
    from ..dispatcher.router import Traffic  # noqa: PLC0415
    from ..dispatcher.trigger_sender import Deliverer  # noqa: PLC0415
    from ..process.metrics_server import address, serve_metrics  # noqa: PLC0415
    from .webhooks import poster, webhook_dispatcher  # noqa: PLC0415 - see above

    if settings.dispatch.metrics:
        address(settings.dispatch.metrics)  # a wrong one is told before anything is sent
    async with AsyncExitStack() as stack:
        by_name = providers(settings)
        for provider in by_name.values():
            stack.push_async_callback(provider.aclose)
        posts = poster(settings)
        stack.push_async_callback(posts.aclose)
        pool = await stack.enter_async_context(opened_pool(settings, SESSION, migrated=True))
        tasks = await stack.enter_async_context(Tasks())
        catalog = _catalog(pool, settings, for_dispatch=True)
        await catalog.refresh()
        queue = PostgresQueue(pool)
        stack.push_async_callback(queue.close)
        traffic = Traffic(by_name, ahead=1)
        presence = Presence(pool, traffic.share_among, role="dispatcher")
        await presence.beat()
        stack.push_async_callback(presence.leave)
        _warn_of_slow_providers(by_name, settings.dispatch.shutdown_grace)
        known = _CatalogCampaigns(catalog)
        sender = Deliverer(known, by_name)
        messages, pace = WebhookQueue(pool), _dispatch_settings(settings)
        dispatchers: list[Dispatcher[Any]] = [
            Dispatcher(queue, known, sender, traffic, pace),
            webhook_dispatcher(messages, catalog, posts, settings, pace),
        ]
        tasks.start(catalog.run(), presence.run(), forget_messages_forever(pool, settings.webhooks.keep))
        if settings.dispatch.metrics:
            look = partial(_look, pool, queue)
            tasks.start(serve_metrics(settings.dispatch.metrics), metrics.report(look, traffic.states))
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


def providers(settings: Settings) -> dict[str, Provider]:
    """Build the configured providers, by name.

    Raises:
        ConfigError: a provider's setting is wrong.
    """
    from ..dispatcher.providers import build as build_provider  # noqa: PLC0415 - see above

    data_dir = settings.data_dir.absolute()
    return {
        name: build_provider(name, table, data_dir=data_dir) for name, table in settings.providers.items()
    }


def gateway_options(
    settings: Settings, *, admin_socket: Path | None = None, spare: str = ""
) -> GatewayOptions:
    """Return the gateway's options; its own checks name what is out of range."""
    return GatewayOptions(
        listen_host=settings.gateway.host,
        listen_port=settings.gateway.port,
        upstreams=settings.gateway.upstreams,
        admin_socket=admin_socket,
        max_body_bytes=settings.gateway.max_body_bytes,
        max_batch_bytes=settings.gateway.max_batch_bytes,
        max_heap_bytes=settings.gateway.max_heap_bytes,
        max_concurrent_per_server=settings.gateway.max_concurrent_per_server,
        latency_target=settings.gateway.latency_target,
        max_connections=settings.gateway.max_connections,
        concurrency=settings.gateway.threads or HALF_THE_CORES,
        request_timeout=settings.gateway.request_timeout,
        access_log=settings.gateway.access_log,
        tls_certificate=_file(settings.gateway.tls_certificate),
        tls_key=_file(settings.gateway.tls_key),
        spare=spare,
    )


def _file(name: str) -> Path | None:
    return Path(name).expanduser() if name else None


def with_database(settings: Settings, url: str) -> Settings:
    """Return the settings with another database."""
    return structs.replace(settings, database=structs.replace(settings.database, url=url))


async def server_ready(target: str, timeout: float) -> None:  # noqa: ASYNC109 - grpc's own waiting
    """Return when the server at `host:port` or `unix:/path` says that it serves.

    Raises:
        grpc.aio.AioRpcError: it does not within `timeout` seconds.
    """
    import grpc  # noqa: PLC0415 - see above
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    async with grpc.aio.insecure_channel(target, options=_SOON_AGAIN) as channel:
        request = health_pb2.HealthCheckRequest()
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs know no methods
        await stub.Check(request, timeout=timeout, wait_for_ready=True)


@asynccontextmanager
async def opened_pool(
    settings: Settings,
    session: Mapping[str, str] | None = None,
    *,
    migrated: bool = False,
    size: int | None = None,
) -> AsyncIterator[Pool]:
    """Open a pool for the block; `session` are PostgreSQL settings for its connections.

    `size` is how many there may be at the most; as configured, if it is not given.

    Raises:
        ConfigError: no database is configured, or it is not migrated although `migrated` asks for that.
        StoreUnavailable: the database cannot be reached.
    """
    database = settings.database
    if not database.url:
        raise ConfigError("database.url is empty: set CLARION_DATABASE_URL, or start all with `clarion up`")
    pool = await open_pool(
        database.url,
        size=size or database.pool_size,
        connect_timeout=database.connect_timeout,
        settings=dict(session or {}),
    )
    try:
        if migrated and await pending(database.url):
            raise ConfigError("the database's schema is not up to date: run `clarion migrate`")
        yield pool
    finally:
        pool.terminate()


def _catalog(pool: Pool, settings: Settings, *, for_dispatch: bool = False) -> Catalog:
    return Catalog(
        pool,
        interval=settings.server.catalog_interval,
        max_age=settings.server.catalog_max_age,
        templates=for_dispatch,
        endpoints=for_dispatch,
    )


def _rate_limiter(settings: Settings) -> RateLimiter:
    limits = settings.limits
    return RateLimiter(
        per_key=Limit(limits.per_key, limits.per_key_burst),
        per_project=Limit(limits.per_project, limits.per_project_burst),
    )


def _dispatch_settings(settings: Settings) -> DispatchSettings:
    from ..dispatcher.settings import DispatchSettings  # noqa: PLC0415 - see above

    return DispatchSettings(
        lease=settings.dispatch.lease,
        poll_interval=settings.dispatch.poll_interval,
        grace=settings.dispatch.shutdown_grace,
    )
