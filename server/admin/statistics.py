"""StatisticsService: counts messages by step and group."""

from __future__ import annotations

from clarion.admin.v1 import statistics_pb2 as pb
from clarion.admin.v1 import statistics_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.campaign import is_test_lane
from ..domain.statistics import HOUR, Counts, Window, quantile
from ..errors import InvalidRequest, Violation
from ..intake.rules import require_valid
from ..store.pool import Pool, reached, reading
from ..store.queue.triggers import PostgresQueue
from ..store.statistics import read
from .call import AdminCall
from .delivery_filters import campaign_id_in
from .recipients import channel_of

__all__ = ["StatisticsServicer"]

_DAY = 24 * HOUR
_WEEK = 7 * _DAY
_PERIODS = {
    pb.STATISTICS_PERIOD_UNSPECIFIED: HOUR,
    pb.STATISTICS_PERIOD_HOUR: HOUR,
    pb.STATISTICS_PERIOD_DAY: _DAY,
    pb.STATISTICS_PERIOD_WEEK: _WEEK,
}
_STEPS = {HOUR: 60, _DAY: HOUR, _WEEK: 6 * HOUR}
_SMALLEST = {HOUR: 60, _DAY: 60, _WEEK: HOUR}
"""The shortest step of each period, in seconds: counts of minutes are kept for 3 days only."""
_MOST_STEPS = 200
_MOST_GROUPS = 20
_MOST_IN_ALL = 1200
"""Maximum number of steps in a response, those of all groups together. In JSON, each has about 300 bytes."""


class StatisticsServicer(statistics_pb2_grpc.StatisticsServiceServicer):
    """Returns how many messages were accepted, delivered and given up.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def QueryStatistics(  # noqa: N802 - gRPC's name
        self, request: pb.QueryStatisticsRequest, call: AdminCall
    ) -> pb.QueryStatisticsResponse:
        """Return the numbers of messages by step and group."""
        require_valid(request)
        period = _PERIODS[request.period]
        step = _step(request, period)
        campaign_id = campaign_id_in(request)
        grouping = pb.StatisticsGrouping.Name(request.group_by).removeprefix("STATISTICS_GROUPING_")
        group_by = grouping.lower() if request.group_by else ""
        async with reached():
            project = await call.project(self._pool, request.project) if request.project else None
            wanted = read.StatisticsFilter(
                project_id=project.id if project else None,
                visible=call.visible,
                campaign_id=campaign_id,
                channel=channel_of(request.channel),
                provider=request.provider or None,
            )
            lanes = [one for one in await PostgresQueue(self._pool).lanes() if not is_test_lane(one)]
            async with reading(self._pool, enable_hashjoin="on") as connection:
                window = Window(await read.database_time(connection), period, step)
                series = await read.read_series(
                    connection, wanted, window, group_by=group_by, most=_most_groups(window)
                )
                oldest = await read.oldest_due(connection, lanes, wanted)
            dead = await read.dead_letters(self._pool, wanted)  # an exact count is a scan
        groups = series.groups or ([] if group_by else [read.Group("", "", "", 0)])
        return pb.QueryStatisticsResponse(
            start_time=timestamp(window.start),
            end_time=timestamp(window.end),
            step_seconds=step,
            groups=[_group(one, window) for one in groups],
            omitted_groups=series.number - len(series.groups),
            oldest_due=[
                pb.OldestDue(channel=f"CHANNEL_{channel.name}", due_seconds=seconds)
                for channel, seconds in sorted(oldest.items())
            ],
            dead_letters=dead,
        )


def _step(request: pb.QueryStatisticsRequest, period: int) -> int:
    """Return the length of a step in seconds.

    Raises:
        InvalidRequest: It does not suit the period.
    """
    step = request.step_seconds or _STEPS[period]
    smallest = _SMALLEST[period]
    if step % smallest or period % step or period // step > _MOST_STEPS:
        description = (
            f"must be a multiple of {smallest} that divides {period} into at most {_MOST_STEPS} steps"
        )
        raise InvalidRequest([Violation("step_seconds", description, "OUT_OF_RANGE")])
    return step


def _most_groups(window: Window) -> int:
    """Return how many groups a response has at most: fewer if each has many steps."""
    return min(_MOST_GROUPS, _MOST_IN_ALL // len(window.steps))


def _group(group: read.Group, window: Window) -> pb.StatisticsGroup:
    return pb.StatisticsGroup(
        channel=f"CHANNEL_{group.channel.upper()}" if group.channel else None,
        provider=group.provider,
        project=group.project,
        campaign_id=group.campaign_id,
        total=_counts(group.total),
        steps=[
            pb.StatisticsStep(start_time=timestamp(at), counts=_counts(group.steps.get(at, Counts())))
            for at in window.steps
        ],
    )


def _counts(counts: Counts) -> pb.MessageCounts:
    return pb.MessageCounts(
        **{kind.value: number for kind, number in counts.of.items()},
        p50_seconds=quantile(counts.buckets, 0.5),
        p95_seconds=quantile(counts.buckets, 0.95),
    )
