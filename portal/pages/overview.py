"""The first page: what happens now, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from clarion.admin.v1 import api_key_pb2, provider_pb2, statistics_pb2
from clarion.v1 import campaign_pb2

from ..plots import Plot
from ..visit import Page, Section, Visit

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Overview", "/")
_PERIODS = {"hour": "1 hour", "day": "24 hours", "week": "7 days"}
_EACH = {60: "each minute", 3600: "each hour", 21_600: "every 6 hours"}
_LATE = 300.0
"""Seconds after which a due message is reported: longer than a retry or the restart of a dispatcher takes."""


@dataclass(frozen=True, slots=True)
class _Channel:
    """What the page shows of a channel."""

    name: str
    total: statistics_pb2.MessageCounts
    steps: list[statistics_pb2.StatisticsStep]
    plot: Plot
    oldest_due: float | None


async def overview(visit: Visit) -> Response:
    """Show what happens, and what to do next."""
    if not visit.projects:
        return visit.page("overview.html", "Overview")
    period = visit.query("period") if visit.query("period") in _PERIODS else "hour"
    request = statistics_pb2.QueryStatisticsRequest(
        project=visit.project,
        period=f"STATISTICS_PERIOD_{period.upper()}",
        group_by=statistics_pb2.STATISTICS_GROUPING_CHANNEL,
    )
    found: statistics_pb2.QueryStatisticsResponse = await visit.call(request)
    channels = _channels(found)
    return visit.page(
        "overview.html",
        "Overview",
        channels=channels,
        periods=_PERIODS,
        period=period,
        each=_EACH[found.step_seconds],
        found=found,
        late=[one for one in channels if (one.oldest_due or 0) > _LATE],
        broken=await _open_breakers(visit),
        dead_letters=found.dead_letters,
        can_create_key=visit.can(api_key_pb2.CreateApiKeyRequest, visit.project),
    )


async def _open_breakers(visit: Visit) -> list[provider_pb2.Provider]:
    """Return the providers with an open circuit breaker, if the person may see providers."""
    if not visit.has_role_everywhere("viewer"):
        return []
    found: provider_pb2.ListProvidersResponse = await visit.call(provider_pb2.ListProvidersRequest())
    return [one for one in found.providers if any(each.hold == "breaker" for each in one.dispatchers)]


def _channels(found: statistics_pb2.QueryStatisticsResponse) -> list[_Channel]:
    oldest = {_word(one.channel): one.due_seconds for one in found.oldest_due}
    groups = {_word(one.channel): one for one in found.groups}
    empty = statistics_pb2.StatisticsGroup()
    return [
        _Channel(name, group.total, list(group.steps), _plot(group), oldest.get(name))
        for name in sorted(oldest.keys() | groups.keys())
        for group in [groups.get(name, empty)]
    ]


def _plot(group: statistics_pb2.StatisticsGroup) -> Plot:
    counts = [one.counts for one in group.steps]
    return Plot.of(
        {
            "accepted": [one.accepted for one in counts],
            "sent": [one.delivered for one in counts],
            "failed": [one.failed for one in counts],
        }
    )


def _word(channel: campaign_pb2.Channel) -> str:
    return campaign_pb2.Channel.Name(channel).removeprefix("CHANNEL_").lower()


PAGES = (Page("/", overview),)
