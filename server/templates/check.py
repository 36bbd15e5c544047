"""Checks a campaign's templates before the campaign is applied, and reports every fault at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from liquid import BoundTemplate, Mode, RenderContext, Token
from liquid.ast import Node
from liquid.builtin.expressions.arguments import KeywordArgument
from liquid.builtin.expressions.filtered import Filter, FilteredExpression
from liquid.exceptions import FilterArgumentError, LiquidError, LiquidSyntaxError, UnknownFilterError
from liquid.expression import Expression

from ..channels import CHANNELS
from ..domain.campaign import Campaign, Undefined
from ..domain.delivery_errors import RenderError
from . import mjml
from .environment import TemplateEnvironment, environment_for, is_html, part_sources, render_text
from .faults import UNSUBSCRIBE, TemplateFault, fault_of
from .filter_limits import argument_problem
from .limits import MAX_SECONDS, Budget, Recipient
from .unsubscribe import checked_url

__all__ = ["check_templates"]

MAX_SOURCE = 256 * 1024
"""Maximum length of one template source, in characters."""

MAX_FAULTS = 20
"""Faults of one template source that are reported; to find the line of each of thousands takes seconds."""


class _CollectingEnvironment(TemplateEnvironment):
    """A Liquid environment that collects all faults of a template instead of raising the first one."""

    def __init__(self, *, html: bool) -> None:
        super().__init__(html=html, tolerance=Mode.LAX)
        self.faults: list[LiquidError] = []

    def error(
        self, exc: type[LiquidError] | LiquidError, msg: str | None = None, token: Token | None = None
    ) -> None:
        """Record a fault instead of raising it, unless there are too many."""
        fault = exc if isinstance(exc, LiquidError) else exc(msg, token=token)
        fault.token = fault.token or token
        if len(self.faults) >= MAX_FAULTS:
            raise fault
        self.faults.append(fault)


class _AnyData(dict[str, Any]):
    """Sample data that fits most templates: every member exists, and every loop has one iteration."""

    def __missing__(self, key: str) -> _AnyData:
        return self

    def __str__(self) -> str:
        return "sample"


_NO_DATA: Mapping[str, object] = {}
_SAMPLES = (_NO_DATA, _AnyData(sample="sample"))


def check_templates(campaign: Campaign) -> list[TemplateFault]:
    """Return all faults of a campaign's templates."""
    faults: list[TemplateFault] = []
    spec = CHANNELS[campaign.channel]
    for locale, template in campaign.templates.items():
        faults += [TemplateFault(locale, part, text) for part, text in spec.template_problems(template)]
        if not any(getattr(template, part).strip() for part in spec.bodies):
            cause = f"every message would be empty; set {' or '.join(spec.bodies)}"
            faults.append(TemplateFault(locale, spec.bodies[0], cause))
        for part, source in part_sources(campaign, template):
            faults += _faults(locale, part, source)
    return faults + (_unsubscribe_faults(campaign) if campaign.unsubscribe_url else [])


def _unsubscribe_faults(campaign: Campaign) -> list[TemplateFault]:
    if not CHANNELS[campaign.channel].has_unsubscribe_url:
        return [TemplateFault("", UNSUBSCRIBE, "only email campaigns can have one")]
    source = campaign.unsubscribe_url
    faults = _faults("", UNSUBSCRIBE, source)
    constant = "{{" not in source and "{%" not in source
    return faults or (_problem("", UNSUBSCRIBE, checked_url, source) if constant else [])


def _faults(locale: str, part: str, source: str) -> list[TemplateFault]:
    faults = [fault_of(locale, part, fault) for fault in _liquid_faults(part, source)]
    return _mjml_faults(locale, source) if part == "mjml" and not faults else faults


def _problem(locale: str, part: str, check: Callable[[str], object], text: str) -> list[TemplateFault]:
    """Run a check of a part. Return its error as a fault, or an empty list if it passes."""
    try:
        check(text)
    except RenderError as error:
        return [TemplateFault(locale, part, str(error))]
    return []


def _mjml_faults(locale: str, source: str) -> list[TemplateFault]:
    """Render the template twice, without data and with sample data, and check the resulting MJML.

    A template that cannot be rendered with either is not checked: its faults appear when a message is sent.
    """
    template = environment_for("mjml", Undefined.EMPTY).from_string(source)
    faults: dict[TemplateFault, None] = {}  # in order, without duplicates
    for sample in _SAMPLES:
        try:
            text = render_text(template, sample, Recipient(), Budget(MAX_SECONDS))
        except Exception:  # noqa: S112 - the sample does not fit this template
            continue
        faults |= dict.fromkeys(_problem(locale, "mjml", mjml.check, text))
    return list(faults)


def _liquid_faults(part: str, source: str) -> list[LiquidError]:
    if len(source) > MAX_SOURCE:
        return [LiquidSyntaxError(f"longer than {MAX_SOURCE} characters", token=None)]
    collecting = _CollectingEnvironment(html=is_html(part))
    try:
        template = collecting.from_string(source)
    except LiquidError as fault:
        return [*collecting.faults, fault][:MAX_FAULTS]
    if collecting.faults:
        return (collecting.faults + _filter_faults(template))[:MAX_FAULTS]
    return _strict_fault(part, source) or _filter_faults(template)[:MAX_FAULTS]


def _strict_fault(part: str, source: str) -> list[LiquidError]:
    """Return the first fault that only the strict parser finds, if any."""
    try:
        environment_for(part, Undefined.EMPTY).from_string(source)
    except LiquidError as fault:
        return [fault]
    return []


def _filter_faults(template: BoundTemplate) -> list[LiquidError]:
    """Return a fault for each unknown filter and each wrong argument, which Liquid reports when rendering."""
    faults: list[LiquidError] = []
    for used in _filters_of(template.nodes, RenderContext(template)):
        func = template.env.filters.get(used.name)
        if func is None:
            faults.append(UnknownFilterError(f"unknown filter '{used.name}'", token=used.token))
            continue
        named = [argument.name for argument in used.args if isinstance(argument, KeywordArgument)]
        problem = argument_problem(func, len(used.args) - len(named), named)
        if problem:
            faults.append(FilterArgumentError(f"`{used.name}`: {problem}", token=used.token))
    return faults


def _filters_of(nodes: Iterable[Node], context: RenderContext) -> Iterator[Filter]:
    for node in nodes:
        for expression in node.expressions():
            yield from _filters_in(expression)
        yield from _filters_of(node.children(context), context)


def _filters_in(expression: Expression) -> Iterator[Filter]:
    if isinstance(expression, FilteredExpression):
        yield from expression.filters or ()
    for child in expression.children():
        yield from _filters_in(child)
