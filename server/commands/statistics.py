"""`clarion statistics`."""

from __future__ import annotations

import click

from clarion.admin.v1 import statistics_pb2 as pb

from .common import CHANNEL, json_option, show_json, table
from .messages import as_data, enum_name, word
from .remote import Admin, admin_options

__all__ = ["statistics"]

_PERIODS = ("hour", "day", "week")
_GROUPS = ("channel", "provider", "campaign", "project")


@click.command()
@click.option(
    "--period", type=click.Choice(_PERIODS), default="hour", show_default=True, help="How far back to count."
)
@click.option("--step", type=click.IntRange(60), help="With --json: length of a step in seconds.")
@click.option(
    "--group-by", type=click.Choice(_GROUPS), default="channel", show_default=True, help="One row for each."
)
@click.option("--project", help="Only messages of this project.")
@click.option("--channel", type=CHANNEL, help="Only messages on this channel.")
@click.option("--campaign", type=click.IntRange(1), help="Only messages of this campaign.")
@click.option("--provider", help="Only messages sent by this provider.")
@json_option
@admin_options
def statistics(
    *,
    admin: Admin,
    period: str,
    step: int | None,
    group_by: str,
    project: str | None,
    channel: str | None,
    campaign: int | None,
    provider: str | None,
    as_json: bool,
) -> None:
    """Count accepted, delivered and failed messages.

    P50 and P95 are the times within which 50 % and 95 % of the delivered messages were delivered. With
    --json, the numbers of each step are included.
    """
    request = pb.QueryStatisticsRequest(
        project=project,
        channel=enum_name("CHANNEL_", channel),
        campaign_id=str(campaign) if campaign else None,
        provider=provider,
        period=enum_name("STATISTICS_PERIOD_", period),
        step_seconds=step,
        group_by=enum_name("STATISTICS_GROUPING_", group_by),
    )
    found = admin.call("statistics", "QueryStatistics", request)
    if as_json:
        show_json(as_data(found))
        return
    table([_row(one, group_by) for one in found.groups], "messages")
    if found.omitted_groups:
        click.echo(f"{found.omitted_groups} smaller groups are left out; use the options above to see them.")
    for oldest in found.oldest_due:
        click.echo(
            f"The oldest due message by {word(oldest, 'channel')} waits for {oldest.due_seconds:,.1f} s."
        )


def _row(group: pb.StatisticsGroup, group_by: str) -> dict[str, object]:
    total = group.total
    names: dict[str, dict[str, object]] = {
        "channel": {"CHANNEL": word(group, "channel")},
        "provider": {"PROVIDER": group.provider or None},
        "campaign": {"PROJECT": group.project, "CAMPAIGN": group.campaign_id},
        "project": {"PROJECT": group.project},
    }
    return {
        **names[group_by],
        "ACCEPTED": total.accepted,
        "DELIVERED": total.delivered,
        "FAILED": total.failed,
        "RETRIED": total.retried,
        "SUPPRESSED": total.suppressed,
        "CANCELLED": total.cancelled,
        "P50": _seconds(total.p50_seconds if total.HasField("p50_seconds") else None),
        "P95": _seconds(total.p95_seconds if total.HasField("p95_seconds") else None),
    }


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:,.3g} s"
