"""`clarion people`."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import click

from clarion.admin.v1 import person_pb2 as pb

from ..errors import ConfigError
from .common import json_option, run, show_json, with_options
from .messages import as_data, show_one
from .remote import Admin, admin_options

__all__ = ["people"]

_SERVICE = "people"
_COUNTS = ("deliveries", "cancelled", "webhook_messages", "audit_events", "operations", "suppressions")
_PATIENCE, _POLL = 60.0, 0.5  # seconds to wait for what is in flight, and between two looks

_named = with_options(
    click.option("--project", required=True, help="Name of the project."),
    click.option("--external-id", help="Your own ID for the person."),
    click.option("--address", help="Email address, phone number or device token of the person."),
)
"""The options that name a person."""


@click.group()
def people() -> None:
    """Answer requests of people about their data."""


@people.command()
@_named
@admin_options
def export(*, admin: Admin, **named: Any) -> None:
    """Print as JSON what a project has about a person.

    Give --external-id, --address or both: deliveries that match either are exported, with their content,
    attempts and webhook messages, and the suppressions of the person's addresses.
    """
    _require_person(named)
    request = pb.ExportPersonRequest(**named)

    async def work() -> pb.ExportPersonResponse:
        found = pb.ExportPersonResponse()
        async with admin.opened() as client:
            while True:
                page = await client.call(_SERVICE, "ExportPerson", request)
                found.MergeFrom(page)
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    return found

    data = as_data(run(work()))
    show_json({name: data[name] for name in ("deliveries", "suppressions")})


@people.command()
@_named
@click.option("--dry-run", is_flag=True, help="Only count; looks at 1,000 deliveries at most.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@admin_options
def erase(*, admin: Admin, dry_run: bool, yes: bool, as_json: bool, **named: Any) -> None:
    """Erase what a project has about a person. This cannot be undone.

    Give --external-id, --address or both: deliveries that match either are erased. Waiting messages are
    cancelled, and those that are being sent are waited for. Only an anonymous record remains, and
    suppressions of the person's addresses stay in force. An interrupted command can be repeated.
    """
    _require_person(named)
    request = pb.ErasePersonRequest(**named, dry_run=True)
    if dry_run or (not yes and sys.stdin.isatty()):
        counted: pb.ErasePersonResponse = admin.call(_SERVICE, "ErasePerson", request)
        if dry_run:
            show_one(counted, f"would erase {_what(counted)}", as_json=as_json)
            return
        click.confirm(f"erase {_what(counted)}?", abort=True)
    request.dry_run = False
    erased = run(_erased(admin, request))
    show_one(erased, f"erased {_what(erased)}", as_json=as_json)
    if not erased.done:
        raise ConfigError(
            f"not erased yet: {erased.in_flight} messages that are being sent, or operations that are"
            " running; repeat the command later"
        )


async def _erased(admin: Admin, request: pb.ErasePersonRequest) -> pb.ErasePersonResponse:
    """Erase in steps until nothing is left, or what is in flight takes too long; return the total."""
    total = pb.ErasePersonResponse()
    end = time.monotonic() + _PATIENCE
    async with admin.opened() as client:
        while True:
            step: pb.ErasePersonResponse = await client.call(_SERVICE, "ErasePerson", request)
            for name in _COUNTS:
                setattr(total, name, getattr(total, name) + getattr(step, name))
            total.in_flight, total.done = step.in_flight, step.done
            if step.done or (step.in_flight and time.monotonic() > end):
                return total
            if step.in_flight:
                await asyncio.sleep(_POLL)


def _what(found: pb.ErasePersonResponse) -> str:
    """Return what is erased, for people."""
    more = "" if found.done or found.in_flight else " or more"
    cancelled = f" ({found.cancelled} cancelled)" if found.cancelled else ""
    counts = {
        (f"{more} delivery{cancelled}", f"{more} deliveries{cancelled}"): found.deliveries,
        (" webhook message", " webhook messages"): found.webhook_messages,
        (" audit event", " audit events"): found.audit_events,
        (" operation", " operations"): found.operations,
        (" suppression, which stays in force", " suppressions, which stay in force"): found.suppressions,
    }
    parts = [f"{count}{words[count != 1]}" for words, count in counts.items() if count]
    return f"the person from {', '.join(parts)}" if parts else "nothing"


def _require_person(named: dict[str, Any]) -> None:
    if not named["external_id"] and not named["address"]:
        raise ConfigError("give --external-id, --address or both")
