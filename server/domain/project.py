"""Projects, which own keys and campaigns."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from .limit import NO_OWN_LIMIT, OwnLimit

__all__ = ["Project"]


@dataclass(frozen=True, slots=True)
class Project:
    """A project. All its keys share its limit."""

    id: int
    name: str
    created_at: dt.datetime
    limit: OwnLimit = NO_OWN_LIMIT
    timezone: str = "UTC"
    """The IANA time zone of users whose own time zone is unknown."""
