"""CampaignService of the admin API."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from clarion.admin.v1 import campaign_pb2 as pb
from clarion.admin.v1 import campaign_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.campaign import Campaign, CampaignState, Channel
from ..domain.project import Project
from ..errors import CampaignNotFound, InvalidRequest, Violation
from ..intake.contract import MAX_CAMPAIGN_ID
from ..intake.rules import require_valid
from ..store.admin import campaigns as store
from ..store.admin.projects import project_names
from ..store.pool import Connection, Pool, reached
from ..store.records.waiting import find_providers
from .call import AdminCall
from .campaign_content import (
    campaign_message,
    content_message,
    etag_of_campaign,
    to_campaign,
    values_of,
    with_content_of,
)
from .change import Change, changing
from .delivery_filters import campaign_id_in
from .errors import ResourceExists, WrongState
from .paging import page_start, page_token, require_etag
from .previews import Previews
from .recipients import channel_named

__all__ = ["CampaignServicer"]

_DEFAULT_PAGE = 100
_DEFAULT_VERSIONS = 20


class CampaignServicer(campaign_pb2_grpc.CampaignServiceServicer):
    """Manages campaigns.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._previews = Previews()

    async def ListCampaigns(  # noqa: N802 - gRPC's name
        self, request: pb.ListCampaignsRequest, call: AdminCall
    ) -> pb.ListCampaignsResponse:
        """Return a page of campaigns."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start: Any = page_start(request)
        async with reached():
            wanted = await call.scope(self._pool, request.project)
            found = await store.list_page(
                self._pool,
                wanted,
                state=request.campaign_state or None,
                campaign_id=campaign_id_in(request),
                channel=channel_named(request.campaign_channel, "campaign_channel"),
                name=request.name or None,
                after=(int(start[0]), int(start[1])) if start else (0, 0),
                limit=size + 1,
            )
            names = await project_names(self._pool)
        last = found[size - 1] if len(found) > size else None
        token = page_token(request, [last.project_id, last.id]) if last else ""
        page = [campaign_message(one, names[one.project_id]) for one in found[:size]]
        return pb.ListCampaignsResponse(campaigns=page, next_page_token=token)

    async def GetCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.GetCampaignRequest, call: AdminCall
    ) -> pb.GetCampaignResponse:
        """Return one campaign."""
        require_valid(request)
        async with reached():
            project, campaign = await _find(self._pool, call, request)
        return pb.GetCampaignResponse(campaign=campaign_message(campaign, project.name))

    async def CreateCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.CreateCampaignRequest, call: AdminCall
    ) -> pb.CreateCampaignResponse:
        """Create a campaign."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            project = await call.project(change.connection, request.project)
            number = _number(request)
            empty = Campaign(project.id, number, "", Channel.EMAIL, ())
            wanted = to_campaign(request, empty, await find_providers(self._pool))
            if await store.apply_campaign(change.connection, wanted, call.actor.name) != "created":
                raise ResourceExists(f"Project {project.name} has already a campaign {number}.")
            made = await _reread(change.connection, wanted)
            await _record(change, "campaign.create", project, None, made)
        return pb.CreateCampaignResponse(campaign=campaign_message(made, project.name))

    async def UpdateCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.UpdateCampaignRequest, call: AdminCall
    ) -> pb.UpdateCampaignResponse:
        """Replace the content of a campaign."""
        require_valid(request)
        providers = await self._providers()

        async def change_content(change: Change, before: Campaign) -> Campaign:
            _require_editable(before)
            wanted = to_campaign(request, before, providers)
            await store.apply_campaign(change.connection, wanted, call.actor.name)
            return await _reread(change.connection, wanted)

        message = await self._change(request, call, "campaign.update", change_content)
        return pb.UpdateCampaignResponse(campaign=message)

    async def PauseCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.PauseCampaignRequest, call: AdminCall
    ) -> pb.PauseCampaignResponse:
        """Pause a campaign."""
        message = await self._set_state(request, call, "campaign.pause", CampaignState.PAUSED)
        return pb.PauseCampaignResponse(campaign=message)

    async def ResumeCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.ResumeCampaignRequest, call: AdminCall
    ) -> pb.ResumeCampaignResponse:
        """Resume a campaign."""
        message = await self._set_state(request, call, "campaign.resume", CampaignState.ACTIVE)
        return pb.ResumeCampaignResponse(campaign=message)

    async def ArchiveCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.ArchiveCampaignRequest, call: AdminCall
    ) -> pb.ArchiveCampaignResponse:
        """Archive a campaign."""
        message = await self._set_state(
            request, call, "campaign.archive", CampaignState.PAUSED, archived=True
        )
        return pb.ArchiveCampaignResponse(campaign=message)

    async def ReleaseCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.ReleaseCampaignRequest, call: AdminCall
    ) -> pb.ReleaseCampaignResponse:
        """Make a campaign editable here."""

        async def release(change: Change, before: Campaign) -> Campaign:
            return await store.release(change.connection, before, call.actor.name)

        return pb.ReleaseCampaignResponse(
            campaign=await self._change(request, call, "campaign.release", release)
        )

    async def RollBackCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.RollBackCampaignRequest, call: AdminCall
    ) -> pb.RollBackCampaignResponse:
        """Make the content of an earlier version the next version. The state stays as it is."""
        require_valid(request)

        async def roll_back(change: Change, before: Campaign) -> Campaign:
            _require_editable(before)
            key = (before.project_id, before.id, request.version)
            version = await store.find_version(change.connection, *key)
            if version is None:
                description = f"campaign {before.id} has no version {request.version}"
                raise InvalidRequest([Violation("version", description, "UNKNOWN_VALUE")])
            wanted = with_content_of(version.campaign, before)
            await store.apply_campaign(change.connection, wanted, call.actor.name)
            return await _reread(change.connection, wanted)

        message = await self._change(request, call, "campaign.roll_back", roll_back)
        return pb.RollBackCampaignResponse(campaign=message)

    async def ListCampaignVersions(  # noqa: N802 - gRPC's name
        self, request: pb.ListCampaignVersionsRequest, call: AdminCall
    ) -> pb.ListCampaignVersionsResponse:
        """Return a page of a campaign's versions."""
        require_valid(request)
        size = request.page_size or _DEFAULT_VERSIONS
        start = page_start(request)
        async with reached():
            project, campaign = await _find(self._pool, call, request)
            before = int(str(start)) if start else None
            found = await store.list_versions(
                self._pool, project.id, campaign.id, before=before, limit=size + 1
            )
        token = page_token(request, found[size - 1].campaign.revision) if len(found) > size else ""
        versions = [
            pb.CampaignVersion(
                version=one.campaign.revision,
                content=content_message(one.campaign),
                create_time=timestamp(one.created_at),
                created_by=one.created_by,
            )
            for one in found[:size]
        ]
        return pb.ListCampaignVersionsResponse(campaign_versions=versions, next_page_token=token)

    async def PreviewCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.PreviewCampaignRequest, call: AdminCall
    ) -> pb.PreviewCampaignResponse:
        """Render a message with sample data."""
        require_valid(request)
        async with reached():
            project = await call.project(self._pool, request.project)
            campaign = await store.find_campaign(self._pool, project.id, _number(request))
            if request.HasField("content"):
                current = campaign or Campaign(project.id, _number(request), "", Channel.EMAIL, ())
                campaign = to_campaign(request, current, None)
            elif campaign is None:
                raise CampaignNotFound.of(request.campaign_id)
        return await self._previews.render(campaign, request, project.timezone)

    async def _set_state(
        self, request: Any, call: AdminCall, action: str, state: CampaignState, *, archived: bool = False
    ) -> pb.Campaign:
        async def change_state(change: Change, before: Campaign) -> Campaign:
            if before.state is state and bool(before.archived_at) is archived:
                return before
            return await store.set_state(change.connection, before, state, call.actor.name, archived=archived)

        return await self._change(request, call, action, change_state)

    async def _change(
        self, request: Any, call: AdminCall, action: str, apply: Callable[[Change, Campaign], Any]
    ) -> pb.Campaign:
        """Change a campaign, unless it has changed since the caller read it; return it as it is then."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            project, before = await _find(change.connection, call, request, lock=True)
            require_etag(request.etag, etag_of_campaign(before), f"Campaign {before.id}")
            after: Campaign = await apply(change, before)
            if after != before:
                await _record(change, action, project, before, after)
        return campaign_message(after, project.name)

    async def _providers(self) -> Collection[str] | None:
        async with reached():
            return await find_providers(self._pool)


def _require_editable(campaign: Campaign) -> None:
    if campaign.managed_by:
        raise WrongState(
            f"The file {campaign.managed_by} manages campaign {campaign.id}; change it there, or release it."
        )


async def _find(
    database: Pool | Connection, call: AdminCall, request: Any, *, lock: bool = False
) -> tuple[Project, Campaign]:
    """Return the project and the campaign that a request names.

    Raises:
        CampaignNotFound: The project has no such campaign.
        ProjectNotFound, RoleMissing: The caller may not use the project.
    """
    project = await call.project(database, request.project)
    campaign = await store.find_campaign(database, project.id, _number(request), lock=lock)
    if campaign is None:
        raise CampaignNotFound.of(request.campaign_id)
    return project, campaign


async def _reread(connection: Connection, campaign: Campaign) -> Campaign:
    found = await store.find_campaign(connection, campaign.project_id, campaign.id)
    assert found is not None  # noqa: S101 - just written
    return found


def _number(request: Any) -> int:
    """Return the campaign ID of a request.

    Raises:
        CampaignNotFound: No campaign can have this ID.
    """
    number = int(request.campaign_id)
    if number > MAX_CAMPAIGN_ID:
        raise CampaignNotFound.of(request.campaign_id)
    return number


async def _record(
    change: Change, action: str, project: Project, before: Campaign | None, after: Campaign
) -> None:
    await change.record(
        action,
        f"campaign/{project.name}/{after.id}",
        project_id=project.id,
        before=values_of(before) if before else None,
        after=values_of(after),
    )
