"""What calls return."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Accepted", "Violation"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The trigger is on disk and will be sent."""

    trigger_id: str
    """A UUID."""
    replayed: bool = False
    """An earlier call with the same `request_id`, or an earlier try of this one, was accepted already;
    nothing is sent a second time."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule."""

    field: str
    """The field's path, such as `user.email`."""
    description: str
    reason: str
    """Stable, such as `REQUIRED`: a ViolationReason of the contract."""
