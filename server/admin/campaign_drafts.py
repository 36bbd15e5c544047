"""CampaignDraftService of the admin API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clarion.admin.v1 import campaign_draft_pb2 as pb
from clarion.admin.v1 import campaign_draft_pb2_grpc, campaign_pb2

from ..api.proto_messages import timestamp
from ..domain.campaign import Campaign, CampaignDraft
from ..domain.project import Project
from ..errors import InvalidRequest, Violation
from ..intake.rules import require_valid
from ..store.admin import campaigns, drafts
from ..store.campaign_rows import content_json
from ..store.pool import Connection, Pool, reached
from ..store.records.waiting import find_providers
from .call import AdminCall
from .campaign_changes import as_next_of, find, record, require_editable, reread
from .campaign_content import (
    campaign_message,
    changed_fields,
    checked_campaign,
    content_message,
    etag_of_campaign,
    values_of,
)
from .campaign_tests import send_test
from .change import Change, changing
from .errors import DraftNotFound, EtagMismatch
from .paging import etag_of, require_etag

__all__ = ["CampaignDraftServicer"]

_NAMED = 5
"""Fields that the message of a conflict names."""


class CampaignDraftServicer(campaign_draft_pb2_grpc.CampaignDraftServiceServicer):
    """Saves, publishes and discards the drafts of campaigns, and sends tests.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def GetCampaignDraft(  # noqa: N802 - gRPC's name
        self, request: pb.GetCampaignDraftRequest, call: AdminCall
    ) -> pb.GetCampaignDraftResponse:
        """Return the draft of a campaign."""
        require_valid(request)
        async with reached():
            project, campaign = await find(self._pool, call, request)
            draft = await _draft(self._pool, campaign)
        return pb.GetCampaignDraftResponse(campaign_draft=_message(draft, project))

    async def SaveCampaignDraft(  # noqa: N802 - gRPC's name
        self, request: pb.SaveCampaignDraftRequest, call: AdminCall
    ) -> pb.SaveCampaignDraftResponse:
        """Create or replace the draft of a campaign."""
        require_valid(request)
        async with reached():
            providers = await find_providers(self._pool)
            _, campaign = await find(self._pool, call, request)
            await _draft_to_replace(self._pool, campaign, request.etag)
        # Before the transaction, so that a call never holds a connection while it waits.
        checked = await checked_campaign(request, campaign, providers, call.actor.owner)
        async with changing(self._pool, call) as change:
            project, campaign = await find(change.connection, call, request, lock=True)
            before = await _draft_to_replace(change.connection, campaign, request.etag)
            content = as_next_of(campaign, checked)
            base = _base_version(request, before, campaign)
            draft = await drafts.save_draft(change.connection, content, base, call.actor.name)
            await _record(change, "campaign.save_draft", project, before, draft)
        return pb.SaveCampaignDraftResponse(campaign_draft=_message(draft, project))

    async def PublishCampaignDraft(  # noqa: N802 - gRPC's name
        self, request: pb.PublishCampaignDraftRequest, call: AdminCall
    ) -> pb.PublishCampaignDraftResponse:
        """Make the content of the draft the next version of its campaign."""
        require_valid(request)
        async with reached():
            providers = await find_providers(self._pool)
            _, campaign = await find(self._pool, call, request)
            require_editable(campaign)
            read = await _draft_as_read(self._pool, campaign, request.etag)
            await _require_unchanged(self._pool, read, campaign)
        # Checked again, because providers and rules may have changed since it was saved.
        update = campaign_pb2.UpdateCampaignRequest(
            project=request.project,
            campaign_id=request.campaign_id,
            content=content_message(read.campaign),
        )
        checked = await checked_campaign(update, campaign, providers, call.actor.owner)
        async with changing(self._pool, call) as change:
            project, before = await find(change.connection, call, request, lock=True)
            require_editable(before)
            draft = await _draft_as_read(change.connection, before, _etag(read))
            await _require_unchanged(change.connection, draft, before)
            wanted = as_next_of(before, checked)
            await campaigns.apply_campaign(change.connection, wanted, call.actor.name)
            await drafts.delete_draft(change.connection, before)
            after = await reread(change.connection, wanted)
            await record(change, "campaign.publish", project, before, after)
        return pb.PublishCampaignDraftResponse(campaign=campaign_message(after, project.name))

    async def DiscardCampaignDraft(  # noqa: N802 - gRPC's name
        self, request: pb.DiscardCampaignDraftRequest, call: AdminCall
    ) -> pb.DiscardCampaignDraftResponse:
        """Delete the draft of a campaign."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            project, campaign = await find(change.connection, call, request, lock=True)
            draft = await _draft_as_read(change.connection, campaign, request.etag)
            await drafts.delete_draft(change.connection, campaign)
            await _record(change, "campaign.discard_draft", project, draft, None)
        return pb.DiscardCampaignDraftResponse()

    async def SendCampaignTest(  # noqa: N802 - gRPC's name
        self, request: pb.SendCampaignTestRequest, call: AdminCall
    ) -> pb.SendCampaignTestResponse:
        """Send one message of a campaign, or of its draft, to an address."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            trigger = await send_test(change, request)
        return pb.SendCampaignTestResponse(
            project=request.project, campaign_id=trigger.campaign_id, trigger_id=str(trigger.id)
        )


async def _draft(database: Pool | Connection, campaign: Campaign) -> CampaignDraft:
    """Return the draft of a campaign.

    Raises:
        DraftNotFound: It has none.
    """
    draft = await drafts.find_draft(database, campaign)
    if draft is None:
        raise DraftNotFound.of(campaign.id)
    return draft


async def _draft_to_replace(
    database: Pool | Connection, campaign: Campaign, etag: str
) -> CampaignDraft | None:
    """Return the draft that a new one replaces, or None.

    Raises:
        WrongState: A file manages the campaign.
        EtagMismatch: The draft has changed since the caller read it; or the campaign, if it has no draft.
    """
    require_editable(campaign)
    before = await drafts.find_draft(database, campaign)
    current = _etag(before) if before else etag_of_campaign(campaign)
    require_etag(etag, current, f"The draft of campaign {campaign.id}")
    return before


async def _draft_as_read(database: Pool | Connection, campaign: Campaign, etag: str) -> CampaignDraft:
    """Return the draft of a campaign that the caller has read, whose etag it sent.

    Raises:
        DraftNotFound: It has none.
        EtagMismatch: The draft has changed since.
    """
    draft = await _draft(database, campaign)
    require_etag(etag, _etag(draft), f"The draft of campaign {campaign.id}")
    return draft


def _base_version(
    request: pb.SaveCampaignDraftRequest, before: CampaignDraft | None, campaign: Campaign
) -> int:
    """Return the version that a draft was made from.

    Raises:
        InvalidRequest: The request names a version that the campaign does not have yet.
    """
    if request.base_version > campaign.revision:
        description = f"is newer than the current version, {campaign.revision}"
        raise InvalidRequest([Violation("base_version", description, "OUT_OF_RANGE")])
    return request.base_version or (before.base_version if before else campaign.revision)


async def _require_unchanged(database: Pool | Connection, draft: CampaignDraft, campaign: Campaign) -> None:
    """Check that publishing a draft overwrites no change that was published after the draft was made.

    A version that differs only in the state, such as after a pause, is not a conflict: publishing keeps it.

    Raises:
        EtagMismatch: It would.
    """
    key = (campaign.project_id, campaign.id, draft.base_version)
    base = await campaigns.find_version(database, *key)
    changed = changed_fields(base.campaign, campaign) if base else ["an unknown version"]
    names = [name for name in changed if name != "campaign_state"]
    if names:
        raise EtagMismatch(
            f"Campaign {campaign.id} has changed since the draft was made from version {draft.base_version}: "
            f"version {campaign.revision} differs in {_listed(names)}. Compare them, then save the draft "
            f"with base_version {campaign.revision}."
        )


def _listed(names: Sequence[str]) -> str:
    """Return the first names of a list as text."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _etag(draft: CampaignDraft) -> str:
    return etag_of({"saved_at": draft.saved_at, "content": content_json(draft.campaign)})


def _message(draft: CampaignDraft, project: Project) -> pb.CampaignDraft:
    return pb.CampaignDraft(
        project=project.name,
        campaign_id=draft.campaign.id,
        content=content_message(draft.campaign),
        base_version=draft.base_version,
        save_time=timestamp(draft.saved_at),
        saved_by=draft.saved_by,
        etag=_etag(draft),
    )


async def _record(
    change: Change, action: str, project: Project, before: CampaignDraft | None, after: CampaignDraft | None
) -> None:
    subject: Any = after or before
    await change.record(
        action,
        f"campaign/{project.name}/{subject.campaign.id}",
        project_id=project.id,
        before=_values(before) if before else None,
        after=_values(after) if after else None,
    )


def _values(draft: CampaignDraft) -> dict[str, object]:
    """Return what the audit log records."""
    return {**values_of(draft.campaign), "version": "draft", "base_version": draft.base_version}
