"""Presents active endpoints as destinations, each with its own slots and breaker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ...domain.webhook import Target, lane_of
from ..providers.base import Destination, SendingPolicy

__all__ = ["AHEAD", "Endpoints"]

AHEAD = 15
"""Messages that are claimed in advance for each concurrent post. With the default of 4 posts, a claim takes
up to 64 messages, so that an endpoint gets hundreds per second although a claim may take 50 ms."""


@dataclass(frozen=True, slots=True)
class _Limits:
    """The limits of every endpoint."""

    timeout: float
    concurrency: int
    policy: SendingPolicy = field(default_factory=SendingPolicy)


class Endpoints(Mapping[str, Destination]):
    """All currently active endpoints, by ID.

    Args:
        targets: Returns the active endpoints.
        timeout: Seconds that one post may take.
        concurrency: Maximum concurrent posts per endpoint.
    """

    def __init__(
        self, targets: Callable[[], Mapping[str, Target]], *, timeout: float, concurrency: int
    ) -> None:
        self._targets = targets
        self._limits = _Limits(timeout, concurrency)

    def target(self, endpoint: str) -> Target | None:
        """Return an endpoint's URL and secrets, or None if it is not active."""
        return self._targets().get(endpoint)

    def lanes(self) -> Collection[str]:
        """Return the lanes of all active endpoints."""
        return {lane_of(endpoint) for endpoint in self._targets()}

    def __getitem__(self, endpoint: str) -> Destination:
        if endpoint not in self._targets():
            raise KeyError(endpoint)
        return self._limits

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets())

    def __len__(self) -> int:
        return len(self._targets())
