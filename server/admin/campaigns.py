"""CampaignService of the admin API."""

from __future__ import annotations

from typing import Any, NamedTuple

from clarion.admin.v1 import campaign_pb2 as pb
from clarion.admin.v1 import campaign_pb2_grpc

from ..domain.campaign import Campaign, CampaignState, Channel
from ..errors import CampaignNotFound
from ..intake.rules import require_valid
from ..store.admin import campaigns as store
from ..store.admin.projects import project_names
from ..store.pool import Pool, reached
from ..store.records.waiting import find_providers
from .call import AdminCall
from .campaign_changes import (
    as_next_of,
    find,
    number_of,
    record,
    require_current,
    require_editable,
    reread,
)
from .campaign_content import campaign_message, checked_campaign
from .campaign_files import apply_campaigns
from .campaign_providers import ConfiguredProviders
from .campaign_versions import CampaignVersions
from .change import Change, changing
from .delivery_filters import campaign_id_in
from .errors import ResourceExists
from .paging import page_of, page_start
from .previews import Previews
from .recipients import channel_named

__all__ = ["CampaignServicer"]

_DEFAULT_PAGE = 100


class _Last(NamedTuple):
    """The sort key of the last campaign of a page."""

    project_id: int
    campaign_id: int


class CampaignServicer(CampaignVersions, campaign_pb2_grpc.CampaignServiceServicer):
    """Manages campaigns.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._previews = Previews()

    async def ListCampaigns(  # noqa: N802 - gRPC's name
        self, request: pb.ListCampaignsRequest, call: AdminCall
    ) -> pb.ListCampaignsResponse:
        """Return a page of campaigns."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start = page_start(request, _Last)
        async with reached():
            wanted = await call.scope(self.pool, request.project)
            found = await store.list_page(
                self.pool,
                wanted,
                state=request.campaign_state or None,
                campaign_id=campaign_id_in(request),
                channel=channel_named(request.campaign_channel, "campaign_channel"),
                name=request.name or None,
                after=start or (0, 0),
                limit=size + 1,
            )
            names = await project_names(self.pool)
        page, token = page_of(request, found, size, lambda one: _Last(one.project_id, one.id))
        messages = [campaign_message(one, names[one.project_id]) for one in page]
        return pb.ListCampaignsResponse(campaigns=messages, next_page_token=token)

    async def GetCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.GetCampaignRequest, call: AdminCall
    ) -> pb.GetCampaignResponse:
        """Return one campaign."""
        require_valid(request)
        async with reached():
            project, campaign = await find(self.pool, call, request)
        return pb.GetCampaignResponse(campaign=campaign_message(campaign, project.name))

    async def CreateCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.CreateCampaignRequest, call: AdminCall
    ) -> pb.CreateCampaignResponse:
        """Create a campaign."""
        require_valid(request)
        number = number_of(request)
        # Before the transaction, so that a call never holds a connection while it waits.
        providers = await self._providers()
        async with reached():
            project = await call.project(self.pool, request.project)
        state = CampaignState(request.campaign_state or CampaignState.ACTIVE)
        empty = Campaign(project.id, number, "", Channel.EMAIL, (), state=state)
        wanted = await checked_campaign(request, empty, providers, call.actor.owner)
        async with changing(self.pool, call) as change:
            if await store.apply_campaign(change.connection, wanted, call.actor.name) != "created":
                taken = f"Project {project.name} already has a campaign {number}; choose another ID."
                raise ResourceExists(taken)
            made = await reread(change.connection, wanted)
            await record(change, "campaign.create", project, None, made)
        return pb.CreateCampaignResponse(campaign=campaign_message(made, project.name))

    async def UpdateCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.UpdateCampaignRequest, call: AdminCall
    ) -> pb.UpdateCampaignResponse:
        """Replace the content of a campaign."""
        require_valid(request)
        providers = await self._providers()
        async with reached():
            _, current = await find(self.pool, call, request)
        require_current(request, current)
        require_editable(current)
        checked = await checked_campaign(request, current, providers, call.actor.owner)

        async def change_content(change: Change, before: Campaign) -> Campaign:
            require_editable(before)
            wanted = as_next_of(before, checked)
            await store.apply_campaign(change.connection, wanted, call.actor.name)
            return await reread(change.connection, wanted)

        message = await self.change(request, call, "campaign.update", change_content)
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
            campaign=await self.change(request, call, "campaign.release", release)
        )

    async def ApplyCampaigns(  # noqa: N802 - gRPC's name
        self, request: pb.ApplyCampaignsRequest, call: AdminCall
    ) -> pb.ApplyCampaignsResponse:
        """Create or replace the campaigns of a file, or compare them."""
        return await apply_campaigns(self.pool, request, call)

    async def PreviewCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.PreviewCampaignRequest, call: AdminCall
    ) -> pb.PreviewCampaignResponse:
        """Render a message with sample data."""
        require_valid(request)
        async with reached():
            project = await call.project(self.pool, request.project)
            campaign = await store.find_campaign(self.pool, project.id, number_of(request))
        if campaign is None and request.HasField("content"):
            campaign = Campaign(project.id, number_of(request), "", Channel.EMAIL, ())
        if campaign is None:
            raise CampaignNotFound.of(request.campaign_id)
        return await self._previews.sample(campaign, request, project.timezone, call.actor.owner)

    async def _set_state(
        self, request: Any, call: AdminCall, action: str, state: CampaignState, *, archived: bool = False
    ) -> pb.Campaign:
        async def change_state(change: Change, before: Campaign) -> Campaign:
            if before.state is state and bool(before.archived_at) is archived:
                return before
            return await store.set_state(change.connection, before, state, call.actor.name, archived=archived)

        return await self.change(request, call, action, change_state)

    async def _providers(self) -> ConfiguredProviders | None:
        async with reached():
            return await find_providers(self.pool)
