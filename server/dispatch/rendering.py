"""Rendering: a campaign's Liquid templates and a trigger's data become a message."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from liquid import BoundTemplate
from liquid.exceptions import LiquidError
from liquid.output import LimitedStringIO

from ..domain.campaign import Campaign, Channel, locale_chain
from ..domain.trigger import Trigger
from ..errors import RenderError
from .checking import check_templates
from .message import Email, Message, Push, Text, message_id_for
from .templating import HTML, MAX_OUTPUT, PLAIN, BoundedContext, describe, sources, zone_of

__all__ = ["Renderer", "check_templates"]

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class _Compiled:
    """One campaign's templates in one locale, parsed; an empty source is no part."""

    locale: str
    parts: Mapping[str, BoundTemplate]


class Renderer:
    """Renders messages; keeps the `capacity` templates that were used last in parsed form."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._compiled: OrderedDict[tuple[int, int, int, str], _Compiled] = OrderedDict()

    def render(self, campaign: Campaign, trigger: Trigger) -> Message:
        """Return the message of a trigger.

        Raises:
            RenderError: A template is wrong, or runs away; names locale, part, line and column.
            Permanent: The campaign's sender is no email address.
        """
        if campaign.channel is not trigger.channel:
            raise RenderError(f"the campaign is of channel {campaign.channel} now, not {trigger.channel}")
        compiled = self._compile(campaign, trigger.locale)
        namespace = _namespace(campaign, trigger)
        parts = {
            part: _render_part(compiled.locale, part, template, namespace, trigger.timezone)
            for part, template in compiled.parts.items()
        }
        return _message(campaign, trigger, parts)

    def _compile(self, campaign: Campaign, locale: str) -> _Compiled:
        """Return the parsed templates, from the cache if they are there."""
        key = (campaign.project_id, campaign.id, campaign.revision, locale)
        compiled = self._compiled.get(key)
        if compiled is not None:
            self._compiled.move_to_end(key)
            return compiled
        compiled = self._compiled[key] = _compile(campaign, locale)
        if len(self._compiled) > self._capacity:
            self._compiled.popitem(last=False)
        return compiled


def _compile(campaign: Campaign, locale: str) -> _Compiled:
    if not campaign.templates:
        raise RenderError("the campaign has no template")
    chosen = next(
        (c for c in locale_chain(locale) if c in campaign.templates), next(iter(campaign.templates))
    )
    parts = {}
    for part, source in sources(campaign.channel, campaign.templates[chosen]):
        try:
            parts[part] = (HTML if part == "html" else PLAIN).from_string(source)
        except LiquidError as error:
            raise RenderError(describe(chosen, part, error)) from error
    return _Compiled(chosen, parts)


def _namespace(campaign: Campaign, trigger: Trigger) -> Mapping[str, object]:
    """Return what templates can read."""
    user = {
        "external_id": trigger.external_id,
        trigger.channel.address_field: trigger.address,
        "timezone": trigger.timezone,
        "locale": trigger.locale,
        "data": _json(trigger.user_data),
    }
    return {
        "user": user,
        "event": _json(trigger.event),
        "campaign": {"id": campaign.id, "name": campaign.name},
    }


def _json(text: str) -> object:
    """Decode a JSON object as the caller wrote it; integers of any length stay exact."""
    if not text:
        return {}
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise RenderError("the trigger's data are not readable JSON") from None


def _render_part(
    locale: str, part: str, template: BoundTemplate, namespace: Mapping[str, object], timezone: str
) -> str:
    context = BoundedContext(template, globals=namespace)
    context.iterations = 0
    context.zone = zone_of(timezone)
    buffer = LimitedStringIO(limit=MAX_OUTPUT)
    try:
        template.render_with_context(context, buffer)
    except LiquidError as error:
        raise RenderError(describe(locale, part, error)) from error
    except Exception as error:  # a filter's own: its text may quote the user's data
        raise RenderError(f"{locale} {part}: {type(error).__name__} in a filter or tag") from error
    return buffer.getvalue()


def _message(campaign: Campaign, trigger: Trigger, parts: Mapping[str, str]) -> Message:
    text = parts.get("text", "")
    if not text.strip() and not parts.get("html", "").strip():
        raise RenderError("the message came out empty")
    if trigger.channel is Channel.TEXT:
        return Text(trigger.id, campaign.sender, trigger.address, text.strip())
    if trigger.channel is Channel.PUSH:
        data = {"trigger_id": str(trigger.id), "campaign_id": str(campaign.id)}
        return Push(trigger.id, trigger.address, _one_line(parts.get("title", "")), text.strip(), data)
    return Email(
        trigger.id,
        message_id_for(trigger.id, campaign.sender),
        campaign.sender,
        trigger.address,
        _one_line(parts.get("subject", "")),
        text,
        parts.get("html", ""),
    )


def _one_line(text: str) -> str:
    """Collapse line ends: a subject that holds one would be a way to add headers."""
    return " ".join(text.split())
