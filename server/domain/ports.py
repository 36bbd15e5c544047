"""The interfaces of the store that the gRPC front uses; `server/wiring/serve.py` connects the two."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from .campaign import Campaign
from .delivery import Changes, Delivery, DeliveryFilter, Position, WatchFilter
from .idempotency import IdempotencyKey
from .key import ApiKey
from .limit import OwnLimit
from .placement import Placement, ValidTrigger
from .trigger import Trigger

__all__ = ["Catalog", "ChangeFeed", "Records", "Writer"]


class Catalog(Protocol):
    """An in-memory copy of keys and campaigns. Look-ups raise StoreUnavailable if it is too old to trust."""

    def key(self, secret_hash: bytes) -> ApiKey | None:
        """Return the key whose secret has this SHA-256, or None."""

    def key_of_certificate(self, identities: Iterable[str]) -> ApiKey | None:
        """Return the key to which the first of these identities is attached that any key has."""

    def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the project's campaign, or None."""

    def project_limit(self, project_id: int) -> OwnLimit:
        """Return the project's own rate limit."""

    def project_timezone(self, project_id: int) -> str:
        """Return the IANA time zone of users whose time zone is not known."""


class Writer(Protocol):
    """Commits triggers to disk."""

    async def add(
        self, trigger: Trigger, placement: Placement, key: IdempotencyKey | None = None, /
    ) -> uuid.UUID:
        """Commit a trigger, unless an earlier one has the same key.

        Returns:
            The id of the stored trigger: this one, or the earlier one with the same key.

        Raises:
            IdempotencyKeyReused: The key belongs to an earlier trigger with different content.
            Overloaded: Too many triggers are waiting.
            StoreUnavailable: The database cannot be reached.
        """

    async def add_all(self, triggers: Sequence[ValidTrigger], /) -> Sequence[uuid.UUID | Exception]:
        """Commit all triggers together.

        Returns:
            For each trigger, what `add` would return or raise.

        Raises:
            Overloaded: Too many triggers are waiting.
            StoreUnavailable: The database cannot be reached.
        """

    async def earlier(
        self, triggers: Sequence[tuple[Trigger, IdempotencyKey]], /
    ) -> Sequence[uuid.UUID | Exception | None]:
        """Find earlier triggers with the same keys; commit nothing.

        Returns:
            For each, the id of the earlier trigger, IdempotencyKeyReused if its content differs, or None.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """


class Records(Protocol):
    """Reads and changes data outside the hot path. Each call may raise StoreUnavailable."""

    async def find_delivery(self, trigger_id: uuid.UUID, project_id: int) -> Delivery | None:
        """Return a trigger's delivery, or None."""

    async def list_triggers(
        self, project_id: int, listed: DeliveryFilter, *, after: uuid.UUID | None, limit: int
    ) -> Sequence[Delivery]:
        """Return a page of deliveries, newest first, that are older than the trigger `after`."""

    async def cancel(self, trigger_id: uuid.UUID) -> bool:
        """Cancel a trigger if it is queued and not leased; return whether it was cancelled."""

    async def confirm_replicated(self) -> None:
        """Wait until the synchronous replicas have everything that was read."""

    async def list_campaigns(self, project_id: int, *, after: int, limit: int) -> Sequence[Campaign]:
        """Return a page of campaigns with ids above `after`, by id."""

    async def find_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return one campaign with its templates, or None."""

    async def list_keys(self, project_id: int) -> Sequence[ApiKey]:
        """Return the project's keys."""

    async def revoke_key(self, key_id: uuid.UUID, project_id: int) -> ApiKey:
        """Revoke a key of the project."""


class ChangeFeed(Protocol):
    """The log of changes to triggers. Each coroutine may raise StoreUnavailable."""

    def watching(self, project_id: int) -> AbstractContextManager[None]:
        """Return a context manager that counts one watcher of the project.

        Raises:
            Overloaded: There are too many watchers.
        """

    async def end(self) -> Position:
        """Return the current end of the log."""

    async def present(
        self, trigger_ids: Sequence[uuid.UUID], project_id: int
    ) -> Mapping[uuid.UUID, Delivery]:
        """Return the deliveries of the triggers that the project has, by trigger id."""

    async def after(
        self, position: Position, project_id: int, followed: WatchFilter, within: float
    ) -> Changes:
        """Return the changes after a position, or no changes if none occurs for `within` seconds.

        Raises:
            ServerEnding: This process is stopping.
        """

    def close(self) -> None:
        """End all streams, and reject new ones."""
