"""What a template may use up: loops, characters, memory, time.

Campaigns are written by people we trust, but what they loop over comes from callers, and one
runaway template would stop every delivery of this process. python-liquid's own limits leave
gaps (they count nested loops only, no filter's output, and no time), which are closed here.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from liquid import BoundTemplate, RenderContext, Token, TokenStream
from liquid.ast import Node
from liquid.builtin.expressions import LoopExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.tags.for_tag import ForTag
from liquid.builtin.tags.tablerow_tag import TablerowNode, TablerowTag
from liquid.exceptions import FilterValueError, LoopIterationLimitError, ResourceLimitError
from liquid.undefined import UNDEFINED, is_undefined

from ..domain.window import zone_of

__all__ = [
    "MAX_INTEGER_BITS",
    "MAX_LOOPS",
    "MAX_OUTPUT",
    "MAX_SECONDS",
    "MAX_VARIABLES",
    "BoundedContext",
    "BoundedFor",
    "BoundedTablerow",
    "Budget",
    "Filter",
    "Reader",
    "bounded",
]

MAX_OUTPUT = 1024 * 1024
"""Bytes that one part of a message, and characters that one filter, may come to."""
MAX_LOOPS = 10_000
"""Loop iterations in one part of a message, all loops together; also a range's length."""
MAX_VARIABLES = 1024 * 1024
"""Bytes that a part's `assign` and `capture` variables may take."""
MAX_INTEGER_BITS = 4096
MAX_SECONDS = 1.0
"""Seconds of CPU that all parts of one message may take. The demo's email takes 0.0001."""

Filter = Callable[..., Any]


class Budget:
    """The time that one message may take to render.

    It is looked at for each variable, filter and loop iteration, so it has to be cheap: a glance at the
    wall clock (50 ns). Only when that is over, the CPU time is asked for, which is what counts: a busy or
    suspended machine is not the template's fault, and a message that is cut off is never sent.
    """

    __slots__ = ("_began", "_look_at", "_seconds")

    def __init__(self, seconds: float) -> None:
        """Begin to count `seconds` of this thread's CPU time."""
        self._seconds = seconds
        self._began = time.thread_time()
        self._look_at = time.monotonic() + seconds

    def check(self) -> None:
        """Raise ResourceLimitError if the time is used up."""
        if time.monotonic() >= self._look_at:
            left = self._seconds - (time.thread_time() - self._began)
            if left <= 0:
                raise ResourceLimitError(f"takes too long: more than {self._seconds:g} s", token=None)
            self._look_at = time.monotonic() + left


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom a message is rendered: a BCP 47 locale and an IANA time zone, either may be empty."""

    locale: str = ""
    timezone: str = ""
    timezone_fallback: str = "UTC"


class BoundedContext(RenderContext):
    """A render context that counts the iterations of all loops, keeps the time, and knows the user."""

    __slots__ = ("budget", "iterations", "locale", "zone")

    def __init__(
        self, template: BoundTemplate, namespace: Mapping[str, object], reader: Reader, budget: Budget
    ) -> None:
        super().__init__(template, globals=namespace)
        self.locale = reader.locale
        self.zone = zone_of(reader.timezone, reader.timezone_fallback)
        self.budget = budget
        self.iterations = 0

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        """Look a variable up, if there is time."""
        self.budget.check()
        return super().get(path, token=token, default=default)

    def filter(self, name: str, token: Token | None) -> Filter:
        """Look a filter up, if there is time."""
        self.budget.check()
        return super().filter(name, token)

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the iterations of a loop that is about to begin."""
        self.iterations += length
        if self.iterations > MAX_LOOPS:
            raise LoopIterationLimitError(f"more than {MAX_LOOPS} loop iterations", token=None)

    def assign(self, key: str, val: Any) -> None:
        """Keep a variable, unless it would grow into a long list later."""
        _check_range(val)
        super().assign(key, val)

    def timed(self, items: Iterator[object]) -> Iterator[object]:
        """Yield a loop's items while there is time."""
        for item in items:
            self.budget.check()
            yield item


class _BoundedRange(RangeLiteral):
    """`(1..n)` that stops before a loop over it could be turned into a list."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        found = super().evaluate(context)
        _check_range(found)
        return found


class _TimedLoop(LoopExpression):
    """A loop that ends when the time is up, whatever stands in it."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> tuple[Iterator[object], int]:
        items, length = super().evaluate(context)
        return context.timed(items) if isinstance(context, BoundedContext) else items, length


def _bound(loop: LoopExpression) -> LoopExpression:
    iterable = loop.iterable
    if isinstance(iterable, RangeLiteral):
        iterable = _BoundedRange(iterable.token, iterable.start, iterable.stop)
    return _TimedLoop(
        loop.token,
        loop.identifier,
        iterable,
        limit=loop.limit,
        offset=loop.offset,
        reversed_=loop.reversed,
        cols=loop.cols,
    )


class BoundedFor(ForTag):
    """`for`, within bounds."""

    def parse(self, stream: TokenStream) -> Node:
        """Parse the tag."""
        node = super().parse(stream)
        node.expression = _bound(node.expression)  # type: ignore[attr-defined]  # always a ForNode
        return node


class BoundedTablerow(TablerowTag):
    """`tablerow`, within bounds."""

    def parse(self, stream: TokenStream) -> TablerowNode:
        """Parse the tag."""
        node = super().parse(stream)
        node.expression = _bound(node.expression)
        return node


# What Liquid's filters let through, besides errors of their own.
_UNFIT = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, ValueError)


def bounded(name: str, func: Filter) -> Filter:
    """Wrap a filter so that neither its result nor the work to make it gets out of hand.

    A variable that is missing is poked first: where that is an error, it is one in every filter but
    `default`, which is there for it. Some of Liquid's own would take it for zero or empty.
    """
    foretell = _GROWTH.get(name)
    missing_is_welcome = name == "default"

    @functools.wraps(func)
    def call(left: Any, *args: Any, **kwargs: Any) -> Any:
        for value in (left, *args, *kwargs.values()):
            _check_range(value)
            if is_undefined(value) and not missing_is_welcome:
                value.poke()
        if foretell is not None and foretell(left, *args) > MAX_OUTPUT:
            raise ResourceLimitError(f"the result of `{name}` is too long", token=None)
        try:
            result = func(left, *args, **kwargs)
        except _UNFIT as error:  # not its text, which may quote the user's data
            fault = f"`{name}` cannot be used with this value ({type(error).__name__})"
            raise FilterValueError(fault, token=None) from error
        if _size(result) > MAX_OUTPUT:
            raise ResourceLimitError(f"the result of `{name}` is too long", token=None)
        return result

    return call


def _check_range(value: object) -> None:
    if isinstance(value, range) and value.stop - value.start > MAX_LOOPS:
        raise LoopIterationLimitError(f"a range longer than {MAX_LOOPS}", token=None)


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
