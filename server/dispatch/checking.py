"""Checking a campaign's templates before it is applied: every fault at once."""

from __future__ import annotations

from liquid import BoundTemplate, Mode, Token
from liquid.exceptions import LiquidError, LiquidSyntaxError, UnknownFilterError
from liquid.token import TOKEN_EXPRESSION

from ..domain.campaign import Campaign
from .templating import HTML, PLAIN, TemplateEnvironment, describe, sources

__all__ = ["check_templates"]

MAX_SOURCE = 256 * 1024
"""Characters of one template source."""


class _ListeningEnvironment(TemplateEnvironment):
    """Notes faults and goes on, where rendering would stop at the first."""

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, tolerance=Mode.LAX)
        self.faults: list[LiquidError] = []

    def error(
        self, exc: type[LiquidError] | LiquidError, msg: str | None = None, token: Token | None = None
    ) -> None:
        """Note a fault."""
        fault = exc if isinstance(exc, LiquidError) else exc(msg, token=token)
        fault.token = fault.token or token
        self.faults.append(fault)


def check_templates(campaign: Campaign) -> list[str]:
    """Return all faults of a campaign's templates, each with locale, part, line and column."""
    found = []
    for locale, template in campaign.templates.items():
        for part, source in sources(campaign.channel, template):
            found += [describe(locale, part, fault) for fault in _faults(source, html=part == "html")]
    return found


def _faults(source: str, *, html: bool) -> list[LiquidError]:
    if len(source) > MAX_SOURCE:
        return [LiquidSyntaxError(f"longer than {MAX_SOURCE} characters", token=None)]
    listening = _ListeningEnvironment(autoescape=html)
    try:
        template = listening.from_string(source)
    except LiquidError as fault:
        return [*listening.faults, fault]
    if listening.faults:
        return listening.faults + _unknown_filters(template, source)
    return _strict_fault(source, html=html) or _unknown_filters(template, source)


def _strict_fault(source: str, *, html: bool) -> list[LiquidError]:
    """Return the first fault that only the strict parser sees, if any."""
    try:
        (HTML if html else PLAIN).from_string(source)
    except LiquidError as fault:
        return [fault]
    return []


def _unknown_filters(template: BoundTemplate, source: str) -> list[LiquidError]:
    """Return a fault for each use of a filter that there is not (Liquid would tell when it renders)."""
    return [
        UnknownFilterError(
            f"unknown filter '{name}'", token=Token(TOKEN_EXPRESSION, name, span.index, source)
        )
        for name, spans in template.analyze().filters.items()
        if name not in template.env.filters
        for span in spans
    ]
