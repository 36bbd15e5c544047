"""The endpoints as the dispatcher sees them: each is a destination with its own slots and breaker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ...domain.webhook import Target, lane_of
from ..providers.base import Destination, SendingPolicy

__all__ = ["Endpoints"]


@dataclass(frozen=True, slots=True)
class _Bounds:
    timeout: float
    concurrency: int
    policy: SendingPolicy = field(default_factory=SendingPolicy)


class Endpoints(Mapping[str, Destination]):
    """All active endpoints, by id, as they are at each look."""

    def __init__(
        self, targets: Callable[[], Mapping[str, Target]], *, timeout: float, concurrency: int
    ) -> None:
        """Take how to see them, seconds that one post may take, and how many may be under way to each."""
        self._targets = targets
        self._bounds = _Bounds(timeout, concurrency)

    def target(self, endpoint: str) -> Target | None:
        """Return where an endpoint is and what signs its messages, or None."""
        return self._targets().get(endpoint)

    def lanes(self) -> Collection[str]:
        """Return the lanes of all active endpoints."""
        return {lane_of(endpoint) for endpoint in self._targets()}

    def __getitem__(self, endpoint: str) -> Destination:
        if endpoint not in self._targets():
            raise KeyError(endpoint)
        return self._bounds

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets())

    def __len__(self) -> int:
        return len(self._targets())
