"""Changes of many things, which the API makes in parts: as many as fit into one request of a browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

__all__ = ["until_done"]

_SECONDS = 8.0
"""After this, no other call starts: with the longest (portal/api.py), it is less than the gateway waits."""


async def until_done(step: Callable[[], Awaitable[bool]]) -> bool:
    """Call a step until it returns that nothing is left, or until the time is over.

    Args:
        step: Changes a part, and returns whether nothing is left.

    Returns:
        Whether nothing is left. Otherwise, offer the person to continue.
    """
    end = monotonic() + _SECONDS
    while not await step():
        if monotonic() >= end:
            return False
    return True
