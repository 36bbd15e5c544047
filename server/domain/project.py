"""Projects, which own keys and campaigns."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .campaign import Channel
from .limit import NO_OWN_LIMIT, OwnLimit

__all__ = ["Project", "name_problem"]

_MAX_NAME = 100
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)  # as CreateProjectRequest in project.proto


@dataclass(frozen=True, slots=True)
class Project:
    """A project. All its keys share its limit."""

    id: int
    name: str
    created_at: dt.datetime
    limit: OwnLimit = NO_OWN_LIMIT
    timezone: str = "UTC"
    """The IANA time zone of users whose own time zone is unknown."""
    content_days: Mapping[Channel, int] = field(default_factory=dict)
    """How many days the content of triggers is kept, for channels that do not have the default."""


def name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a new project, or None."""
    if _NAME.fullmatch(name) and len(name) <= _MAX_NAME:
        return None
    return f"must be at most {_MAX_NAME} letters, digits, `.`, `_` and `-`, and start with a letter or digit"
