"""Short ways to render one template."""

from __future__ import annotations

from server.channels.email_message import Email
from server.domain.campaign import Template, Undefined
from server.templates.render import Renderer
from tests.kit.dispatch import make_campaign, make_trigger

STRICT = Undefined.STRICT


def render(
    parts: Template,
    *,
    event: str = "",
    locale: str = "",
    timezone: str = "",
    undefined: Undefined = Undefined.EMPTY,
    seconds: float = 1.0,
) -> Email:
    campaign = make_campaign(templates={"default": parts}, undefined=undefined)
    trigger = make_trigger(event=event, locale=locale, timezone=timezone)
    message = Renderer(seconds=seconds).render(campaign, trigger)
    assert isinstance(message, Email)
    return message


def text_of(
    source: str,
    *,
    event: str = "",
    locale: str = "",
    timezone: str = "",
    undefined: Undefined = Undefined.EMPTY,
) -> str:
    parts = Template(text=source)
    return render(parts, event=event, locale=locale, timezone=timezone, undefined=undefined).text
