"""The editor of a campaign: preview, draft, publish."""

from __future__ import annotations

import re
from collections.abc import Mapping

from google.protobuf.message import Message
from starlette.responses import Response

from clarion.admin.v1 import campaign_draft_pb2 as draft_pb
from clarion.admin.v1 import campaign_pb2 as pb

from ..forms import Form
from ..visit import Page, Visit
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
    template_names,
)

__all__ = ["PAGES"]

_LOCALE = re.compile(r"[A-Za-z0-9_-]{1,35}")
_CONFLICT = "ETAG_MISMATCH"


async def edit(visit: Visit) -> Response:
    """Edit the draft of a campaign, preview it, and publish it."""
    key, form = campaign_key(visit), visit.form
    visit.require(pb.UpdateCampaignRequest, key["project"])
    current = await campaign_of(visit)
    draft = await draft_of(visit, key)
    saved = draft.content if draft else current.content
    content = _content(form, saved) if form.is_sent else saved
    shown, base = None, _base_version(form)
    added = _added_locale(form, content)
    if form.is_sent and not added and not form.errors:
        with form.checked(names=template_names(content)):
            if form["action"] == "preview":
                shown = await _preview(visit, key, content)
            else:
                draft = await _save(visit, key, content)
                if form["action"] != "publish":
                    notice = "The draft was saved. It is not live until it is published."
                    return visit.redirect(campaign_path(current), notice)
                return await _publish(visit, key, draft.etag)
    _start(form, saved)
    if form.reason == _CONFLICT or not base:
        base = current.version if form.reason == _CONFLICT or not draft else draft.base_version
    return visit.page(
        "campaign_edit.html",
        f"Edit campaign {current.campaign_id}",
        crumbs=[SECTION, campaign_section(visit)],
        campaign=current,
        draft=draft,
        base_version=base,
        conflicts=await _conflicts(visit, key, current) if form.reason == _CONFLICT else [],
        locales=_locales(content, added),
        added=added,
        parts=PARTS[saved.campaign_channel],
        providers=await provider_choice(visit, saved.campaign_channel),
        preview=shown,
        path=campaign_path(current),
    )


async def publish(visit: Visit) -> Response:
    """Publish the draft of a campaign as the person has read it."""
    key = campaign_key(visit)
    visit.require(pb.UpdateCampaignRequest, key["project"])
    if visit.form.is_sent:
        with visit.form.checked():
            return await _publish(visit, key, visit.query("etag"))
    text = "The draft becomes the next version, also for waiting triggers, within a second."
    return visit.confirm(
        f"Publish the draft of campaign {key['campaign_id']}",
        text,
        "Publish it",
        crumbs=[SECTION, campaign_section(visit)],
    )


async def discard(visit: Visit) -> Response:
    """Discard the draft of a campaign."""
    key = campaign_key(visit)
    if visit.form.is_sent:
        with visit.form.checked():
            await visit.call(draft_pb.DiscardCampaignDraftRequest(**key))
            path = f"/campaigns/{key['project']}/{key['campaign_id']}"
            return visit.redirect(path, "The draft was discarded.")
    text = "The draft is deleted. The campaign and its versions stay as they are."
    return visit.confirm(
        f"Discard the draft of campaign {key['campaign_id']}",
        text,
        "Discard it",
        crumbs=[SECTION, campaign_section(visit)],
    )


async def preview(visit: Visit) -> Response:
    """Render a campaign with sample data."""
    key, form = campaign_key(visit), visit.form
    found = await campaign_of(visit)
    shown = None
    if form.is_sent:
        with form.checked():
            shown = await _preview(visit, key, None)
    form.start(event='{"random_field": "value"}', user_data="{}")
    return visit.page(
        "campaign_preview.html",
        f"Preview of campaign {found.campaign_id}",
        crumbs=[SECTION, campaign_section(visit)],
        campaign=found,
        preview=shown,
        can_change=visit.can(pb.UpdateCampaignRequest, found.project) and not found.managed_by,
    )


PAGES = (
    Page(f"{AT}/edit", edit, has_form=True),
    Page(f"{AT}/preview", preview, has_form=True),
    Page(f"{AT}/draft/publish", publish, has_form=True),
    Page(f"{AT}/draft/discard", discard, has_form=True),
)


async def _save(visit: Visit, key: Mapping[str, str], content: pb.CampaignContent) -> draft_pb.CampaignDraft:
    request = draft_pb.SaveCampaignDraftRequest(
        **key, content=content, etag=visit.form["etag"], base_version=_base_version(visit.form)
    )
    saved: draft_pb.CampaignDraft = (await visit.call(request)).campaign_draft
    visit.form.put("etag", saved.etag)
    return saved


async def _publish(visit: Visit, key: Mapping[str, str], etag: str) -> Response:
    request = draft_pb.PublishCampaignDraftRequest(**key, etag=etag)
    published: pb.Campaign = (await visit.call(request)).campaign
    notice = f"Version {published.version} takes effect within a second."
    return visit.redirect(campaign_path(published), notice)


async def _conflicts(
    visit: Visit, key: Mapping[str, str], current: pb.Campaign
) -> list[tuple[str, pb.CompareCampaignVersionsResponse]]:
    """Return what others have changed since the person opened the editor, each with a title."""
    base, found = _base_version(visit.form), []
    if base and base < current.version:
        request = pb.CompareCampaignVersionsRequest(**key, older_version=base, newer_version=current.version)
        title = f"What changed from version {base} to {current.version}"
        found.append((title, await visit.call(request)))
    other = await draft_of(visit, key)
    if other and other.etag != visit.form["etag"]:
        request = pb.CompareCampaignVersionsRequest(**key, older_version=current.version, newer_version=0)
        title = f"How the draft that {other.saved_by} saved differs from version {current.version}"
        found.append((title, await visit.call(request)))
    return found


def _base_version(form: Form) -> int:
    """Return the version that the editor was opened with; 0 if the form does not have it."""
    text = form["base_version"]
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


async def _preview(
    visit: Visit, key: Mapping[str, str], content: pb.CampaignContent | None
) -> pb.PreviewCampaignResponse:
    form = visit.form
    request: Message = pb.PreviewCampaignRequest(
        **key, content=content, locale=form["locale"], event=form["event"], user_data=form["user_data"]
    )
    shown: pb.PreviewCampaignResponse = await visit.call(request)
    return shown


def _content(form: Form, current: pb.CampaignContent) -> pb.CampaignContent:
    """Return the content of the editor's form: fields that it does not have stay as they are."""
    content = pb.CampaignContent()
    content.CopyFrom(current)
    for name in ("display_name", "sender", "unsubscribe_url", "window_opens", "window_closes"):
        setattr(content, name, form[name])
    content.strict_variables = form.is_checked("strict_variables")
    content.providers[:] = providers_in(form)
    parts = PARTS[current.campaign_channel]
    del content.templates[:]
    for locale in filter(_LOCALE.fullmatch, form.all("locales")):
        sources = {name: form.text(f"{locale}.{name}") for name, _ in parts}
        if any(sources.values()):
            content.templates.add(locale=locale, **sources)
    return content


def _added_locale(form: Form, content: pb.CampaignContent) -> str:
    """Return the locale to show empty fields for, or an empty string; notes in the form if it is not one."""
    added = form["new_locale"] if form.is_sent else ""
    if added and not _LOCALE.fullmatch(added):
        form.fail("new_locale", "Enter a tag such as de or pt-BR.")
        return ""
    form.put("new_locale", "")
    return "" if added in {one.locale for one in content.templates} else added


def _locales(content: pb.CampaignContent, added: str) -> list[str]:
    """Return the locales to show fields for: `default` first, as the one that most users get."""
    found = sorted((one.locale for one in content.templates), key=lambda locale: locale != "default")
    return [*found, *filter(None, [added])]


def _start(form: Form, content: pb.CampaignContent) -> None:
    """Set what the form shows before it is sent."""
    sources = {
        f"{one.locale}.{name}": getattr(one, name)
        for one in content.templates
        for name, _ in PARTS[content.campaign_channel]
    }
    form.start(
        display_name=content.display_name,
        providers=list(content.providers),
        sender=content.sender,
        unsubscribe_url=content.unsubscribe_url,
        window_opens=content.window_opens,
        window_closes=content.window_closes,
        strict_variables=["yes"] if content.strict_variables else [],
        event='{"random_field": "value"}',
        user_data="{}",
        **sources,
    )
