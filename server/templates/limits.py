"""Limits the loop iterations, output, memory and CPU time of templates.

Campaign authors are trusted, but templates loop over data from callers, and one runaway template would block
every delivery of its process. python-liquid's own limits are not enough: they count only nested loops, and do
not limit the results of filters or the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from liquid import BoundTemplate, RenderContext, Token, TokenStream
from liquid.ast import Node
from liquid.builtin.expressions import LoopExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.tags.for_tag import ForTag
from liquid.builtin.tags.tablerow_tag import TablerowNode, TablerowTag
from liquid.exceptions import LoopIterationLimitError, ResourceLimitError
from liquid.output import LimitedStringIO
from liquid.undefined import UNDEFINED

from ..domain.window import zone_of

__all__ = [
    "MAX_INTEGER_BITS",
    "MAX_LOOPS",
    "MAX_OUTPUT",
    "MAX_SECONDS",
    "MAX_VARIABLES",
    "SWITCH_SECONDS",
    "BoundedContext",
    "BoundedFor",
    "BoundedTablerow",
    "Budget",
    "Cost",
    "Recipient",
    "TimeLimitError",
    "check_range",
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
"""CPU time that rendering one message may take, in seconds. For comparison: the demo's email takes 0.0001; a
loop over 1,000 items, the most that a trigger can contain, 0.02 to 0.12; 1 MiB from 8,000 iterations 0.1."""
SWITCH_SECONDS = 0.0005
"""How long a thread with templates may keep the interpreter when the event loop needs it, in seconds. A send
or a trigger wakes the loop several times, and waits this long each time; Python's default is ten times as
much."""


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

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """Look up a filter, after checking the time limit."""
        self.budget.check()
        return super().filter(name, token)

    def get_buffer(self, buf: TextIO | None = None) -> LimitedStringIO:
        """Return a buffer for what is left of the output. Unlike Liquid's, it keeps carriage returns."""
        used = buf.size if isinstance(buf, LimitedStringIO) else 0
        return LimitedStringIO(limit=MAX_OUTPUT - used, newline="")

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the iterations of a loop that is about to start, and raise if there are too many in total."""
        self.iterations += length
        if self.iterations > MAX_LOOPS:
            raise LoopIterationLimitError(f"more than {MAX_LOOPS} loop iterations", token=None)

    def assign(self, key: str, val: Any) -> None:
        """Assign a variable, after checking the length of a range, which may later become a list."""
        check_range(val)
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
        check_range(items)
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


def check_range(value: object) -> None:
    """Raise LoopIterationLimitError if a value is a range that is too long."""
    if isinstance(value, range) and value.stop - value.start > MAX_LOOPS:
        raise LoopIterationLimitError(f"a range longer than {MAX_LOOPS}", token=None)
