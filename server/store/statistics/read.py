"""Reads the counts of messages, and how providers have done."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...domain.campaign import Channel
from ...domain.statistics import HOUR, MINUTE, Counts, Kind, Window
from ..id_ranges import first_id_at
from ..pool import Connection, Pool
from ..records import admin_lists
from ..sql import load
from .rollup import LAG

__all__ = [
    "Group",
    "ProviderError",
    "ProviderResults",
    "Series",
    "StatisticsFilter",
    "database_time",
    "dead_letters",
    "oldest_due",
    "provider_results",
    "read_series",
]

_SQL = load("statistics/read.sql")
_FIRST_OF_LANE, _NEWEST_DEAD = 10_000, 5_000
_MOST_ERRORS = 10  # of a provider
_NOT_COUNTED = 2 * LAG
"""Age of the oldest triggers that are counted by the query, if the counts are that far behind."""


@dataclass(frozen=True, slots=True)
class StatisticsFilter:
    """Which messages are counted. A field that is None matches all."""

    project_id: int | None = None
    visible: frozenset[int] | None = None
    """The IDs of the projects to which the caller is restricted."""
    campaign_id: int | None = None
    channel: Channel | None = None
    provider: str | None = None

    def of_projects(self) -> dict[str, object]:
        """Return the arguments that restrict projects."""
        return {
            "project_id": self.project_id,
            "visible": None if self.visible is None else sorted(self.visible),
        }


@dataclass(frozen=True, slots=True)
class Group:
    """The counts of a group by step. What does not group is empty."""

    channel: str
    provider: str
    project: str
    campaign_id: int
    steps: dict[dt.datetime, Counts] = field(default_factory=dict)
    total: Counts = field(default_factory=Counts)


@dataclass(frozen=True, slots=True)
class Series:
    """The largest groups, and how many there are."""

    groups: list[Group]
    number: int


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error of a provider, and how often it occurred since `first_at`."""

    error: str
    first_at: dt.datetime
    last_at: dt.datetime
    count: int
    trigger_id: uuid.UUID


@dataclass(slots=True)
class ProviderResults:
    """What a provider did in the last hour, and when it last succeeded."""

    counts: Counts = field(default_factory=Counts)
    errors: list[ProviderError] = field(default_factory=list)
    last_success: dt.datetime | None = None


async def database_time(database: Connection | Pool) -> dt.datetime:
    """Return the database's time."""
    now: dt.datetime = await database.fetchval(*_SQL["now"]())
    return now


async def read_series(
    database: Connection | Pool, wanted: StatisticsFilter, window: Window, *, group_by: str, most: int
) -> Series:
    """Return the counts between two times.

    Args:
        database: The database, with the settings READING; hash joins may be allowed.
        wanted: Which messages.
        window: When.
        group_by: `channel`, `provider`, `campaign`, `project` or empty.
        most: The maximum number of groups.
    """
    values: dict[str, object] = {
        **wanted.of_projects(),
        "campaign_id": wanted.campaign_id,
        "campaign_ids": None,
        "channel": wanted.channel.value if wanted.channel else None,
        "provider": wanted.provider,
        "recent": first_id_at(window.now - _NOT_COUNTED, 0),
        "resolution": MINUTE if window.step % HOUR else HOUR,
        "start": window.start,
        "end": window.end,
        "group_by": group_by,
        "most": most,
    }
    largest = await database.fetch(*_SQL["largest_campaigns"](**values)) if group_by == "campaign" else None
    if largest is not None:
        values["campaign_ids"] = [row["campaign_id"] for row in largest]
    rows = await database.fetch(*_SQL["series"](**values, step=window.step))
    counted = rows if largest is None else largest
    groups: dict[int, Group] = {}
    for row in rows:
        group = groups.setdefault(
            row["place"], Group(row["channel"], row["provider"], row["project"] or "", row["campaign_id"])
        )
        step = group.steps.setdefault(row["at"], Counts())
        for name, bucket, count in zip(row["kinds"], row["buckets"], row["counts"], strict=True):
            kind = Kind(name)
            step.add(kind, bucket, count)
            group.total.add(kind, bucket, count)
    return Series([groups[place] for place in sorted(groups)], counted[0]["groups"] if counted else 0)


async def oldest_due(
    database: Connection | Pool, lanes: Sequence[str], wanted: StatisticsFilter
) -> dict[Channel, float]:
    """Return for each channel the seconds since its oldest due trigger became due."""
    statement = _SQL["oldest_due"](lanes=list(lanes), most=_FIRST_OF_LANE, **wanted.of_projects())
    return {Channel(row["channel"]): row["age"] for row in await database.fetch(*statement)}


async def dead_letters(database: Connection | Pool, wanted: StatisticsFilter) -> int:
    """Return the number of dead letters of the filter's projects; of single projects, among the newest."""
    if wanted.project_id is None and wanted.visible is None:
        return await admin_lists.dead_letters(database)
    statement = _SQL["dead_letters"](most=_NEWEST_DEAD, **wanted.of_projects())
    count: int = await database.fetchval(*statement)
    return count


async def provider_results(database: Connection | Pool) -> dict[str, ProviderResults]:
    """Return what each provider did in the last hour."""
    found: dict[str, ProviderResults] = {}
    for row in await database.fetch(*_SQL["provider_counts"]()):
        results = found.setdefault(row["provider"], ProviderResults())
        results.counts.add(Kind(row["kind"]), 0, row["count"])
    for row in await database.fetch(*_SQL["provider_results"](most=_MOST_ERRORS)):
        results = found.setdefault(row["provider"], ProviderResults())
        if row["error"]:
            results.errors.append(
                ProviderError(row["error"], row["first_at"], row["last_at"], row["count"], row["trigger_id"])
            )
        else:
            results.last_success = row["last_at"]
    return found
