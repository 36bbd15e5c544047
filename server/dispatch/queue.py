"""What the worker needs of the store: a queue with leases, and the campaigns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..domain.campaign import Campaign
from ..domain.delivery import Claim, Finished

__all__ = ["Campaigns", "Queue"]


class Queue(Protocol):
    """Due triggers, held under leases. Every method may raise `StoreUnavailable`."""

    async def claim(self, free: Mapping[str, int], lease: float) -> list[Claim]:
        """Take due triggers under a lease and raise the attempt number of each by one.

        Args:
            free: The providers' names, each with the number of triggers wanted at the most.
            lease: Seconds for which nobody else gets them.
        """
        ...

    async def finish(self, finished: Sequence[Finished]) -> None:
        """Record attempts, and end, reschedule or bury their triggers, in one durable commit.

        After a `StoreUnavailable` the same list comes again, even if that commit had
        succeeded: an attempt is known by its trigger's id and its number.
        """
        ...

    async def hand_back(self, claims: Sequence[Claim]) -> None:
        """Give claims back: due at once again, and no attempt counted."""
        ...

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - its end is no error
        """Return once new work was announced, or after `timeout` seconds."""
        ...


class Campaigns(Protocol):
    """The campaigns as they are now, at most one second old."""

    async def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the campaign's current revision, or None. May raise `StoreUnavailable`."""
        ...
