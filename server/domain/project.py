"""Projects: what keys and campaigns belong to."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from .limit import NO_OWN_LIMIT, OwnLimit

__all__ = ["Project"]


@dataclass(frozen=True, slots=True)
class Project:
    """A project; all its keys share its limit."""

    id: int
    name: str
    created_at: dt.datetime
    limit: OwnLimit = NO_OWN_LIMIT
    timezone: str = "UTC"
    """IANA; the clock of users whose own is not known."""
