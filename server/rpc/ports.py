"""What the gRPC front needs of the rest; `app.py` plugs the store in here."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Protocol

from ..domain.campaign import Campaign
from ..domain.delivery import Delivery
from ..domain.key import ApiKey
from ..domain.limit import OwnLimit
from ..domain.once import Once
from ..domain.placement import Placement
from ..domain.trigger import Trigger

__all__ = ["Catalog", "Records", "Writer"]


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

    async def add(self, trigger: Trigger, place: Placement, once: Once | None = None) -> uuid.UUID:
        """Return when the trigger is on disk: its id, or that of an earlier one that `once` stands for.

        Raises:
            IdempotencyKeyReused: `once` has the key of a trigger with other content.
            Overloaded: too much waits already.
            StoreUnavailable: the database cannot be reached.
        """

    async def earlier(self, trigger: Trigger, once: Once) -> uuid.UUID | None:
        """Return the id of an earlier trigger that `once` stands for, if there is one; keep nothing.

        Raises:
            IdempotencyKeyReused: `once` has the key of a trigger with other content.
            StoreUnavailable: the database cannot be reached.
        """


class Records(Protocol):
    """Reads and changes what is not on the hot path. Each call may raise StoreUnavailable."""

    async def find_delivery(self, trigger_id: uuid.UUID, project_id: int) -> Delivery | None:
        """Return a trigger's delivery."""

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
