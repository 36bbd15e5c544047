"""What all methods of campaigns share: they find the campaign of a call, change it, and record the change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from clarion.admin.v1 import campaign_pb2 as pb

from ..domain.campaign import Campaign
from ..domain.project import Project
from ..errors import CampaignNotFound
from ..intake.contract import MAX_CAMPAIGN_ID
from ..intake.rules import require_valid
from ..store.admin import campaigns as store
from ..store.pool import Connection, Pool
from .call import AdminCall
from .campaign_content import campaign_message, etag_of_campaign, values_of
from .change import Change, changing
from .errors import WrongState
from .paging import require_etag

__all__ = [
    "CampaignChanges",
    "as_next_of",
    "find",
    "number_of",
    "record",
    "require_current",
    "require_editable",
    "reread",
]


class CampaignChanges:
    """Changes campaigns.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def change(
        self,
        request: Any,
        call: AdminCall,
        action: str,
        apply: Callable[[Change, Campaign], Awaitable[Campaign]],
    ) -> pb.Campaign:
        """Change a campaign, unless it has changed since the caller read it; return it as it is then."""
        require_valid(request)
        async with changing(self.pool, call) as change:
            project, before = await find(change.connection, call, request, lock=True)
            require_current(request, before)
            after = await apply(change, before)
            if after != before:
                await record(change, action, project, before, after)
        return campaign_message(after, project.name)


def require_current(request: Any, campaign: Campaign) -> None:
    """Check that the caller has read the current version of a campaign.

    Raises:
        EtagMismatch: It has changed since.
    """
    require_etag(request.etag, etag_of_campaign(campaign), f"Campaign {campaign.id}")


def as_next_of(current: Campaign, checked: Campaign) -> Campaign:
    """Return content that was checked before the transaction as the next version of a campaign."""
    return replace(checked, state=current.state, revision=current.revision)


def require_editable(campaign: Campaign) -> None:
    """Check that no file manages the campaign.

    Raises:
        WrongState: One does.
    """
    if campaign.managed_by:
        raise WrongState(
            f"The file {campaign.managed_by} manages campaign {campaign.id}; change it there, or release it."
        )


async def find(
    database: Pool | Connection, call: AdminCall, request: Any, *, lock: bool = False
) -> tuple[Project, Campaign]:
    """Return the project and the campaign that a request names.

    Raises:
        CampaignNotFound: The project has no such campaign.
        ProjectNotFound, RoleMissing: The caller may not use the project.
    """
    project = await call.project(database, request.project)
    campaign = await store.find_campaign(database, project.id, number_of(request), lock=lock)
    if campaign is None:
        raise CampaignNotFound.of(request.campaign_id)
    return project, campaign


async def reread(connection: Connection, campaign: Campaign) -> Campaign:
    """Return a campaign as it was just written."""
    found = await store.find_campaign(connection, campaign.project_id, campaign.id)
    assert found is not None  # noqa: S101 - just written
    return found


def number_of(request: Any) -> int:
    """Return the campaign ID of a request.

    Raises:
        CampaignNotFound: No campaign can have this ID.
    """
    number = int(request.campaign_id)
    if number > MAX_CAMPAIGN_ID:
        raise CampaignNotFound.of(request.campaign_id)
    return number


async def record(
    change: Change, action: str, project: Project, before: Campaign | None, after: Campaign
) -> None:
    """Record a change of a campaign in the audit log."""
    await change.record(
        action,
        f"campaign/{project.name}/{after.id}",
        project_id=project.id,
        before=values_of(before) if before else None,
        after=values_of(after),
    )
