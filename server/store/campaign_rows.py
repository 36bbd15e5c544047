"""Converts campaigns to and from the columns of their table, and the JSON in which contents are kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec

from ..domain.campaign import Campaign, CampaignState, Channel, RetryPolicy, SendWindow, Template, Undefined

__all__ = ["campaign_of_row", "content_json", "content_of_json", "row_values"]

_templates = msgspec.json.Decoder(dict[str, Template])
_retry = msgspec.json.Decoder(RetryPolicy | None)
_window = msgspec.json.Decoder(SendWindow | None)


def campaign_of_row(row: asyncpg.Record | Mapping[str, Any]) -> Campaign:
    """Return the campaign in a row of its table."""
    return Campaign(
        project_id=row["project_id"],
        id=row["id"],
        name=row["name"],
        channel=Channel(row["channel"]),
        providers=tuple(row["providers"]),
        state=CampaignState(row["state"]),
        sender=row["sender"],
        templates=_templates.decode(row["templates"]),
        retry=_retry.decode(row["retry"]),
        window=_window.decode(row["send_window"]),
        unsubscribe_url=row["unsubscribe_url"],
        undefined=Undefined(row["undefined"]),
        revision=row["revision"],
        managed_by=row["managed_by"],
        archived_at=row["archived_at"],
    )


def row_values(campaign: Campaign) -> dict[str, object]:
    """Return the columns of a campaign, without its revision and when it was archived."""
    return {
        "project_id": campaign.project_id,
        "id": campaign.id,
        "name": campaign.name,
        "channel": campaign.channel.value,
        "provider": campaign.providers[0],
        "providers": campaign.providers,
        "state": campaign.state.value,
        "sender": campaign.sender,
        "templates": msgspec.json.encode(campaign.templates, order="sorted").decode(),
        "retry": msgspec.json.encode(campaign.retry).decode(),
        "send_window": msgspec.json.encode(campaign.window).decode(),
        "unsubscribe_url": campaign.unsubscribe_url,
        "undefined": campaign.undefined.value,
        "managed_by": campaign.managed_by,
    }


def content_json(campaign: Campaign) -> str:
    """Return a campaign as JSON, in the form in which its versions are kept."""
    values = {**row_values(campaign), "revision": campaign.revision, "archived_at": campaign.archived_at}
    return msgspec.json.encode(values).decode()


def content_of_json(text: str) -> Campaign:
    """Return the campaign that `content_json`, or PostgreSQL when it kept a version, wrote."""
    content = msgspec.json.decode(text)
    archived_at = content.get("archived_at")
    content["archived_at"] = dt.datetime.fromisoformat(archived_at) if archived_at else None
    # Versions that were kept when the table was made lack its newest columns.
    return campaign_of_row({"managed_by": None, **content})
