"""Defines `clarion campaigns draft`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clarion.admin.v1 import campaign_draft_pb2 as pb
from clarion.admin.v1 import campaign_pb2

from ..errors import ConfigError
from .messages import in_lines, moment, show_one, sources
from .remote import Admin
from .which_campaign import of_campaign, project_of

__all__ = ["draft"]

_SERVICE = "campaign_drafts"


@click.group()
def draft() -> None:
    """Show, save, publish and discard drafts of campaigns.

    A draft is not live until it is published.
    """


@draft.command()
@of_campaign
def show(*, admin: Admin, campaign_id: int, project: str, as_json: bool) -> None:
    """Show the draft of a campaign and its templates."""
    request = pb.GetCampaignDraftRequest(**_key(admin, campaign_id, project))
    one: pb.CampaignDraft = admin.call(_SERVICE, "GetCampaignDraft", request).campaign_draft
    facts = {
        "ID": one.campaign_id,
        "NAME": one.content.display_name,
        "PROJECT": one.project,
        "CHANNEL": one.content.campaign_channel,
        "MADE FROM VERSION": one.base_version,
        "SAVED": moment(one.save_time),
        "BY": one.saved_by,
    }
    show_one(one, "\n".join([in_lines(facts), *sources(one.content)]), as_json=as_json)


@draft.command()
@of_campaign
@click.argument("file", type=click.Path(path_type=Path))
def save(*, admin: Admin, campaign_id: int, file: Path, project: str, as_json: bool) -> None:
    """Save the content that FILE has for a campaign as its draft."""
    key = _key(admin, campaign_id, project)
    request = pb.SaveCampaignDraftRequest(**key, content=_content(file, campaign_id))
    one: pb.CampaignDraft = admin.call(_SERVICE, "SaveCampaignDraft", request).campaign_draft
    text = f"saved a draft of campaign {one.campaign_id}, made from version {one.base_version}"
    show_one(one, text, as_json=as_json)


@draft.command()
@of_campaign
def publish(*, admin: Admin, campaign_id: int, project: str, as_json: bool) -> None:
    """Make the draft of a campaign its next version."""
    request = pb.PublishCampaignDraftRequest(**_key(admin, campaign_id, project))
    one: campaign_pb2.Campaign = admin.call(_SERVICE, "PublishCampaignDraft", request).campaign
    text = f"campaign {one.campaign_id} is {one.campaign_state}, version {one.version}"
    show_one(one, text, as_json=as_json)


@draft.command()
@of_campaign
def discard(*, admin: Admin, campaign_id: int, project: str, as_json: bool) -> None:
    """Delete the draft of a campaign."""
    request = pb.DiscardCampaignDraftRequest(**_key(admin, campaign_id, project))
    done = admin.call(_SERVICE, "DiscardCampaignDraft", request)
    show_one(done, f"discarded the draft of campaign {campaign_id}", as_json=as_json)


def _key(admin: Admin, campaign_id: int, project: str) -> dict[str, Any]:
    return {"project": project or project_of(admin, campaign_id), "campaign_id": str(campaign_id)}


def _content(file: Path, campaign_id: int) -> campaign_pb2.CampaignContent:
    """Return the content of a campaign in a file.

    Raises:
        ConfigError: The file cannot be read, is invalid or has no such campaign.
    """
    from ..admin.campaign_content import content_message  # noqa: PLC0415 - see server/cli.py
    from ..wiring.campaign_file import find_campaign, read  # noqa: PLC0415

    found = find_campaign(read(file), campaign_id)
    if found is None:
        raise ConfigError(f"{file}: the file has no campaign {campaign_id}")
    return content_message(found)
