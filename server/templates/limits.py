"""Limits the loop iterations, output, memory and CPU time of templates.

Campaign authors are trusted, but templates loop over data from callers, and one runaway template would block
every delivery of its process. python-liquid's own limits are not enough: they count only nested loops, and do
not limit the results of filters or the time.
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
    "Cost",
    "Filter",
    "Recipient",
    "TimeLimitError",
    "bounded",
]

MAX_OUTPUT = 1024 * 1024
"""Maximum size of one part of a message, in bytes, and of one filter's result, in characters."""
MAX_LOOPS = 10_000
"""Maximum total of loop iterations in one part of a message; also the maximum length of a range."""
MAX_VARIABLES = 1024 * 1024
"""Maximum size of the variables that one part sets with `assign` and `capture`, in bytes."""
MAX_INTEGER_BITS = 4096
"""Maximum size of an integer, in bits."""
MAX_SECONDS = 0.25
"""CPU time that rendering one message may take, in seconds. The demo's email takes 0.0001, a loop over
1,000 items, the most that a trigger may have, 0.02 to 0.12, and a text of 1 MiB from 8,000 iterations 0.1."""

Filter = Callable[..., Any]


class TimeLimitError(ResourceLimitError):
    """Rendering the message takes more CPU time than it may."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What rendering a message cost."""

    seconds: float
    """CPU time for all parts."""
    loops: int
    """Loop iterations in the part that has the most."""
    output: int
    """Size of the largest part in bytes, before post-processing."""


class Budget:
    """Limits the CPU time that rendering one message may take.

    CPU time is limited rather than elapsed time, because a message over the limit is not retried, and must
    not fail because the machine was busy or suspended. `check` is called for each variable, filter and loop
    iteration, so it must be cheap: it reads the monotonic clock (50 ns), and the CPU time only if enough time
    has elapsed for the limit to be exceeded.
    """

    __slots__ = ("_next_check", "_seconds", "_started", "loops", "output")

    def __init__(self, seconds: float) -> None:
        """Start counting.

        Args:
            seconds: The CPU time that this thread may use from now on, in seconds.
        """
        self._seconds = seconds
        self._started = time.thread_time()
        self._next_check = time.monotonic() + seconds
        self.loops = 0
        self.output = 0

    def cost(self) -> Cost:
        """Return what rendering has cost so far."""
        return Cost(time.thread_time() - self._started, self.loops, self.output)

    def check(self) -> None:
        """Raise TimeLimitError if the time is used up."""
        if time.monotonic() >= self._next_check:
            left = self._seconds - (time.thread_time() - self._started)
            if left <= 0:
                raise TimeLimitError(
                    f"takes too long: more than {self._seconds * 1000:g} ms of CPU; loop over fewer items, "
                    "or use fewer filters in loops",
                    token=None,
                )
            self._next_check = time.monotonic() + left


@dataclass(frozen=True, slots=True)
class Recipient:
    """The user for whom a message is rendered."""

    locale: str = ""
    """A BCP 47 tag, or empty."""
    timezone: str = ""
    """An IANA time zone, or empty."""
    timezone_fallback: str = "UTC"


class BoundedContext(RenderContext):
    """A render context that limits loop iterations and time. It also has the user's locale and time zone."""

    __slots__ = ("budget", "iterations", "locale", "zone")

    def __init__(
        self, template: BoundTemplate, namespace: Mapping[str, object], recipient: Recipient, budget: Budget
    ) -> None:
        super().__init__(template, globals=namespace)
        self.locale = recipient.locale
        self.zone = zone_of(recipient.timezone, recipient.timezone_fallback)
        self.budget = budget
        self.iterations = 0

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        """Look up a variable, after checking the time limit."""
        self.budget.check()
        return super().get(path, token=token, default=default)

    def filter(self, name: str, token: Token | None) -> Filter:
        """Look up a filter, after checking the time limit."""
        self.budget.check()
        return super().filter(name, token)

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the iterations of a loop that is about to start, and raise if there are too many in total."""
        self.iterations += length
        if self.iterations > MAX_LOOPS:
            raise LoopIterationLimitError(f"more than {MAX_LOOPS} loop iterations", token=None)

    def assign(self, key: str, val: Any) -> None:
        """Assign a variable, after checking the length of a range, which may later become a list."""
        _check_range(val)
        super().assign(key, val)

    def timed(self, items: Iterator[object]) -> Iterator[object]:
        """Yield a loop's items, and check the time limit before each."""
        for item in items:
            self.budget.check()
            yield item


class _BoundedRange(RangeLiteral):
    """A range `(1..n)` whose length is checked before a loop turns it into a list."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        items = super().evaluate(context)
        _check_range(items)
        return items


class _TimedLoop(LoopExpression):
    """A loop that checks the time limit before each iteration, even if its body is empty."""

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
    """The tag `for` with limits on time and on the length of ranges."""

    def parse(self, stream: TokenStream) -> Node:
        """Parse the tag."""
        node = super().parse(stream)
        node.expression = _bound(node.expression)  # type: ignore[attr-defined]  # always a ForNode
        return node


class BoundedTablerow(TablerowTag):
    """The tag `tablerow` with limits on time and on the length of ranges."""

    def parse(self, stream: TokenStream) -> TablerowNode:
        """Parse the tag."""
        node = super().parse(stream)
        node.expression = _bound(node.expression)
        return node


# What Liquid's filters raise for values that they do not support, in addition to LiquidError.
_UNSUPPORTED_VALUE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    ValueError,
)


def bounded(name: str, func: Filter) -> Filter:
    """Wrap a filter so that its result and the work to compute it are limited.

    Under `undefined: strict`, every filter except `default` also rejects missing variables. Some of Liquid's
    filters would treat them as zero or empty.
    """
    predict_length = _GROWTH.get(name)
    accepts_missing = name == "default"

    @functools.wraps(func)
    def call(left: Any, *args: Any, **kwargs: Any) -> Any:
        for value in (left, *args, *kwargs.values()):
            _check_range(value)
            if is_undefined(value) and not accepts_missing:
                value.poke()  # raises if the variable is strict
        if predict_length is not None and predict_length(left, *args) > MAX_OUTPUT:
            raise ResourceLimitError(f"the result of `{name}` is too long", token=None)
        try:
            result = func(left, *args, **kwargs)
        except _UNSUPPORTED_VALUE as error:  # without its text, which may quote the user's data
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
    """Return the approximate length of a filter's result in characters."""
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


# Filters whose result can be far longer than their arguments: as long as the product of their lengths.
_GROWTH: dict[str, Callable[..., int]] = {"replace": _replaced_length, "join": _joined_length}
