"""Versions of campaigns: list, get, compare, roll back."""

from __future__ import annotations

from clarion.admin.v1 import campaign_pb2 as pb

from ..api.proto_messages import timestamp
from ..domain.campaign import Campaign, CampaignVersion
from ..errors import InvalidRequest, Violation
from ..intake.rules import require_valid
from ..store.admin import campaigns as store
from ..store.admin.drafts import find_draft
from ..store.pool import Connection, Pool, reached
from .call import AdminCall
from .campaign_changes import CampaignChanges, find, require_editable, reread
from .campaign_content import content_message, with_content_of
from .campaign_diff import compared
from .change import Change
from .errors import DraftNotFound, VersionNotFound
from .paging import page_of, page_start
from .template_thread import TemplateThread

__all__ = ["CampaignVersions"]

_DEFAULT_VERSIONS = 20
_COMPARING = TemplateThread("compare", max_calls=8, own=2)


class CampaignVersions(CampaignChanges):
    """Reads and compares versions of campaigns, and rolls back to one."""

    async def RollBackCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.RollBackCampaignRequest, call: AdminCall
    ) -> pb.RollBackCampaignResponse:
        """Make the content of an earlier version the next version. The state stays as it is."""
        require_valid(request)

        async def roll_back(change: Change, before: Campaign) -> Campaign:
            require_editable(before)
            key = (before.project_id, before.id, request.version)
            version = await store.find_version(change.connection, *key)
            if version is None:
                description = f"campaign {before.id} has no version {request.version}"
                raise InvalidRequest([Violation("version", description, "UNKNOWN_VALUE")])
            wanted = with_content_of(version.campaign, before)
            await store.apply_campaign(change.connection, wanted, call.actor.name)
            return await reread(change.connection, wanted)

        message = await self.change(request, call, "campaign.roll_back", roll_back)
        return pb.RollBackCampaignResponse(campaign=message)

    async def ListCampaignVersions(  # noqa: N802 - gRPC's name
        self, request: pb.ListCampaignVersionsRequest, call: AdminCall
    ) -> pb.ListCampaignVersionsResponse:
        """Return a page of a campaign's versions."""
        require_valid(request)
        size = request.page_size or _DEFAULT_VERSIONS
        start = page_start(request, int)
        async with reached():
            project, campaign = await find(self.pool, call, request)
            found = await store.list_versions(
                self.pool, project.id, campaign.id, before=start, limit=size + 1
            )
        page, token = page_of(request, found, size, lambda one: one.campaign.revision)
        return pb.ListCampaignVersionsResponse(campaign_versions=map(_message, page), next_page_token=token)

    async def GetCampaignVersion(  # noqa: N802 - gRPC's name
        self, request: pb.GetCampaignVersionRequest, call: AdminCall
    ) -> pb.GetCampaignVersionResponse:
        """Return one version of a campaign."""
        require_valid(request)
        async with reached():
            _, campaign = await find(self.pool, call, request)
            found = await _version(self.pool, campaign, int(request.version))
        return pb.GetCampaignVersionResponse(campaign_version=_message(found))

    async def CompareCampaignVersions(  # noqa: N802 - gRPC's name
        self, request: pb.CompareCampaignVersionsRequest, call: AdminCall
    ) -> pb.CompareCampaignVersionsResponse:
        """Return how two versions of a campaign differ."""
        require_valid(request)
        async with reached():
            _, campaign = await find(self.pool, call, request)
            older = await _version(self.pool, campaign, request.older_version)
            newer = await self._newer(campaign, request.newer_version)
        return await _COMPARING.run(call.actor.owner, compared, older.campaign, newer)

    async def _newer(self, campaign: Campaign, number: int) -> Campaign:
        """Return a version of a campaign, or the campaign with the content of its draft if the number is 0.

        Raises:
            DraftNotFound: The number is 0, and the campaign has no draft.
            VersionNotFound: The campaign has no version with this number.
        """
        if number:
            return (await _version(self.pool, campaign, number)).campaign
        draft = await find_draft(self.pool, campaign)
        if draft is None:
            raise DraftNotFound.of(campaign.id)
        return with_content_of(draft.campaign, campaign)


async def _version(database: Pool | Connection, campaign: Campaign, number: int) -> CampaignVersion:
    """Return a version of a campaign.

    Raises:
        VersionNotFound: The campaign has no version with this number.
    """
    found = await store.find_version(database, campaign.project_id, campaign.id, number)
    if found is None:
        raise VersionNotFound.of(number)
    return found


def _message(version: CampaignVersion) -> pb.CampaignVersion:
    return pb.CampaignVersion(
        version=version.campaign.revision,
        content=content_message(version.campaign),
        create_time=timestamp(version.created_at),
        created_by=version.created_by,
    )
