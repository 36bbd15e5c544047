"""Campaigns: list, content and versions, states, editor, preview."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message
from starlette.responses import Response

from clarion.admin.v1 import campaign_pb2 as pb

from ..errors import PageNotFound
from ..forms import Form
from ..visit import Page, Visit
from . import campaign_versions
from .campaign_fields import AT, PARTS, SECTION, campaign_key, campaign_path

__all__ = ["PAGES", "SECTION"]

_PAGE = 50
_VERSIONS = 20
_CHANNELS = ("email", "text", "push")
_STATES = ("active", "paused", "archived")
_LOCALE = re.compile(r"[A-Za-z0-9_-]{1,35}")
_ACTIONS: Mapping[str, tuple[Any, str, str]] = {
    "pause": (
        pb.PauseCampaignRequest,
        "paused",
        "It rejects triggers at once. Waiting messages are still sent.",
    ),
    "resume": (pb.ResumeCampaignRequest, "resumed", "It accepts triggers again."),
    "archive": (
        pb.ArchiveCampaignRequest,
        "archived",
        "It rejects triggers and is hidden from the list. Waiting messages are still sent.",
    ),
    "release": (
        pb.ReleaseCampaignRequest,
        "released",
        "It can then be edited here. Applying its file again is refused without --overwrite.",
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
    found: pb.Campaign = (await visit.call(pb.GetCampaignRequest(**key))).campaign
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
    return visit.confirm(title, text, f"{action.title()} it", crumbs=[SECTION])


async def edit(visit: Visit) -> Response:
    """Edit the content of a campaign, and preview it before saving."""
    key, form = campaign_key(visit), visit.form
    current: pb.Campaign = (await visit.call(pb.GetCampaignRequest(**key))).campaign
    content = _content(form, current.content) if form.is_sent else current.content
    shown = None
    if form.is_sent:
        with form.checked():
            if form["action"] == "preview":
                shown = await _preview(visit, key, content)
            else:
                request = pb.UpdateCampaignRequest(**key, content=content, etag=form["etag"])
                saved = (await visit.call(request)).campaign
                notice = f"Version {saved.version} takes effect within a second."
                return visit.redirect(campaign_path(saved), notice)
    _start(form, current.content)
    return visit.page(
        "campaign_edit.html",
        f"Edit campaign {current.campaign_id}",
        crumbs=[SECTION],
        campaign=current,
        locales=[one.locale for one in content.templates],
        parts=PARTS[current.content.campaign_channel],
        preview=shown,
    )


async def new_campaign(visit: Visit) -> Response:
    """Create a campaign with a first template; the editor has the rest."""
    form = visit.form
    if form.is_sent:
        with form.checked():
            content = pb.CampaignContent(
                display_name=form["display_name"],
                campaign_channel=form["campaign_channel"],
                providers=_words(form["providers"]),
                sender=form["sender"],
                templates=[_first_template(form)],
            )
            request = pb.CreateCampaignRequest(
                project=form["project"], campaign_id=form["campaign_id"], content=content
            )
            made = (await visit.call(request)).campaign
            notice = f"Campaign {made.campaign_id} accepts triggers within a second."
            return visit.redirect(campaign_path(made), notice)
    first = visit.projects[0] if visit.projects else ""
    form.start(project=visit.project or first, campaign_channel="email")
    return visit.page("campaign_new.html", "New campaign", crumbs=[SECTION], channels=_CHANNELS)


async def preview(visit: Visit) -> Response:
    """Render a campaign with sample data."""
    key, form = campaign_key(visit), visit.form
    shown = None
    if form.is_sent:
        with form.checked():
            shown = await _preview(visit, key, None)
    found: pb.Campaign = (await visit.call(pb.GetCampaignRequest(**key))).campaign
    form.start(event='{"random_field": "value"}', user_data="{}")
    return visit.page(
        "campaign_preview.html",
        f"Preview of campaign {found.campaign_id}",
        crumbs=[SECTION],
        campaign=found,
        preview=shown,
    )


PAGES = (
    Page("/campaigns", list_campaigns),
    Page("/campaigns/new", new_campaign, has_form=True),
    Page(AT, campaign),
    Page(f"{AT}/edit", edit, has_form=True),
    Page(f"{AT}/preview", preview, has_form=True),
    *campaign_versions.PAGES,
    Page(f"{AT}/{{action}}", change, has_form=True),
)


async def _preview(
    visit: Visit, key: Mapping[str, str], content: pb.CampaignContent | None
) -> pb.PreviewCampaignResponse:
    form = visit.form
    request: Message = pb.PreviewCampaignRequest(
        **key, content=content, locale=form["locale"], event=form["event"], user_data=form["user_data"]
    )
    shown: pb.PreviewCampaignResponse = await visit.call(request)
    return shown


def _words(text: str) -> list[str]:
    return [one for one in re.split(r"[,\s]+", text) if one]


def _first_template(form: Form) -> pb.CampaignTemplate:
    channel = form["campaign_channel"]
    names = {name for name, _ in PARTS.get(channel, ())} & {"subject", "title", "text"}
    parts = {name: form.text(name) for name in names}
    return pb.CampaignTemplate(locale="default", **parts)


def _content(form: Form, current: pb.CampaignContent) -> pb.CampaignContent:
    """Return the content of the editor's form: fields that it does not have stay as they are."""
    content = pb.CampaignContent()
    content.CopyFrom(current)
    for name in ("display_name", "sender", "unsubscribe_url", "window_opens", "window_closes"):
        setattr(content, name, form[name])
    content.strict_variables = form.is_checked("strict_variables")
    content.providers[:] = _words(form["providers"])
    parts = PARTS[current.campaign_channel]
    locales = [one for one in form.all("locales") if _LOCALE.fullmatch(one)]
    added = form["new_locale"]
    if added and _LOCALE.fullmatch(added) and added not in locales:
        locales.append(added)
    del content.templates[:]
    for locale in locales:
        sources = {name: form.text(f"{locale}.{name}") for name, _ in parts}
        if any(sources.values()) or locale == added:
            content.templates.add(locale=locale, **sources)
    return content


def _start(form: Form, content: pb.CampaignContent) -> None:
    """Set what the form shows before it is sent."""
    sources = {
        f"{one.locale}.{name}": getattr(one, name)
        for one in content.templates
        for name, _ in PARTS[content.campaign_channel]
    }
    form.start(
        display_name=content.display_name,
        providers=", ".join(content.providers),
        sender=content.sender,
        unsubscribe_url=content.unsubscribe_url,
        window_opens=content.window_opens,
        window_closes=content.window_closes,
        strict_variables=["yes"] if content.strict_variables else [],
        event='{"random_field": "value"}',
        user_data="{}",
        **sources,
    )
