"""What the worker needs of the store: a queue with leases, and the campaigns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from ..domain.campaign import Campaign
from ..domain.delivery import Claim, Finished, Returned, Share

__all__ = ["Campaigns", "Queue"]


class Queue(Protocol):
    """Due triggers, held under leases. Every method may raise `StoreUnavailable`."""

    async def claim(self, shares: Sequence[Share], lease: float) -> list[Claim]:
        """Take due triggers under a lease and raise the attempt number of each by one.

        Args:
            shares: The lanes, each with the provider that sends and the number of triggers wanted at most.
            lease: Seconds for which nobody else gets them.
        """
        ...

    async def lanes(self) -> set[str]:
        """Return the lanes in which anything waits."""
        ...

    async def bury_expired(self, error: str) -> int:
        """Make dead letters of what has expired while it waited; return how many."""
        ...

    async def finish(self, finished: Sequence[Finished]) -> None:
        """Record attempts, and end, reschedule or bury their triggers, in one durable commit.

        After a `StoreUnavailable` the same list comes again, even if that commit had
        succeeded: an attempt is known by its trigger's id and its number.
        """
        ...

    async def hand_back(self, returned: Sequence[Returned]) -> None:
        """Give claims back: due after their wait, and no attempt counted."""
        ...

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - its end is no error
        """Return once new work was announced, or after `timeout` seconds."""
        ...


class Campaigns(Protocol):
    """The campaigns as they are now, at most one second old."""

    async def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the campaign's current revision, or None. May raise `StoreUnavailable`."""
        ...

    def timezone(self, project_id: int) -> str:
        """Return the IANA time zone of users whose own is not known."""
        ...

    def lanes(self) -> Collection[str]:
        """Return the lanes of all campaigns."""
        ...
