"""The error of a call that exceeds a rate limit.

The headers follow draft-ietf-httpapi-ratelimit-headers, which has quotas and windows but no buckets: the
quota `q` is the burst, and the window `w` is the time, in whole seconds, in which an empty bucket fills. A
caller that makes q calls every w seconds stays within the limit. The message has the exact rate.
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
    """Take up to `wanted` tokens of a key and its project; return how many, and why there were no more."""
    of_key = limits.of_key(key.limit)
    of_project = limits.of_project(catalog.project_limit(key.project_id))
    taken, exceeded = limits.take_up_to(wanted, key.id, of_key, key.project_id, of_project)
    if not exceeded:
        return taken, None
    return taken, rate_limited(key.id, {"key": of_key, "project": of_project}, exceeded)


def rate_limited(key_id: uuid.UUID, limits: Mapping[str, Limit], exceeded: Sequence[Exceeded]) -> RateLimited:
    """Return the error of a key with these limits (by `key` and `project`); the longest wait counts."""
    worst = max(exceeded, key=lambda one: one.wait)
    seconds = _whole(worst.wait)
    return RateLimited(
        worst.wait,
        f"Too many calls: {_OWNERS[worst.scope]} is limited to {worst.limit}; wait {seconds} s.",
        metadata={"key_id": str(key_id), "limit": worst.scope},
        headers=(
            ("ratelimit-policy", _policies(limits)),
            ("ratelimit", ", ".join(f'"{one.scope}";r=0;t={_whole(one.wait)}' for one in exceeded)),
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
