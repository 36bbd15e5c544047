"""Tests of campaigns that authors send: triggers that carry their content."""

from __future__ import annotations

from typing import NamedTuple

from ...domain.campaign import Campaign
from ...domain.placement import Placement
from ...domain.trigger import Trigger
from ..accept.notify import NOTIFY
from ..campaign_rows import content_json
from ..pool import Connection
from ..sql import load

__all__ = ["Recent", "accept_test", "recent_tests"]

_SQL = load("records/test_sends.sql")


class Recent(NamedTuple):
    """The tests of a project in a window of time, and the seconds until the first of them leaves it."""

    sent: int
    wait: float


async def recent_tests(connection: Connection, project_id: int, action: str, window: float) -> Recent:
    """Return the recent tests of a project, and let no other call send one until the transaction ends.

    Args:
        connection: The database, in a transaction.
        project_id: The project.
        action: The action under which the audit log has them.
        window: The seconds in which they are counted.
    """
    await connection.execute(*_SQL["lock_project"](project_id=project_id))
    row = await connection.fetchrow(*_SQL["recent"](project_id=project_id, action=action, window=window))
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return Recent(row["sent"], row["wait"] or 0.0)


async def accept_test(
    connection: Connection, trigger: Trigger, placement: Placement, content: Campaign
) -> None:
    """Accept a trigger that is rendered with this content, and notify the dispatchers."""
    await connection.execute(
        *_SQL["accept"](
            id=trigger.id,
            project_id=trigger.project_id,
            campaign_id=trigger.campaign_id,
            channel=trigger.channel.value,
            external_id=trigger.external_id,
            address=trigger.address,
            timezone=trigger.timezone,
            locale=trigger.locale,
            user_data=trigger.user_data,
            event=trigger.event,
            content=content_json(content),
            lane=placement.lane,
            expires_at=placement.expires_at,
        )
    )
    await connection.execute(*NOTIFY)
