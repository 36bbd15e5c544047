"""The Liquid environment of Clarion's templates: no files, limited work, the user's locale and time zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, Mode, Tag, Token, TokenStream
from liquid import Undefined as EmptyUndefined
from liquid.ast import Node
from liquid.exceptions import (
    FilterItemTypeError,
    LiquidError,
    LocalNamespaceLimitError,
    OutputStreamLimitError,
)
from liquid.output import LimitedStringIO
from liquid.undefined import UNDEFINED

from ..channels import CHANNELS
from ..domain.campaign import Campaign, Template, Undefined
from . import data_filters, locale_filters
from .limits import (
    MAX_LOOPS,
    MAX_OUTPUT,
    MAX_VARIABLES,
    BoundedContext,
    BoundedFor,
    BoundedTablerow,
    Budget,
    Recipient,
    bounded,
)

__all__ = [
    "UNSUBSCRIBE",
    "TemplateEnvironment",
    "describe",
    "environment",
    "is_html",
    "place_name",
    "rendered",
    "sources",
]

UNSUBSCRIBE = "unsubscribe_url"
"""Name of the part that belongs to the campaign rather than to one of its templates."""


class _StrictUndefined(FalsyStrictUndefined):
    """A missing variable that `if` and `default` accept and any other use rejects."""

    __slots__ = ()

    def __init__(
        self, name: str, *, token: Token | None, obj: object = UNDEFINED, hint: str | None = None
    ) -> None:
        nameless = hint == "index out of range"
        super().__init__(name, token=token, obj=obj, hint=f"{name}: {hint}" if nameless else hint)


class TemplateEnvironment(Environment):
    """Defines the tags, filters and limits of all templates."""

    output_stream_limit = MAX_OUTPUT
    loop_iteration_limit = MAX_LOOPS
    local_namespace_limit = MAX_VARIABLES

    def __init__(
        self, *, html: bool, undefined: Undefined = Undefined.EMPTY, tolerance: Mode = Mode.STRICT
    ) -> None:
        """Create an environment.

        Args:
            html: Whether values are escaped for HTML.
            undefined: Whether a missing variable is empty or an error.
            tolerance: Whether parse errors are raised or collected.
        """
        strict = undefined is Undefined.STRICT
        super().__init__(
            autoescape=html, undefined=_StrictUndefined if strict else EmptyUndefined, tolerance=tolerance
        )

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register the tags and filters that templates may use."""
        super().setup_tags_and_filters(extra=extra)
        del self.tags["include"], self.tags["render"]
        self.add_tag(BoundedFor)
        self.add_tag(BoundedTablerow)
        for tag in self.tags.values():
            _locate(tag)
        filters = self.filters | data_filters.FILTERS | locale_filters.FILTERS
        self.filters = {name: bounded(name, func) for name, func in filters.items()}


def _locate(tag: Tag) -> None:
    """Set the position of faults at the end of a tag's expression, which have none, to that of the tag."""
    parse = tag.parse

    def located(stream: TokenStream) -> Node:
        start = stream.current
        try:
            return parse(stream)
        except LiquidError as fault:
            if fault.token is None or fault.token.start_index < 0:
                fault.token = start
            raise

    tag.parse = located  # type: ignore[method-assign]  # tags belong to their environment


_ENVIRONMENTS = MappingProxyType(
    {
        (html, undefined): TemplateEnvironment(html=html, undefined=undefined)
        for html in (False, True)
        for undefined in Undefined
    }
)


def environment(part: str, undefined: Undefined) -> TemplateEnvironment:
    """Return the environment in which a part of a message is compiled."""
    return _ENVIRONMENTS[is_html(part), undefined]


def is_html(part: str) -> bool:
    """Return whether values are escaped for HTML in a part."""
    return part in {"html", "mjml"}


def sources(campaign: Campaign, template: Template) -> Iterator[tuple[str, str]]:
    """Yield the name and source of each part that the channel uses and that is not empty."""
    for part in CHANNELS[campaign.channel].parts:
        source: str = getattr(template, part)
        if source:
            yield part, source


def rendered(
    template: BoundTemplate, namespace: Mapping[str, object], recipient: Recipient, budget: Budget
) -> str:
    """Render a template and return the text.

    Raises:
        LiquidError: The template cannot be used with this data, or exceeds a limit.
    """
    context = BoundedContext(template, namespace, recipient, budget)
    buffer = LimitedStringIO(limit=MAX_OUTPUT)
    template.render_with_context(context, buffer)
    return buffer.getvalue()


def place_name(locale: str, part: str) -> str:
    """Return the name of a part as error messages show it: `pt-br subject`."""
    return part if part == UNSUBSCRIBE else f"{locale} {part}"


def describe(locale: str, part: str, error: LiquidError) -> str:
    """Return the place and the fault, without the data that caused it."""
    return f"{place_name(locale, part)}{_position(error)}: {_fault(error)}"


def _fault(error: LiquidError) -> object:
    match error:
        case FilterItemTypeError():
            return "an item of the array has no such property"
        case OutputStreamLimitError():
            return f"longer than {MAX_OUTPUT >> 20} MiB"
        case LocalNamespaceLimitError():
            return f"its variables take more than {MAX_VARIABLES >> 20} MiB"
    return error.message


def _position(error: LiquidError) -> str:
    """Return `, line L, column C` if the error has a position."""
    try:
        context = error.context()
    except ValueError:  # beyond the end of the source
        return ", at the end"
    return f", line {context[0]}, column {context[1] + 1}" if context else ""
