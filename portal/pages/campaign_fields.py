"""What the pages of campaigns share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from clarion.admin.v1 import campaign_draft_pb2 as draft_pb
from clarion.admin.v1 import campaign_pb2 as pb

from ..errors import ApiError
from ..visit import Section, Visit

__all__ = [
    "AT",
    "PARTS",
    "SECTION",
    "campaign_key",
    "campaign_of",
    "campaign_path",
    "campaign_section",
    "draft_of",
    "template_names",
    "words_of",
]

SECTION = Section("Campaigns", "/campaigns")
AT = "/campaigns/{project}/{campaign_id}"
PARTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "email": (
        ("subject", "Subject"),
        ("text", "Plain text"),
        ("html", "HTML"),
        ("mjml", "MJML, instead of HTML"),
    ),
    "text": (("text", "Text"),),
    "push": (("title", "Title"), ("text", "Text")),
}
"""The fields of a template by channel, each with its label."""


def campaign_key(visit: Visit) -> dict[str, str]:
    """Return the fields that name the campaign in the URL."""
    return {"project": visit.path("project"), "campaign_id": visit.path("campaign_id")}


async def campaign_of(visit: Visit) -> pb.Campaign:
    """Return the campaign in the URL."""
    found: pb.Campaign = (await visit.call(pb.GetCampaignRequest(**campaign_key(visit)))).campaign
    return found


def campaign_path(found: pb.Campaign) -> str:
    """Return the path of a campaign's page."""
    return f"/campaigns/{found.project}/{found.campaign_id}"


def campaign_section(found: pb.Campaign) -> Section:
    """Return the page of a campaign, for breadcrumbs."""
    return Section(f"Campaign {found.campaign_id}", campaign_path(found))


async def draft_of(visit: Visit, key: Mapping[str, str]) -> draft_pb.CampaignDraft | None:
    """Return the draft of a campaign, or None if it has none."""
    try:
        draft: draft_pb.CampaignDraft = (
            await visit.call(draft_pb.GetCampaignDraftRequest(**key))
        ).campaign_draft
    except ApiError as error:
        if error.status is HTTPStatus.NOT_FOUND:
            return None
        raise
    return draft


def template_names(content: pb.CampaignContent) -> dict[str, str]:
    """Return the editor's name of each field of a template, by its name in the API.

    For example, `content.templates[0].subject` is `default.subject` in the editor.
    """
    return {
        f"content.templates[{place}].{part}": f"{one.locale}.{part}"
        for place, one in enumerate(content.templates)
        for part, _ in PARTS.get(content.campaign_channel, ())
    }


def words_of(text: str) -> list[str]:
    """Split a text at commas and spaces."""
    return [one for one in re.split(r"[,\s]+", text) if one]
