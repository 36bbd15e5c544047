"""Applies the campaigns of a file. From then on, the file manages them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from clarion.admin.v1 import campaign_pb2 as pb

from ..domain.campaign import Campaign, CampaignState, Channel
from ..errors import InvalidRequest, Violation
from ..intake.contract import MAX_CAMPAIGN_ID
from ..intake.rules import require_valid
from ..store.admin import campaigns as store
from ..store.pool import Pool, reached
from ..store.records.waiting import find_providers
from .call import AdminCall
from .campaign_changes import reread
from .campaign_content import CHECKS, changed_fields, to_campaign, values_of
from .campaign_providers import ConfiguredProviders
from .change import Change, changing
from .errors import WrongState

__all__ = ["apply_campaigns"]


async def apply_campaigns(
    pool: Pool, request: pb.ApplyCampaignsRequest, call: AdminCall
) -> pb.ApplyCampaignsResponse:
    """Create or replace the campaigns of a request in one transaction, or compare them.

    Args:
        pool: The database.
        request: The request.
        call: The call.

    Raises:
        InvalidRequest: A campaign is invalid; every violation is included.
        ProjectNotFound, RoleMissing: The caller may not use the project.
        Overloaded: Too many calls check campaigns.
        WrongState: A campaign was changed elsewhere, and the request does not overwrite it.
    """
    require_valid(request)
    async with reached():
        project = await call.project(pool, request.project)
        providers = await find_providers(pool)
    campaigns = await CHECKS.run(call.actor.owner, _checked, request, project.id, providers)
    results: list[pb.AppliedCampaignResult] = []
    async with changing(pool, call) as change:
        # In the order of their IDs, so that two calls with the same campaigns do not wait for each other.
        for one in sorted(campaigns, key=lambda one: one.id):
            before = await store.find_campaign(change.connection, project.id, one.id, lock=True)
            fields = changed_fields(before, one) if before else []
            if before and fields and not request.overwrite:
                _require_managed(before, one)
            if request.dry_run:
                result = _expected(before, one, fields)
            else:
                result = await _write(change, project.name, before, one)
            results.append(pb.AppliedCampaignResult(campaign_id=one.id, result=result, changed_fields=fields))
    return pb.ApplyCampaignsResponse(results=results)


def _checked(
    request: pb.ApplyCampaignsRequest, project_id: int, providers: ConfiguredProviders | None
) -> list[Campaign]:
    """Return the campaigns of a request.

    Raises:
        InvalidRequest: One is invalid; every violation is included.
    """
    campaigns: list[Campaign] = []
    violations: list[Violation] = []
    seen: set[int] = set()
    for place, one in enumerate(request.campaigns):
        number = int(one.campaign_id)
        state = CampaignState(one.campaign_state or CampaignState.ACTIVE)
        empty = Campaign(project_id, number, "", Channel.EMAIL, (), state=state)
        here = f"campaigns[{place}]"
        if number > MAX_CAMPAIGN_ID:
            description = f"must be an integer from 1 to {MAX_CAMPAIGN_ID}"
            violations.append(Violation(f"{here}.campaign_id", description, "WRONG_TYPE"))
        if number in seen:
            violations.append(Violation(f"{here}.campaign_id", "is given twice", "ALREADY_USED"))
        seen.add(number)
        try:
            campaign = to_campaign(one, empty, providers)
        except InvalidRequest as error:
            violations += [
                Violation(f"{here}.{found.field}", found.description, found.reason)
                for found in error.violations
            ]
        else:
            campaigns.append(replace(campaign, managed_by=request.file_name))
    if violations:
        raise InvalidRequest(violations)
    return campaigns


def _require_managed(current: Campaign, wanted: Campaign) -> None:
    """Check that the file still manages a campaign. One whose origin is unknown (None) may be replaced.

    Raises:
        WrongState: It was changed in the portal, or another file manages it.
    """
    if current.managed_by in (None, wanted.managed_by):
        return
    where = (
        f"is managed by the file {current.managed_by}" if current.managed_by else "was changed in the portal"
    )
    raise WrongState(
        f"Campaign {current.id} {where}. See what differs (`clarion campaigns diff FILE`), then apply the"
        " file with overwrite (`--overwrite`) to replace it."
    )


def _expected(before: Campaign | None, wanted: Campaign, fields: Collection[str]) -> str:
    """Return what `store.apply_campaign` would return."""
    if before is None:
        return "created"
    return "changed" if fields or before.managed_by != wanted.managed_by else "unchanged"


async def _write(change: Change, project: str, before: Campaign | None, wanted: Campaign) -> str:
    """Write a campaign, and return `created`, `changed` or `unchanged`."""
    result = await store.apply_campaign(change.connection, wanted, change.call.actor.name)
    if result != "unchanged":
        await change.record(
            "campaign.apply",
            f"campaign/{project}/{wanted.id}",
            project_id=wanted.project_id,
            before=values_of(before) if before else None,
            after=values_of(await reread(change.connection, wanted)),
        )
    return result
