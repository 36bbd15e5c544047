"""Converts campaigns to and from messages of the admin API, and checks them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

import msgspec

from clarion.admin.v1 import campaign_draft_pb2 as draft_pb
from clarion.admin.v1 import campaign_pb2 as pb

from ..channels import CHANNELS
from ..domain.campaign import Campaign, RetryPolicy, SendWindow, Template, Undefined
from ..errors import InvalidRequest, Violation
from ..intake.rules import check_rules
from ..templates.check import check_templates
from ..templates.faults import UNSUBSCRIBE, TemplateFault
from .campaign_providers import ConfiguredProviders, provider_problems
from .paging import etag_of
from .recipients import channel_named
from .template_thread import TemplateThread

__all__ = [
    "CHECKS",
    "campaign_message",
    "changed_fields",
    "checked_campaign",
    "content_message",
    "etag_of_campaign",
    "fault_violation",
    "field_texts",
    "state_of",
    "to_campaign",
    "values_of",
    "with_content_of",
]

CHECKS = TemplateThread("check", max_calls=48, own=8)
"""The thread that checks campaigns before they are saved."""
_PARTS = ("subject", "text", "html", "mjml", "title")


def to_campaign(
    request: pb.CreateCampaignRequest
    | pb.UpdateCampaignRequest
    | pb.PreviewCampaignRequest
    | pb.AppliedCampaign
    | draft_pb.SaveCampaignDraftRequest,
    current: Campaign,
    providers: ConfiguredProviders | None,
) -> Campaign:
    """Return a campaign with the content of a request.

    Args:
        request: The request.
        current: The campaign whose project, ID and state it gets.
        providers: The channels of each configured provider; None if they are not known.

    Raises:
        InvalidRequest: The content is invalid; every violation is included.
    """
    violations = check_rules(request)
    content = request.content
    channel = None
    try:
        channel = channel_named(content.campaign_channel, "content.campaign_channel")
    except InvalidRequest as error:
        violations += error.violations
    if violations or channel is None:
        raise InvalidRequest(violations)
    campaign = Campaign(
        project_id=current.project_id,
        id=current.id,
        name=content.display_name,
        channel=channel,
        providers=tuple(content.providers),
        state=current.state,
        sender=content.sender,
        templates=dict(zip(_locales(content), map(_template, content.templates), strict=True)),
        retry=_retry(content),
        window=_window(content, violations),
        unsubscribe_url=content.unsubscribe_url,
        undefined=Undefined.STRICT if content.strict_variables else Undefined.EMPTY,
        revision=current.revision,
        managed_by="",
    )
    violations += _problems(content, campaign, providers)
    if violations:
        raise InvalidRequest(violations)
    return campaign


def campaign_message(campaign: Campaign, project: str) -> pb.Campaign:
    """Return a campaign as a message."""
    return pb.Campaign(
        project=project,
        campaign_id=campaign.id,
        content=content_message(campaign),
        campaign_state=state_of(campaign),
        version=campaign.revision,
        managed_by=campaign.managed_by or "",
        etag=etag_of_campaign(campaign),
    )


def content_message(campaign: Campaign) -> pb.CampaignContent:
    """Return what a campaign sends and how."""
    retry, window = campaign.retry, campaign.window
    return pb.CampaignContent(
        display_name=campaign.name,
        campaign_channel=campaign.channel.value,
        providers=campaign.providers,
        sender=campaign.sender,
        templates=[
            pb.CampaignTemplate(locale=locale, **{part: getattr(one, part) for part in _PARTS})
            for locale, one in sorted(campaign.templates.items())
        ],
        retry_policy=pb.RetryPolicy(
            max_attempts=retry.max_attempts,
            first_delay_seconds=retry.first_delay,
            factor=retry.factor,
            max_delay_seconds=retry.max_delay,
            ttl_seconds=retry.ttl,
        )
        if retry
        else None,
        window_opens=window.opens if window else "",
        window_closes=window.closes if window else "",
        unsubscribe_url=campaign.unsubscribe_url,
        strict_variables=campaign.undefined is Undefined.STRICT,
    )


def with_content_of(version: Campaign, current: Campaign) -> Campaign:
    """Return the current campaign with the content of a version; its state stays as it is."""
    return replace(
        version,
        state=current.state,
        revision=current.revision,
        managed_by=current.managed_by,
        archived_at=current.archived_at,
    )


def field_texts(campaign: Campaign) -> dict[str, str]:
    """Return the texts of a campaign that are not empty, by name, such as `default.subject`."""
    content = content_message(campaign)
    names = [field.name for field in pb.CampaignContent.DESCRIPTOR.fields if field.name != "templates"]
    texts = {name: _text(getattr(content, name)) for name in names}
    texts["campaign_state"] = state_of(campaign)
    for locale, template in sorted(campaign.templates.items()):
        texts |= {f"{locale}.{part}": getattr(template, part) for part in _PARTS}
    return {name: text for name, text in texts.items() if text}


def changed_fields(before: Campaign, after: Campaign) -> list[str]:
    """Return the names of the fields in which the content or the state of two versions differ."""
    old, new = field_texts(before), field_texts(after)
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def _text(value: object) -> str:
    """Return the value of a field as text; empty if it is the default."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, pb.RetryPolicy):
        return "\n".join(f"{field.name}: {given:g}" for field, given in value.ListFields())
    return ", ".join(value) if isinstance(value, Iterable) else str(value)


def state_of(campaign: Campaign) -> str:
    """Return the state of a campaign as a word."""
    return "archived" if campaign.archived_at else campaign.state.value


def etag_of_campaign(campaign: Campaign) -> str:
    """Return the identifier of the campaign's version."""
    return etag_of({"version": campaign.revision})


def values_of(campaign: Campaign) -> Mapping[str, object]:
    """Return the values that the audit log records. Templates are left out: the versions have them."""
    return {
        "version": campaign.revision,
        "name": campaign.name,
        "channel": campaign.channel,
        "providers": campaign.providers,
        "state": state_of(campaign),
        "sender": campaign.sender,
        "locales": sorted(campaign.templates),
        "managed_by": campaign.managed_by,
    }


def _problems(
    content: pb.CampaignContent, campaign: Campaign, providers: ConfiguredProviders | None
) -> list[Violation]:
    """Return the violations of rules that are not in the protos: providers, locales, sender, templates."""
    spec = CHANNELS[campaign.channel]
    found = provider_problems(campaign, providers) if providers is not None else []
    if len(set(campaign.providers)) < len(campaign.providers):
        found.append(Violation("content.providers", "names a provider twice", "ALREADY_USED"))
    locales = _locales(content)
    found += [
        Violation(f"content.templates[{place}].locale", "is also that of another template", "ALREADY_USED")
        for place, locale in enumerate(locales)
        if locale in locales[:place]
    ]
    if not campaign.templates:
        found.append(Violation("content.templates", "needs at least the locale default", "REQUIRED"))
    found += [
        Violation(_field_of(problem), problem.partition(": ")[2] or problem, "INVALID_FORMAT")
        for problem in spec.campaign_problems(campaign)
    ]
    return found + [fault_violation(fault, content) for fault in check_templates(campaign)]


def fault_violation(fault: TemplateFault, content: pb.CampaignContent) -> Violation:
    """Return the fault of a template as a violation of the field of the content that has it."""
    if fault.part == UNSUBSCRIBE:
        return Violation(f"content.{UNSUBSCRIBE}", fault.problem, "INVALID_FORMAT")
    place = _locales(content).index(fault.locale)
    # The description names the locale, because a campaign file has locales instead of positions.
    return Violation(f"content.templates[{place}].{fault.part}", str(fault), "INVALID_FORMAT")


def _field_of(problem: str) -> str:
    """Return the field of a problem, whose text begins with the name that a campaign file has for it."""
    name = problem.partition(":")[0]
    return f"content.{name}" if name in pb.CampaignContent.DESCRIPTOR.fields_by_name else "content"


async def checked_campaign(
    request: pb.CreateCampaignRequest | pb.UpdateCampaignRequest | draft_pb.SaveCampaignDraftRequest,
    current: Campaign,
    providers: ConfiguredProviders | None,
    owner: Hashable,
) -> Campaign:
    """Run `to_campaign`, which may take seconds, in a thread, so that other calls continue.

    Raises:
        InvalidRequest: As for `to_campaign`.
        Overloaded: Too many calls check campaigns.
    """
    return await CHECKS.run(owner, to_campaign, request, current, providers)


def _locales(content: pb.CampaignContent) -> list[str]:
    """Return the locale of each template, as campaigns have it."""
    return [one.locale.replace("_", "-").lower() for one in content.templates]


def _template(one: pb.CampaignTemplate) -> Template:
    return Template(**{part: getattr(one, part) for part in _PARTS})


def _retry(content: pb.CampaignContent) -> RetryPolicy | None:
    if not content.HasField("retry_policy"):
        return None
    given = content.retry_policy
    return RetryPolicy(
        max_attempts=given.max_attempts or RetryPolicy().max_attempts,
        first_delay=given.first_delay_seconds,
        factor=given.factor,
        max_delay=given.max_delay_seconds,
        ttl=given.ttl_seconds,
    )


def _window(content: pb.CampaignContent, violations: list[Violation]) -> SendWindow | None:
    opens, closes = content.window_opens, content.window_closes
    if bool(opens) != bool(closes):
        given, missing = ("opens", "closes") if opens else ("closes", "opens")
        violations.append(
            Violation(f"content.window_{missing}", f"is required, because window_{given} is set", "REQUIRED")
        )
    if not (opens and closes):
        return None
    if opens == closes:
        description = "equals window_opens; leave both empty to send at any time"
        violations.append(Violation("content.window_closes", description, "OUT_OF_RANGE"))
    return msgspec.convert({"opens": opens, "closes": closes}, SendWindow)
