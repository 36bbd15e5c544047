"""The options of `clarion deliveries` that select deliveries."""

from __future__ import annotations

from typing import Any

import click

from .common import CHANNEL, MOMENT, as_utc, with_options
from .messages import enum_name

__all__ = ["delivery_filters", "filter_fields"]


delivery_filters = with_options(
    click.option(
        "--campaign",
        "campaign_id",
        type=click.IntRange(1, 2**63 - 1),
        metavar="ID",
        help="Only deliveries of this campaign.",
    ),
    click.option("--channel", type=CHANNEL, help="Only deliveries on this channel."),
    click.option("--external-id", help="Only deliveries to the user with this external ID."),
    click.option(
        "--since",
        type=MOMENT,
        help="Only deliveries accepted since this time (UTC), such as 2026-01-31T08:00:00.",
    ),
    click.option(
        "--before",
        type=MOMENT,
        help="Only deliveries accepted before this time (UTC), such as 2026-01-31T08:00:00.",
    ),
    click.option("--address", help="Only deliveries to this address."),
    click.option("--provider", help="Only if the last attempt was by this provider."),
    click.option("--error", help="Only if the last error contains this text."),
    click.option("--error-group", help="Only if the last error is this one, written as in `groups`."),
    click.option("--project", help="Only deliveries of this project."),
)
"""The options that select deliveries."""


def filter_fields(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that the options set."""
    campaign_id = chosen["campaign_id"]
    return {
        "campaign_id": str(campaign_id) if campaign_id else None,
        "channel": enum_name("CHANNEL_", chosen["channel"]),
        "external_id": chosen["external_id"],
        "accepted_since": as_utc(chosen["since"]),
        "accepted_before": as_utc(chosen["before"]),
        "address": chosen["address"],
        "provider": chosen["provider"],
        "error": chosen["error"],
        "error_group": chosen["error_group"],
        "project": chosen["project"],
    }
