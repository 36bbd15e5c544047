"""Assembles and runs the server process, which accepts triggers over gRPC.

gRPC, templates and providers are slow to import, so the functions that need them import them.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ..config import ServerSettings, Settings
from ..domain.limit import Limit, RateLimiter
from ..process.exposure import log_exposures
from ..process.metrics_server import metrics_served
from ..process.readiness import report_readiness
from ..process.tasks import Tasks
from ..process.traces import traces_exported
from ..store import metrics as store_metrics
from ..store.accept import metrics as accept_metrics
from ..store.accept.group_commit import TriggerWriter
from ..store.accept.notify import Notifier
from ..store.catalog import Catalog
from ..store.partitioning import Partitions
from ..store.pool import READING, Pool
from ..store.presence import Presence
from ..store.records.change_feed import ChangeFeed
from ..store.records.key_use import KeyUse
from ..store.records.project_slots import ProjectLimiter
from ..store.records.reader import Records
from ..store.retention import run_idempotency_retention, run_operation_retention
from ..store.schema.migrate import missing_indexes, schema_of
from ..store.schema.version import HEAD
from ..store.statistics.rollup import Rollup
from .certificates import certificate_of_server
from .common import build_catalog, opened_pool, primary_of

__all__ = ["serve"]

if TYPE_CHECKING:
    from ..api.server import RpcServer

log = structlog.get_logger(__name__)

# List calls, watch streams and operators have their own connections, so they cannot exhaust those of triggers
# or of each other. The limit of lists per project is one lower, so one project's lists cannot block others.
_FOR_LISTS, _FOR_WATCHERS, _FOR_OPERATORS = 3, 2, 4
_LISTS_OF_A_PROJECT = _FOR_LISTS - 1
_PATIENCE = 1.0  # seconds that a list call waits for a connection


async def serve(settings: Settings, config: Path | None) -> None:
    """Run a gRPC server until SIGTERM or SIGINT, then stop it gracefully.

    Args:
        settings: The settings.
        config: The file that they were read from, if any.

    Raises:
        ConfigError: a setting is wrong, or the database is not migrated.
        StoreUnavailable: the database cannot be reached at the start.
    """
    from ..admin.guard import admin_guards  # noqa: PLC0415 - see above
    from ..admin.operations import run_operations  # noqa: PLC0415
    from ..api.server import RpcServer  # noqa: PLC0415
    from ..channels.email_address import set_refused_domains  # noqa: PLC0415
    from .operators import build_backend, end_lost_sessions  # noqa: PLC0415

    set_refused_domains(settings.server.refused_domains)
    certificate = certificate_of_server(settings.server)
    primary = primary_of(settings)
    async with (
        metrics_served("server", settings.server.metrics, "server.metrics"),
        traces_exported("server"),
        opened_pool(settings, migrated=True, primary=primary) as pool,
        opened_pool(settings, READING, size=_FOR_LISTS, primary=primary) as reading,
        opened_pool(settings, READING, size=_FOR_WATCHERS, primary=primary) as watching,
        opened_pool(settings, size=_FOR_OPERATORS, primary=primary) as for_operators,
        Tasks() as tasks,
    ):
        catalog = build_catalog(pool, settings)
        await catalog.refresh()
        notifier = Notifier(pool)
        key_lifetime = settings.server.idempotency_ttl
        writer = TriggerWriter(
            pool, notifier, max_pending=settings.server.max_pending, key_lifetime=key_lifetime
        )
        pools = {"accepting": pool, "lists": reading, "watchers": watching, "operators": for_operators}
        _watch(pools, catalog, writer)
        limits = _rate_limiter(settings)
        presence = Presence(pool, limits.share_among)
        await presence.beat()
        tasks.start(primary.watch(), catalog.run(), notifier.run(), writer.run(), presence.run())
        key_use = KeyUse(pool)
        feed = ChangeFeed(watching, max_watchers=settings.server.max_watchers)
        tasks.start(run_idempotency_retention(pool, key_lifetime), feed.run(), key_use.run())
        tasks.start(Partitions(for_operators, settings.retention.record).run())
        tasks.start(
            Rollup(watching).run(), run_operations(for_operators), run_operation_retention(for_operators)
        )
        backend = build_backend(settings, for_operators)
        await end_lost_sessions(backend)
        server = RpcServer(
            catalog,
            writer,
            Records(pool, reading, ProjectLimiter(_LISTS_OF_A_PROJECT, _PATIENCE)),
            feed,
            deadline=settings.server.deadline,
            limits=limits,
            max_concurrent=settings.server.max_concurrent,
            reflect=settings.server.reflection,
            note_use=key_use.note,
            knows_gateways=settings.server.knows_gateways,
            guards=admin_guards(backend, deadline=settings.server.deadline),
        )
        port = await server.start(settings.server.listen, certificate.credentials() if certificate else None)
        if certificate:
            tasks.start(certificate.watch())
        tasks.start(report_readiness(catalog, lambda: _schema_is_usable(pool), server.set_ready))
        gc.freeze()  # these objects are never freed, so the garbage collector can skip them
        log_exposures(config)
        log.info("serving", listen=settings.server.listen, port=port)
        await _stop_on_signal(server, settings.server, tasks, presence)


async def _stop_on_signal(
    server: RpcServer, settings: ServerSettings, tasks: Tasks, presence: Presence
) -> None:
    """Wait for a signal, then let the server finish its calls."""
    number = await tasks.until_signal()
    # SIGINT means Ctrl-C or that the gateway has ended, so no gateway has to notice the shutdown first.
    lame_duck = settings.lame_duck if number == signal.SIGTERM else 0
    leaving = asyncio.create_task(presence.leave())
    await server.stop(lame_duck=lame_duck, grace=settings.shutdown_grace)
    await leaving
    log.info("server stopped")


def _watch(pools: Mapping[str, Pool], catalog: Catalog, writer: TriggerWriter) -> None:
    """Report these whenever the metrics are read."""
    for name, pool in pools.items():
        store_metrics.watch_pool(name, pool)
    store_metrics.watch_catalog(lambda: catalog.age)
    accept_metrics.watch_pending(lambda: writer.pending)


async def _schema_is_usable(pool: Pool) -> bool:
    found = await schema_of(pool)
    missing = await missing_indexes(pool)
    store_metrics.schema_checked(int(found.number or 0), int(HEAD), len(missing))
    return not found.problem


def _rate_limiter(settings: Settings) -> RateLimiter:
    limits = settings.limits
    return RateLimiter(
        per_key=Limit(limits.per_key, limits.per_key_burst),
        per_project=Limit(limits.per_project, limits.per_project_burst),
    )
