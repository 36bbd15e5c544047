"""Results of calls."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Accepted", "Violation"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The trigger is committed to disk and will be sent."""

    trigger_id: str
    """A UUID."""
    replayed: bool = False
    """Whether the trigger was already accepted, by an earlier call with the same `request_id` or an earlier
    attempt of this call. Nothing is sent twice."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invalid field of a request."""

    field: str
    """The field's path, such as `user.email`."""
    description: str
    reason: str
    """A stable ViolationReason, such as `REQUIRED` (docs/reference/errors.md)."""
