"""Counts calls toward the rate limits, and builds the error for calls over a limit.

The headers of the error follow draft-ietf-httpapi-ratelimit-headers, which describes quotas and windows, not
token buckets. The quota `q` is the burst. The window `w` is the time in which an empty bucket fills, in whole
seconds. A caller that makes q calls every w seconds stays within the limit. The error's message contains the
exact rate.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence

from ..domain.key import ApiKey
from ..domain.limit import Exceeded, Limit, RateLimiter
from ..domain.ports import Catalog
from ..errors import RateLimited

__all__ = ["rate_limited", "take_tokens"]

_OWNERS = {"key": "this API key", "project": "the API key's project"}


def take_tokens(
    limits: RateLimiter, catalog: Catalog, key: ApiKey, wanted: int = 1
) -> tuple[int, RateLimited | None]:
    """Remove up to `wanted` tokens from the buckets of a key and of its project.

    Returns:
        The number of tokens taken and, if that is fewer than `wanted`, the error for the others.
    """
    of_key = limits.of_key(key.limit)
    of_project = limits.of_project(catalog.project_limit(key.project_id))
    taken, exceeded = limits.take_up_to(wanted, key.id, of_key, key.project_id, of_project)
    if not exceeded:
        return taken, None
    return taken, rate_limited(key.id, {"key": of_key, "project": of_project}, exceeded)


def rate_limited(key_id: uuid.UUID, limits: Mapping[str, Limit], exceeded: Sequence[Exceeded]) -> RateLimited:
    """Return the error for a call over a limit. If both limits are exceeded, the longer wait applies.

    Args:
        key_id: The caller's API key.
        limits: The limits of the key and of its project, by `key` and `project`.
        exceeded: Those that are exceeded.
    """
    longest = max(exceeded, key=lambda limit: limit.wait)
    seconds = _whole(longest.wait)
    return RateLimited(
        longest.wait,
        f"Too many calls: {_OWNERS[longest.scope]} is limited to {longest.limit}; wait {seconds} s.",
        metadata={"key_id": str(key_id), "limit": longest.scope},
        headers=(
            ("ratelimit-policy", _policies(limits)),
            ("ratelimit", ", ".join(f'"{limit.scope}";r=0;t={_whole(limit.wait)}' for limit in exceeded)),
        ),
    )


def _policies(limits: Mapping[str, Limit]) -> str:
    return ", ".join(
        f'"{scope}";q={limit.burst};w={_whole(limit.burst / limit.rate)}'
        for scope, limit in limits.items()
        if limit.rate
    )


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
