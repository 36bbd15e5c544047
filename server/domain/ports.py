"""What the gRPC front needs of the rest; `app.py` plugs the store in here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
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
    """Keys and campaigns in memory. Look-ups raise StoreUnavailable when they are too old to trust."""

    def key(self, secret_hash: bytes) -> ApiKey | None:
        """Return the key with this SHA-256."""

    def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the project's campaign."""

    def exists_elsewhere(self, campaign_id: int) -> bool:
        """Tell whether any project has a campaign of this number."""

    def project_limit(self, project_id: int) -> OwnLimit:
        """Return what limit the project has of its own."""

    def project_timezone(self, project_id: int) -> str:
        """Return the IANA time zone of users whose own is not known."""


class Writer(Protocol):
    """Makes triggers durable."""

    async def add(self, trigger: Trigger, place: Placement, once: IdempotencyKey | None = None) -> uuid.UUID:
        """Return when the trigger is on disk: its id, or that of an earlier one that `once` stands for.

        Raises:
            IdempotencyKeyReused: `once` has the key of a trigger with other content.
            Overloaded: too much waits already.
            StoreUnavailable: the database cannot be reached.
        """

    async def add_all(self, entries: Sequence[ValidTrigger]) -> Sequence[uuid.UUID | Exception]:
        """Return when all entries are on disk, in one commit; what `add` returns or raises of each.

        Raises:
            Overloaded: too much waits already.
            StoreUnavailable: the database cannot be reached.
        """

    async def earlier(
        self, asked: Sequence[tuple[Trigger, IdempotencyKey]]
    ) -> Sequence[uuid.UUID | Exception | None]:
        """Return for each the id of an earlier trigger that its key stands for, if any; keep nothing.

        Where the key stands for other content, it is IdempotencyKeyReused.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """


class Records(Protocol):
    """Reads and changes what is not on the hot path. Each call may raise StoreUnavailable."""

    async def find_delivery(self, trigger_id: uuid.UUID, project_id: int) -> Delivery | None:
        """Return a trigger's delivery."""

    async def list_triggers(
        self, project_id: int, listed: DeliveryFilter, *, after: uuid.UUID | None, limit: int
    ) -> Sequence[Delivery]:
        """Return a page of deliveries, the newest trigger first; `after`: those older than this one."""

    async def cancel(self, trigger_id: uuid.UUID) -> bool:
        """Take a trigger off the queue for good; tell whether it waited there, and nobody held it."""

    async def list_campaigns(self, project_id: int, *, after: int, limit: int) -> Sequence[Campaign]:
        """Return a page of campaigns by id."""

    async def find_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return one campaign, with templates."""

    async def list_keys(self, project_id: int) -> Sequence[ApiKey]:
        """Return the project's keys."""

    async def revoke_key(self, key_id: uuid.UUID, project_id: int) -> ApiKey | None:
        """Revoke a key of the project."""


class ChangeFeed(Protocol):
    """Tells what happens to triggers. Each call that waits may raise StoreUnavailable."""

    def watching(self, project_id: int) -> AbstractContextManager[None]:
        """Be one of the project's watchers for the block.

        Raises:
            Overloaded: too many watch already.
        """

    async def end(self) -> Position:
        """Return the present end of the log of changes."""

    async def present(
        self, trigger_ids: Sequence[uuid.UUID], project_id: int
    ) -> Mapping[uuid.UUID, Delivery]:
        """Return the deliveries of those triggers that the project has, by trigger id."""

    async def after(
        self, position: Position, project_id: int, followed: WatchFilter, within: float
    ) -> Changes:
        """Return what changed next behind a position; nothing, if nothing does `within` seconds.

        Raises:
            ServerEnding: this process ends.
        """

    def close(self) -> None:
        """End all watching, now and from now on."""
