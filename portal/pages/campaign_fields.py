"""What the pages of campaigns share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from clarion.admin.v1 import campaign_draft_pb2 as draft_pb
from clarion.admin.v1 import campaign_pb2 as pb
from clarion.admin.v1 import provider_pb2 as provider_pb

from ..errors import ApiError
from ..forms import Form
from ..visit import Section, Visit

__all__ = [
    "AT",
    "PARTS",
    "SECTION",
    "ProviderChoice",
    "campaign_key",
    "campaign_of",
    "campaign_path",
    "campaign_section",
    "draft_of",
    "provider_choice",
    "providers_in",
    "template_names",
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
_PROVIDER = re.compile(r"[a-z][a-z0-9-]{0,39}")
_PROVIDER_FIELDS, _MOST_PROVIDERS = 3, 10
"""How many fields to show if no more are needed, and how many providers a campaign may have."""


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


def campaign_section(visit: Visit) -> Section:
    """Return the page of the campaign in the URL, for breadcrumbs."""
    key = campaign_key(visit)
    return Section(f"Campaign {key['campaign_id']}", f"/campaigns/{key['project']}/{key['campaign_id']}")


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


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """What the fields of a campaign's providers offer.

    Attributes:
        options: Pairs of value and label; empty if no provider is known, so that names must be typed.
        chosen: The provider of each field, in order of preference; empty texts for fields without one.
        typed: The text of the field in which names are typed.
    """

    options: Sequence[tuple[str, str]]
    chosen: Sequence[str]
    typed: str


async def provider_choice(visit: Visit, channel: str = "") -> ProviderChoice:
    """Return the configured providers to choose from, and those that the form has.

    Args:
        visit: The visit; the form's providers are offered even if they are not configured.
        channel: The campaign's channel; if empty, it is not chosen yet, and labels name the channels.
    """
    given, typed = _names(visit.form), ", ".join(providers_in(visit.form))
    found: Sequence[provider_pb.ConfiguredProvider] = ()
    if visit.can(provider_pb.ListConfiguredProvidersRequest):
        found = (await visit.call(provider_pb.ListConfiguredProvidersRequest())).configured_providers
    if not found:
        return ProviderChoice([], [], typed)
    options = {
        one.provider: _label(one, channel)
        for one in found
        if not channel or not one.channels or channel in one.channels
    }
    unsuitable = {one.provider: f"{one.provider} (not for {channel})" for one in found}
    for name in given:
        options.setdefault(name, unsuitable.get(name, f"{name} (not configured)"))
    fields = max(len(given), min(len(options), _PROVIDER_FIELDS))
    chosen = [*given, *[""] * (fields - len(given))]
    return ProviderChoice([("", "none"), *options.items()], chosen, typed)


def providers_in(form: Form) -> list[str]:
    """Return the providers that a form names, in order of preference."""
    return [name for text in form.all("providers") for name in re.split(r"[,\s]+", text) if name]


def _names(form: Form) -> list[str]:
    """Return the providers in the form that can be names of providers; others are only typed."""
    return [name for name in providers_in(form) if _PROVIDER.fullmatch(name)][:_MOST_PROVIDERS]


def _label(one: provider_pb.ConfiguredProvider, channel: str) -> str:
    """Return what the option of a provider says: also what it delivers, while no channel is chosen."""
    if channel or not one.channels:
        return str(one.provider)
    return f"{one.provider}, for {', '.join(one.channels)}"
