"""What a project has about a person: its export, and its erasure."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import asyncpg

from ...domain.campaign import Channel
from ...domain.delivery import Delivery
from ..admin.suppressions import Suppression
from ..id_ranges import ALL_IDS
from ..pool import Connection
from ..sql import load
from .admin_lists import AT_ONCE, AdminFilter
from .cancel import FIRST, cancel_some
from .find import delivery_of

__all__ = [
    "ERASED",
    "Erased",
    "PersonDelivery",
    "PersonFilter",
    "erase_some",
    "export_deliveries",
    "export_suppressions",
]

_SQL = load("records/people.sql")
ERASED = "[erased]"
"""The external ID of people who were erased, in triggers, webhook messages and audit events."""
_HASHED = "#"
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
    rows = await connection.fetch(*_SQL["export"](**person.arguments(), after=after, limit=limit, **ALL_IDS))
    return [PersonDelivery(delivery_of(row), **{name: row[name] for name in _CONTENT}) for row in rows]


async def export_suppressions(connection: Connection, person: PersonFilter) -> list[Suppression]:
    """Return the suppressions of all known addresses of a person, oldest first."""
    found = await connection.fetch(*_SQL["addresses"](**person.arguments(), channels=_CHANNELS))
    pairs = {(row["channel"], row["address"]) for row in found}
    rows = await _suppressions(connection, person.project_id, pairs)
    return [Suppression(**{**row, "channel": Channel(row["channel"])}) for row in rows]


@dataclass(frozen=True, slots=True)
class Erased:
    """What one step erased.

    Attributes:
        deliveries: Deliveries of which an anonymous record remains.
        cancelled: Those of them that were waiting.
        webhook_messages: Webhook messages without the external ID.
        suppressions: Suppressions of the person's addresses that are now hashed, and stay in force.
        audit_events: Audit events without what names the person.
        operations: Bulk operations without it.
        in_flight: Messages that are being sent, and running operations that select the person.
        done: Whether nothing is left to erase.
    """

    deliveries: int
    cancelled: int
    webhook_messages: int
    suppressions: int
    audit_events: int
    operations: int
    in_flight: int
    done: bool


async def erase_some(connection: Connection, person: PersonFilter, *, of_all: bool) -> Erased:
    """Erase up to AT_ONCE deliveries of a person, and what else names the person.

    Each step leaves nothing that a later one needs, so that after a killed process, calling this again
    continues.

    Args:
        connection: The database, in a transaction.
        person: The person.
        of_all: Whether to include audit events and operations that belong to all projects.
    """
    wanted = person.arguments()
    chosen = await connection.fetch(*_SQL["choose"](**wanted, after=FIRST, limit=AT_ONCE))
    ids = [row["id"] for row in chosen]
    await connection.execute(*_SQL["lock_dead_letters"](ids=ids))
    cancelled, _ = await cancel_some(connection, AdminFilter(), FIRST, ids)
    erased = await connection.fetchrow(*_SQL["erase"](ids=ids))
    assert erased is not None  # noqa: S101 - it has no FROM
    pairs = {(row["channel"], row["address"]) for row in chosen if row["address"]}
    pairs |= {(channel, address) for channel in _CHANNELS for address in person.addresses}
    addresses = sorted({address for _, address in pairs})
    audit_events = await _erase_from_audit(connection, person, addresses, erased["ids"], of_all=of_all)
    scope = {**wanted, "addresses": addresses, "of_all": of_all}
    operations = await connection.fetch(*_SQL["erase_from_operations"](**scope))
    running = await connection.fetchval(*_SQL["count_running"](**scope))
    in_flight = len(ids) - len(erased["ids"]) + running
    return Erased(
        deliveries=len(erased["ids"]),
        cancelled=len(cancelled),
        webhook_messages=erased["webhook_messages"],
        suppressions=await _hash_suppressions(connection, person.project_id, pairs),
        audit_events=audit_events,
        operations=len(operations),
        in_flight=in_flight,
        done=len(ids) < AT_ONCE and not in_flight,
    )


async def _erase_from_audit(
    connection: Connection,
    person: PersonFilter,
    addresses: Sequence[str],
    ids: Sequence[uuid.UUID],
    *,
    of_all: bool,
) -> int:
    """Erase what names the person from audit events; return from how many."""
    filters = [f"address: {address}" for address in addresses]
    if person.external_id:
        filters.append(f"external_id: {person.external_id}")
    await connection.execute(*_SQL["allow_audit_erasure"]())
    changed = await connection.fetch(
        *_SQL["erase_from_audit"](
            project_id=person.project_id, of_all=of_all, addresses=addresses, filters=filters, ids=ids
        )
    )
    return len(changed)


async def _hash_suppressions(
    connection: Connection, project_id: int, pairs: Collection[tuple[str, str]]
) -> int:
    """Replace the addresses of suppressions, given with their channels, by hashes; return of how many."""
    found = await _suppressions(connection, project_id, pairs)
    plain = [row for row in found if not row["address"].startswith(_HASHED)]
    if not plain:
        return 0
    await connection.execute(*_SQL["create_key"]())
    hashed = await connection.fetch(
        *_SQL["hash_suppressions"](
            project_id=project_id,
            channels=[row["channel"] for row in plain],
            addresses=[row["address"] for row in plain],
        )
    )
    return len(hashed)


async def _suppressions(
    connection: Connection, project_id: int, pairs: Collection[tuple[str, str]]
) -> list[asyncpg.Record]:
    """Return the suppressions of addresses, given with their channels."""
    channels, addresses = zip(*sorted(pairs), strict=True) if pairs else ((), ())
    return await connection.fetch(
        *_SQL["suppressions"](project_id=project_id, channels=list(channels), addresses=list(addresses))
    )
