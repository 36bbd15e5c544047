"""Versions of a campaign: show, compare, roll back."""

from __future__ import annotations

import re

from starlette.responses import Response

from clarion.admin.v1 import campaign_pb2 as pb

from ..errors import PageNotFound
from ..visit import Page, Section, Visit
from .campaign_fields import (
    AT,
    PARTS,
    SECTION,
    campaign_key,
    campaign_of,
    campaign_path,
    campaign_section,
    draft_of,
)

__all__ = ["PAGES"]

_VERSION = re.compile(r"[1-9][0-9]{0,17}")


async def version(visit: Visit) -> Response:
    """Show one version of a campaign."""
    key, number = campaign_key(visit), _number(visit.path("version"))
    found = await campaign_of(visit)
    one: pb.CampaignVersion = (
        await visit.call(pb.GetCampaignVersionRequest(**key, version=str(number)))
    ).campaign_version
    return visit.page(
        "campaign_version.html",
        f"Version {one.version} of campaign {found.campaign_id}",
        crumbs=[SECTION, campaign_section(visit)],
        campaign=found,
        version=one,
        parts=PARTS[one.content.campaign_channel],
        path=campaign_path(found),
        can_change=visit.can(pb.RollBackCampaignRequest, found.project),
    )


async def compare(visit: Visit) -> Response:
    """Show how two versions of a campaign differ."""
    key = campaign_key(visit)
    found = await campaign_of(visit)
    with_draft = visit.query("newer") == "draft"
    newer = 0 if with_draft else _number(visit.query("newer") or str(found.version))
    can_publish = with_draft and visit.can(pb.UpdateCampaignRequest, found.project)
    before = found.version if with_draft else max(newer - 1, 1)
    older = _number(visit.query("older") or str(before))
    differences: pb.CompareCampaignVersionsResponse = await visit.call(
        pb.CompareCampaignVersionsRequest(**key, older_version=older, newer_version=newer)
    )
    return visit.page(
        "campaign_compare.html",
        f"Version {older} and {f'version {newer}' if newer else 'the draft'} of campaign {found.campaign_id}",
        crumbs=[SECTION, campaign_section(visit)],
        differences=differences,
        path=campaign_path(found),
        older=older,
        newer=newer,
        draft=await draft_of(visit, key) if can_publish else None,
    )


async def roll_back(visit: Visit) -> Response:
    """Make an earlier version current again."""
    key, number = campaign_key(visit), _number(visit.path("version"))
    if visit.form.is_sent:
        with visit.form.checked():
            request = pb.RollBackCampaignRequest(**key, version=number)
            changed = (await visit.call(request)).campaign
            notice = f"Version {changed.version} has the content of version {number}."
            return visit.redirect(campaign_path(changed), notice)
    text = (
        f"The content of version {number} becomes the next version. All dispatchers use it within a second, "
        "also for waiting triggers. No version is lost."
    )
    above = Section(f"Version {number}", visit.here.removesuffix("/roll-back"))
    crumbs = [SECTION, campaign_section(visit), above]
    return visit.confirm(f"Roll back to version {number}", text, "Roll back", crumbs=crumbs)


PAGES = (
    Page(f"{AT}/compare", compare),
    Page(f"{AT}/versions/{{version}}", version),
    Page(f"{AT}/versions/{{version}}/roll-back", roll_back, has_form=True),
)


def _number(text: str) -> int:
    """Return the number of a version in the URL.

    Raises:
        PageNotFound: No version can have it.
    """
    if not _VERSION.fullmatch(text):
        raise PageNotFound
    return int(text)
