"""What a project has about a person."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...domain.campaign import Channel
from ...domain.delivery import Delivery
from ..admin.suppressions import Suppression
from ..pool import Connection
from ..sql import load
from .find import delivery_of

__all__ = ["PersonDelivery", "PersonFilter", "export_deliveries", "export_suppressions"]

_SQL = load("records/people.sql")
_CHANNELS = [channel.value for channel in Channel]


@dataclass(frozen=True, slots=True)
class PersonFilter:
    """Names a person. A trigger is theirs if it matches either.

    Attributes:
        project_id: The project.
        external_id: The caller's ID for the user; None if only addresses are known.
        addresses: The forms of the known address, as given and as stored; empty if only the ID is known.
    """

    project_id: int
    external_id: str | None = field(repr=False)
    addresses: tuple[str, ...] = field(repr=False)

    def arguments(self) -> dict[str, object]:
        """Return the arguments that all statements have."""
        return {
            "project_id": self.project_id,
            "external_id": self.external_id,
            "addresses": list(self.addresses),
        }


@dataclass(frozen=True, slots=True)
class PersonDelivery:
    """A delivery with its content, which is empty after its retention time."""

    delivery: Delivery
    address: str = field(repr=False)
    timezone: str
    locale: str
    user_data: str = field(repr=False)
    event: str = field(repr=False)
    traceparent: str
    webhook_bodies: Sequence[str] = field(repr=False)


_CONTENT = ("address", "timezone", "locale", "user_data", "event", "traceparent", "webhook_bodies")


async def export_deliveries(
    connection: Connection, person: PersonFilter, after: uuid.UUID, limit: int
) -> list[PersonDelivery]:
    """Return the next deliveries of a person, oldest first."""
    rows = await connection.fetch(*_SQL["export"](**person.arguments(), after=after, limit=limit))
    return [PersonDelivery(delivery_of(row), **{name: row[name] for name in _CONTENT}) for row in rows]


async def export_suppressions(connection: Connection, person: PersonFilter) -> list[Suppression]:
    """Return the suppressions of all known addresses of a person, oldest first."""
    found = await connection.fetch(*_SQL["addresses"](**person.arguments(), channels=_CHANNELS))
    rows = await connection.fetch(
        *_SQL["suppressions"](
            project_id=person.project_id,
            channels=[row["channel"] for row in found],
            addresses=[row["address"] for row in found],
        )
    )
    return [Suppression(**{**row, "channel": Channel(row["channel"])}) for row in rows]
