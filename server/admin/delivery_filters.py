"""The filters of deliveries in requests of the admin API."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidRequest, Violation
from ..intake.contract import MAX_CAMPAIGN_ID
from ..store.pool import Pool
from ..store.records.admin_lists import AdminFilter
from .call import AdminCall
from .moments import moment_in
from .recipients import as_stored, channel_of

__all__ = ["admin_filter", "campaign_id_in", "shown_filter"]


async def admin_filter(pool: Pool, call: AdminCall, request: Any) -> AdminFilter:
    """Return the filter that a request states, restricted to the projects that the caller may use.

    Args:
        pool: The database.
        call: The call.
        request: A request that satisfies the rules in the protos.

    Raises:
        InvalidRequest: The campaign ID is too large, or a time out of range.
        ProjectNotFound, RoleMissing: The caller may not use the project.
    """
    if request.project:
        await call.project(pool, request.project)
    channel = channel_of(request.channel)
    return AdminFilter(
        campaign_id=campaign_id_in(request),
        channel=channel,
        external_id=request.external_id or None,
        since=moment_in(request, "accepted_since") if request.HasField("accepted_since") else None,
        error=request.error or None,
        project=request.project or None,
        visible=call.visible,
        before=moment_in(request, "accepted_before") if request.HasField("accepted_before") else None,
        address=as_stored(channel, request.address) if request.address else None,
        provider=request.provider or None,
        error_group=request.error_group or None,
    )


def campaign_id_in(request: Any) -> int | None:
    """Return the campaign ID in a request, or None if it has none.

    Raises:
        InvalidRequest: It is too large.
    """
    campaign_id = int(request.campaign_id) if request.campaign_id else None
    if campaign_id is not None and campaign_id > MAX_CAMPAIGN_ID:
        description = f"must be an integer from 1 to {MAX_CAMPAIGN_ID}"
        raise InvalidRequest([Violation("campaign_id", description, "WRONG_TYPE")])
    return campaign_id


def shown_filter(wanted: AdminFilter) -> list[str]:
    """Return what a filter selects by, such as `campaign_id: 44`, in the words of the API."""
    named = {
        "project": wanted.project,
        "campaign_id": wanted.campaign_id,
        "channel": wanted.channel,
        "external_id": wanted.external_id,
        "address": wanted.address,
        "provider": wanted.provider,
        "error": wanted.error,
        "error_group": wanted.error_group,
        "accepted_since": wanted.since.isoformat() if wanted.since else None,
        "accepted_before": wanted.before.isoformat() if wanted.before else None,
    }
    return [f"{name}: {value}" for name, value in named.items() if value is not None]
