"""The store as the gRPC front uses it: reads, and changes that are not on the hot path."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ...domain.campaign import Campaign
from ...domain.delivery import Delivery, DeliveryFilter
from ...domain.key import ApiKey
from ..admin import campaigns, keys
from ..pool import Connection, Pool, reached
from ..replication import confirm_replicated, replicated
from . import find as deliveries
from .cancel import cancel
from .pages import list_triggers
from .project_slots import ProjectLimiter

__all__ = ["Records"]


class Records:
    """Reads and changes records. Each call raises StoreUnavailable if the database cannot be reached.

    Args:
        pool: The pool for single rows.
        reading: The pool for lists, opened with the settings `READING`.
        slots: Limits the lists that a project reads at once.
    """

    def __init__(self, pool: Pool, reading: Pool, slots: ProjectLimiter) -> None:
        self._pool = pool
        self._reading = reading
        self._slots = slots

    async def find_delivery(self, trigger_id: uuid.UUID, project_id: int) -> Delivery | None:
        """Return a trigger's delivery, if it belongs to the project."""
        async with reached():
            return await deliveries.find_delivery(self._pool, trigger_id, project_id)

    async def list_triggers(
        self, project_id: int, listed: DeliveryFilter, *, after: uuid.UUID | None, limit: int
    ) -> Sequence[Delivery]:
        """Return a page of a project's triggers."""
        async with self._slots.slot(project_id), reached():
            return await list_triggers(self._reading, project_id, listed, after=after, limit=limit)

    async def cancel(self, trigger_id: uuid.UUID) -> bool:
        """Remove a trigger from the queue for good; return whether it was queued and not leased."""
        async with self._writing() as connection:
            return await cancel(connection, trigger_id)

    async def confirm_replicated(self) -> None:
        """Wait until the synchronous replicas have everything that was read."""
        async with reached(), self._pool.acquire() as connection:
            await confirm_replicated(connection)

    async def list_campaigns(self, project_id: int, *, after: int, limit: int) -> Sequence[Campaign]:
        """Return a page of campaigns by id."""
        async with reached():
            return await campaigns.list_campaigns(self._pool, project_id, after=after, limit=limit)

    async def find_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return one campaign with its templates."""
        async with reached():
            return await campaigns.find_campaign(self._pool, project_id, campaign_id)

    async def list_keys(self, project_id: int) -> Sequence[ApiKey]:
        """Return the project's keys."""
        async with reached():
            return await keys.list_keys(self._pool, project_id)

    async def revoke_key(self, key_id: uuid.UUID, project_id: int) -> ApiKey:
        """Revoke a key of the project; see `keys.revoke_key`."""
        async with self._writing() as connection:
            return await keys.revoke_key(connection, key_id, project_id)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Connection]:
        async with reached(), self._pool.acquire() as connection:
            with replicated(connection):
                yield connection
