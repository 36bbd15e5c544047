"""The one way in which tests wait for something that announces itself by no event they can await."""

# ruff: noqa: ASYNC109  # the failure names what was awaited; `asyncio.timeout` would not
from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

__all__ = ["TIMEOUT", "until"]

TIMEOUT = 90.0
"""Seconds. Generous, because waiting longer costs nothing when the test passes."""
INTERVAL = 0.01
"""Seconds between the first looks at the condition."""
PATIENCE = 0.05
"""The part of the time waited so far after which to look again: looking often costs what is waited for."""

T = TypeVar("T")


@overload
async def until(
    condition: Callable[[], Awaitable[T]],
    what: str | Callable[[], str],
    timeout: float = ...,
    *,
    interval: float = ...,
) -> T: ...
@overload
async def until(
    condition: Callable[[], T],
    what: str | Callable[[], str],
    timeout: float = ...,
    *,
    interval: float = ...,
) -> T: ...
async def until(
    condition: Callable[[], T | Awaitable[T]],
    what: str | Callable[[], str],
    timeout: float = TIMEOUT,
    *,
    interval: float = INTERVAL,
) -> T:
    """Wait until a condition holds, and return its value.

    Args:
        condition: A function, or a coroutine function, that returns something true once the wait is over.
        what: What is awaited, for the failure: "the key is known". A function is called at the failure, for
            details such as a log.
        timeout: Seconds until the test fails.
        interval: Seconds between the first looks at the condition; it grows with the time waited.

    Raises:
        AssertionError: The condition did not hold in time.
    """
    value: T | None = None
    clock = asyncio.get_running_loop().time
    start = clock()
    try:
        async with asyncio.timeout(timeout) as scope:
            while True:
                found = condition()
                value = await found if inspect.isawaitable(found) else found
                if value:
                    return value
                await asyncio.sleep(max(interval, PATIENCE * (clock() - start)))
    except TimeoutError:
        if not scope.expired():
            raise  # the condition's own
        wanted = what if isinstance(what, str) else what()
        raise AssertionError(f"not within {timeout:g} s: {wanted} (last value: {value!r})") from None
