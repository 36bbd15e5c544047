"""Liquid as Clarion's templates speak it: no files, bounded work, dates in the user's time zone.

Campaigns are written by people we trust, but what they loop over comes from callers, and one
runaway template would stop every delivery of this process. python-liquid's own limits leave
gaps (they count nested loops only, and no filter's output), which are closed here.
"""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any

from liquid import Environment, Mode, RenderContext, Tag, TokenStream
from liquid.ast import Node
from liquid.builtin.expressions import LoopExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.tags.for_tag import ForTag
from liquid.builtin.tags.tablerow_tag import TablerowNode, TablerowTag
from liquid.exceptions import (
    FilterArgumentError,
    FilterItemTypeError,
    LiquidError,
    LoopIterationLimitError,
    ResourceLimitError,
)
from liquid.extra import JSON
from liquid.filter import liquid_filter, with_context
from liquid.undefined import is_undefined

from ..domain.campaign import Channel, Template

__all__ = [
    "HTML",
    "MAX_LOOPS",
    "MAX_OUTPUT",
    "PLAIN",
    "BoundedContext",
    "TemplateEnvironment",
    "describe",
    "sources",
    "zone_of",
]

MAX_OUTPUT = 1024 * 1024
"""Bytes that one part of a message, and characters that one filter, may come to."""
MAX_LOOPS = 10_000
"""Loop iterations in one part of a message, all loops together; also an array's length."""
MAX_VARIABLES = 1024 * 1024
"""Bytes that a part's `assign` and `capture` variables may take."""
MAX_INTEGER_BITS = 4096

_PARTS = {
    Channel.EMAIL: ("subject", "text", "html"),
    Channel.TEXT: ("text",),
    Channel.PUSH: ("title", "text"),
}

Filter = Callable[..., Any]


class BoundedContext(RenderContext):
    """A render context that counts the iterations of all loops and knows the user's zone."""

    __slots__ = ("iterations", "zone")

    iterations: int
    zone: dt.tzinfo

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the iterations of a loop that is about to begin."""
        self.iterations += length
        if self.iterations > MAX_LOOPS:
            raise LoopIterationLimitError(f"more than {MAX_LOOPS} loop iterations", token=None)

    def assign(self, key: str, val: Any) -> None:
        """Keep a variable, unless it would grow into a long list later."""
        _check_range(val)
        super().assign(key, val)


class TemplateEnvironment(Environment):
    """The tags, filters and limits of all templates."""

    output_stream_limit = MAX_OUTPUT
    loop_iteration_limit = MAX_LOOPS
    local_namespace_limit = MAX_VARIABLES

    def __init__(self, *, autoescape: bool, tolerance: Mode = Mode.STRICT) -> None:
        """Make one for HTML (autoescape) or for plain text."""
        super().__init__(autoescape=autoescape, tolerance=tolerance)

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register what templates may use."""
        super().setup_tags_and_filters(extra=extra)
        del self.tags["include"], self.tags["render"]
        self.add_tag(_BoundedFor)
        self.add_tag(_BoundedTablerow)
        for tag in self.tags.values():
            _locate(tag)
        self.add_filter("date", date)
        self.add_filter("json", JSON())
        self.filters = {name: _bounded(name, func) for name, func in self.filters.items()}


def _locate(tag: Tag) -> None:
    """Let a fault at the end of a tag's expression, which has no place, show the tag's own."""
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


class _BoundedRange(RangeLiteral):
    """`(1..n)` that stops before a loop over it could be turned into a list."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        found = super().evaluate(context)
        _check_range(found)
        return found


def _bound(expression: LoopExpression) -> None:
    ranged = expression.iterable
    if isinstance(ranged, RangeLiteral):
        expression.iterable = _BoundedRange(ranged.token, ranged.start, ranged.stop)


class _BoundedFor(ForTag):
    def parse(self, stream: TokenStream) -> Node:
        node = super().parse(stream)
        _bound(node.expression)  # type: ignore[attr-defined]  # always a ForNode
        return node


class _BoundedTablerow(TablerowTag):
    def parse(self, stream: TokenStream) -> TablerowNode:
        node = super().parse(stream)
        _bound(node.expression)
        return node


def _check_range(value: object) -> None:
    if isinstance(value, range) and value.stop - value.start > MAX_LOOPS:
        raise LoopIterationLimitError(f"a range longer than {MAX_LOOPS}", token=None)


def _bounded(name: str, func: Filter) -> Filter:
    """Wrap a filter so that neither its result nor the work to make it gets out of hand."""
    foretell = _GROWTH.get(name)

    @functools.wraps(func)
    def call(left: Any, *args: Any, **kwargs: Any) -> Any:
        for value in (left, *args):
            _check_range(value)
        if foretell is not None and foretell(left, *args) > MAX_OUTPUT:
            raise ResourceLimitError(f"the result of `{name}` is too long", token=None)
        result = func(left, *args, **kwargs)
        if _size(result) > MAX_OUTPUT:
            raise ResourceLimitError(f"the result of `{name}` is too long", token=None)
        return result

    return call


def _size(value: object) -> int:
    """Return about how many characters a filter's result comes to."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int):
        return 0 if value.bit_length() <= MAX_INTEGER_BITS else MAX_OUTPUT + 1
    return 0


def _replaced_length(left: object, seq: object = "", sub: object = "", *_: object) -> int:
    return str(left).count(str(seq)) * len(str(sub))


def _joined_length(left: object, separator: object = " ", *_: object) -> int:
    if not isinstance(left, list | tuple):
        return 0
    texts = sum(len(item) for item in left if isinstance(item, str))
    return texts + len(left) * len(str(separator))


# Filters whose result can be as long as the product of their arguments.
_GROWTH: dict[str, Callable[..., int]] = {"replace": _replaced_length, "join": _joined_length}


@with_context
@liquid_filter
def date(value: Any, fmt: Any = None, *, context: RenderContext) -> str:
    """Format a point in time in the user's time zone.

    Takes ISO 8601 text, seconds since 1970, `now` or `today`. A time without a zone is UTC; a
    date without a time is that date everywhere. Anything else is printed as it is.
    """
    if is_undefined(value) or value is None:
        return ""
    moment = _moment(value, context.zone if isinstance(context, BoundedContext) else dt.UTC)
    if moment is None or is_undefined(fmt) or not fmt:
        return str(value)
    try:
        return moment.strftime(str(fmt).replace("%s", str(int(moment.timestamp()))))
    except (ValueError, OverflowError) as error:
        raise FilterArgumentError(f"date: {error}", token=None) from error


def _moment(value: object, zone: dt.tzinfo) -> dt.datetime | None:
    """Return a point in time in `zone`, or None if `value` is none."""
    if value in ("now", "today"):
        return dt.datetime.now(zone)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return dt.datetime.fromtimestamp(value, zone)
        text = str(value).strip()
        if text.isdecimal() and text.isascii():
            return dt.datetime.fromtimestamp(int(text), zone)
        return _from_iso(text, zone)
    except (ValueError, OverflowError, OSError):
        return None


def _from_iso(text: str, zone: dt.tzinfo) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment.astimezone(zone)
    if not any(mark in text for mark in "T t:"):
        return moment.replace(tzinfo=zone)
    return moment.replace(tzinfo=dt.UTC).astimezone(zone)


@functools.lru_cache(maxsize=1024)
def zone_of(name: str) -> dt.tzinfo:
    """Return the IANA time zone of this name, or UTC if there is none."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return dt.UTC


PLAIN = TemplateEnvironment(autoescape=False)
"""For subjects, titles and plain text."""
HTML = TemplateEnvironment(autoescape=True)
"""For HTML: values are escaped."""


def sources(channel: Channel, template: Template) -> Iterator[tuple[str, str]]:
    """Yield the name and source of each part that the channel uses and that is not empty."""
    for part in _PARTS[channel]:
        source: str = getattr(template, part)
        if source:
            yield part, source


def describe(locale: str, part: str, error: LiquidError) -> str:
    """Name the place and the fault; never the data that met it."""
    fault = (
        "an array's item has no such property" if isinstance(error, FilterItemTypeError) else error.message
    )
    return f"{locale} {part}{_place(error)}: {fault}"


def _place(error: LiquidError) -> str:
    """Return `, line L, column C` if the error knows its place."""
    try:
        context = error.context()
    except ValueError:  # beyond the end of the source
        return ", at the end"
    return f", line {context[0]}, column {context[1] + 1}" if context else ""
