"""The Liquid environment of Clarion's templates, which has limits and filters for the user's locale.

Templates cannot read files. Each field of a template that the channel uses is called a part, for example
`subject` or `html`; each part is compiled and rendered separately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TextIO

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, Mode, Tag, Token, TokenStream
from liquid import Undefined as EmptyUndefined
from liquid.ast import Node
from liquid.exceptions import LiquidError, LiquidInterrupt, LiquidSyntaxError
from liquid.lex import _tokenize_template
from liquid.undefined import UNDEFINED

from ..channels import CHANNELS
from ..domain.campaign import Campaign, Template, Undefined
from . import array_filters, locale_filters, number_filters, text_filters
from .filter_limits import bounded
from .limits import (
    MAX_LOOPS,
    MAX_OUTPUT,
    MAX_VARIABLES,
    BoundedContext,
    BoundedFor,
    BoundedTablerow,
    Budget,
    Recipient,
)
from .tags import TAGS
from .tokens import TemplateRules

__all__ = [
    "TemplateEnvironment",
    "environment_for",
    "is_html",
    "part_sources",
    "render_text",
]


class _StrictUndefined(FalsyStrictUndefined):
    """A missing variable. `if` and `default` accept it; any other use is an error."""

    __slots__ = ()

    def __init__(
        self, name: str, *, token: Token | None, obj: object = UNDEFINED, hint: str | None = None
    ) -> None:
        lacks_name = hint == "index out of range"  # Liquid's other hints contain the variable's name
        super().__init__(name, token=token, obj=obj, hint=f"{name}: {hint}" if lacks_name else hint)


class TemplateEnvironment(Environment):
    """A Liquid environment with the tags, filters and limits of Clarion's templates."""

    output_stream_limit = MAX_OUTPUT
    loop_iteration_limit = MAX_LOOPS
    local_namespace_limit = MAX_VARIABLES

    def __init__(
        self, *, html: bool, undefined: Undefined = Undefined.EMPTY, tolerance: Mode = Mode.STRICT
    ) -> None:
        """Create an environment.

        Args:
            html: Whether to escape values for HTML.
            undefined: Whether a missing variable is empty or an error.
            tolerance: Whether to raise parse errors (STRICT) or to continue after them (LAX).
        """
        strict = undefined is Undefined.STRICT
        super().__init__(
            autoescape=html, undefined=_StrictUndefined if strict else EmptyUndefined, tolerance=tolerance
        )

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        """Return a function that splits a source into tokens."""
        return _tokenized

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register the tags and filters that templates may use."""
        super().setup_tags_and_filters(extra=extra)
        del self.tags["include"], self.tags["render"]
        own_tags: tuple[type[Tag], ...] = (*TAGS, BoundedFor, BoundedTablerow)
        for tag in own_tags:
            self.add_tag(tag)
        for registered in self.tags.values():
            _locate(registered)
        filters = self.filters
        for module in (text_filters, array_filters, number_filters, locale_filters):
            filters = filters | module.FILTERS
        self.filters = {name: bounded(name, func) for name, func in filters.items()}


def _tokenized(source: str) -> Iterator[Token]:
    return _tokenize_template(source, TemplateRules())  # type: ignore[arg-type]  # it only calls finditer


def _locate(tag: Tag) -> None:
    """Add the position of a tag to its parse errors that have none.

    Liquid's errors have none if the tag's expression ends too early.
    """
    parse = tag.parse

    def located(stream: TokenStream) -> Node:
        start = stream.current
        try:
            return parse(stream)
        except LiquidError as fault:
            if fault.token is None or fault.token.start_index < 0:
                fault.token = start
            raise

    tag.parse = located  # type: ignore[method-assign]  # safe: each environment has its own tags


_ENVIRONMENTS = MappingProxyType(
    {
        (html, undefined): TemplateEnvironment(html=html, undefined=undefined)
        for html in (False, True)
        for undefined in Undefined
    }
)


def environment_for(part: str, undefined: Undefined) -> TemplateEnvironment:
    """Return the environment in which to compile a part."""
    return _ENVIRONMENTS[is_html(part), undefined]


def is_html(part: str) -> bool:
    """Return whether a part is HTML or MJML, in which values are escaped."""
    return part in {"html", "mjml"}


def part_sources(campaign: Campaign, template: Template) -> Iterator[tuple[str, str]]:
    """Yield the name and source of each part of a template that is not empty."""
    for part in CHANNELS[campaign.channel].parts:
        source: str = getattr(template, part)
        if source:
            yield part, source


def render_text(
    template: BoundTemplate, namespace: Mapping[str, object], recipient: Recipient, budget: Budget
) -> str:
    """Render a compiled template.

    Raises:
        LiquidError: The template does not work with this data, or exceeds a limit.
    """
    context = BoundedContext(template, namespace, recipient, budget)
    buffer = context.get_buffer()
    _render_nodes(template.nodes, context, buffer)
    budget.loops = max(budget.loops, context.iterations)
    budget.output = max(budget.output, buffer.size)
    return buffer.getvalue()


def _render_nodes(nodes: Iterable[Node], context: BoundedContext, buffer: TextIO) -> None:
    """Render the nodes of a template. Liquid's method also renders partials, and takes 8 µs more."""
    for node in nodes:
        try:
            node.render(context, buffer)
        except LiquidInterrupt as interrupt:
            raise LiquidSyntaxError(f"unexpected '{interrupt}'", token=node.token) from None
        except LiquidError as fault:
            fault.token = fault.token or node.token
            raise
