"""Campaigns: list, content and versions, states, editor, preview."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from clarion.admin.v1 import campaign_pb2 as pb

from ..errors import PageNotFound
from ..forms import Form
from ..visit import Page, Visit
from . import campaign_editor, campaign_tests, campaign_versions
from .campaign_fields import (
    AT,
    PARTS,
    SECTION,
    campaign_key,
    campaign_of,
    campaign_path,
    campaign_section,
    draft_of,
    provider_choice,
    providers_in,
)

__all__ = ["PAGES", "SECTION"]

_PAGE = 50
_VERSIONS = 20
_LOOKED_AT = 250
_MAX_ID = 2**63 - 1
_CHANNELS = ("email", "text", "push")
_STATES = ("active", "paused", "archived")

_ACTIONS: Mapping[str, tuple[Any, str, str]] = {
    "pause": (
        pb.PauseCampaignRequest,
        "paused",
        "The campaign rejects triggers within a second. Waiting messages are still sent.",
    ),
    "resume": (pb.ResumeCampaignRequest, "resumed", "The campaign accepts triggers within a second."),
    "archive": (
        pb.ArchiveCampaignRequest,
        "archived",
        "The campaign rejects triggers and is hidden from the list. Waiting messages are still sent.",
    ),
    "release": (
        pb.ReleaseCampaignRequest,
        "released",
        "The campaign can then be edited here. Its file replaces it only with `apply --overwrite`.",
    ),
}


async def list_campaigns(visit: Visit) -> Response:
    """List campaigns."""
    state, channel = visit.query("campaign_state"), visit.query("campaign_channel")
    request = pb.ListCampaignsRequest(
        project=visit.project,
        campaign_state=state if state in _STATES else "",
        campaign_channel=channel if channel in _CHANNELS else "",
        name=visit.query("name"),
        page_size=_PAGE,
        page_token=visit.query("page"),
    )
    found: pb.ListCampaignsResponse = await visit.call(request)
    return visit.page(
        "campaigns.html",
        "Campaigns",
        found=found,
        states=[("", "all but archived"), *((one, one) for one in _STATES)],
        channels=[("", "all"), *((one, one) for one in _CHANNELS)],
        can_create=visit.can(pb.CreateCampaignRequest, visit.project),
    )


async def campaign(visit: Visit) -> Response:
    """Show a campaign and its versions."""
    key = campaign_key(visit)
    found = await campaign_of(visit)
    versions: pb.ListCampaignVersionsResponse = await visit.call(
        pb.ListCampaignVersionsRequest(**key, page_size=_VERSIONS, page_token=visit.query("page"))
    )
    return visit.page(
        "campaign.html",
        f"Campaign {found.campaign_id}: {found.content.display_name}",
        crumbs=[SECTION],
        campaign=found,
        parts=PARTS[found.content.campaign_channel],
        versions=versions,
        draft=await draft_of(visit, key),
        path=campaign_path(found),
        can_change=visit.can(pb.UpdateCampaignRequest, found.project),
    )


async def change(visit: Visit) -> Response:
    """Pause, resume, archive or release a campaign."""
    action = visit.path("action")
    if action not in _ACTIONS:
        raise PageNotFound
    kind, done, text = _ACTIONS[action]
    key = campaign_key(visit)
    if visit.form.is_sent:
        with visit.form.checked():
            changed = (await visit.call(kind(**key))).campaign
            return visit.redirect(campaign_path(changed), f"Campaign {changed.campaign_id} was {done}.")
    title = f"{action.title()} campaign {key['campaign_id']}"
    return visit.confirm(title, text, f"{action.title()} it", crumbs=[SECTION, campaign_section(visit)])


async def new_campaign(visit: Visit) -> Response:
    """Create a campaign with a first template; the editor has the rest."""
    form = visit.form
    if form.is_sent:
        names = {f"content.templates[0].{part}": part for part in ("subject", "title", "text")}
        with form.checked(names=names):
            content = pb.CampaignContent(
                display_name=form["display_name"],
                campaign_channel=form["campaign_channel"],
                providers=providers_in(form),
                sender=form["sender"],
                templates=[_first_template(form)],
            )
            request = pb.CreateCampaignRequest(
                project=form["project"],
                campaign_id=form["campaign_id"],
                content=content,
                campaign_state=form["campaign_state"],
            )
            made = (await visit.call(request)).campaign
            notice = f"Campaign {made.campaign_id} accepts triggers within a second."
            if made.campaign_state == "paused":
                notice = f"Campaign {made.campaign_id} rejects triggers until you resume it."
            return visit.redirect(campaign_path(made), notice)
    first = visit.project or (visit.projects[0] if visit.projects else "")
    form.start(project=first, campaign_channel="email")
    if not form.is_sent:
        form.start(campaign_id=await _free_id(visit, first))
    return visit.page(
        "campaign_new.html",
        "New campaign",
        crumbs=[SECTION],
        channels=_CHANNELS,
        providers=await provider_choice(visit),
    )


PAGES = (
    Page("/campaigns", list_campaigns),
    Page("/campaigns/new", new_campaign, has_form=True),
    Page(AT, campaign),
    *campaign_editor.PAGES,
    *campaign_tests.PAGES,
    *campaign_versions.PAGES,
    Page(f"{AT}/{{action}}", change, has_form=True),
)


async def _free_id(visit: Visit, project: str) -> str:
    """Return an ID that no campaign of a project has, as a suggestion; empty if it has many campaigns."""
    highest = 0
    for state in ("", "archived"):
        request = pb.ListCampaignsRequest(project=project, campaign_state=state, page_size=_LOOKED_AT)
        found: pb.ListCampaignsResponse = await visit.call(request)
        if found.next_page_token:
            return ""
        highest = max([highest, *(one.campaign_id for one in found.campaigns)])
    return str(highest + 1) if highest < _MAX_ID else ""


def _first_template(form: Form) -> pb.CampaignTemplate:
    channel = form["campaign_channel"]
    names = {name for name, _ in PARTS.get(channel, ())} & {"subject", "title", "text"}
    parts = {name: form.text(name) for name in names}
    return pb.CampaignTemplate(locale="default", **parts)
