"""`clarion audit`."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import click

from clarion.admin.v1 import audit_pb2 as pb

from .common import MOMENT, as_utc, json_option, run, show_json, table
from .csv_cells import cell
from .messages import as_data, moment
from .remote import Admin, admin_options

__all__ = ["audit"]

F = TypeVar("F", bound=Callable[..., Any])
_PAGE = 1000


@click.group()
def audit() -> None:
    """List and export the changes that operators made."""


def _filters(command: F) -> F:
    """Add the options that select changes to a command."""
    options = (
        click.option("--project", help="Only changes of this project."),
        click.option("--actor", help="Only changes by the caller with this name."),
        click.option("--action", help="Only this action, such as project.update."),
        click.option("--resource", help="Only changes of this, such as project/demo."),
        click.option("--since", type=MOMENT, help="Only changes since this time (UTC)."),
        click.option("--before", type=MOMENT, help="Only changes before this time (UTC)."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _request(chosen: dict[str, Any]) -> pb.ListAuditEventsRequest:
    since, before = as_utc(chosen.pop("since")), as_utc(chosen.pop("before"))
    return pb.ListAuditEventsRequest(since=since, before=before, **chosen)


async def _events(
    admin: Admin, request: pb.ListAuditEventsRequest, limit: int | None
) -> AsyncIterator[pb.AuditEvent]:
    """Yield events page by page, up to a limit."""
    left = limit
    async with admin.opened() as client:
        while left is None or left > 0:
            request.page_size = _PAGE if left is None else min(_PAGE, left)
            page: pb.ListAuditEventsResponse = await client.call("audit", "ListAuditEvents", request)
            for one in page.audit_events:
                yield one
            if not page.next_page_token:
                return
            left = None if left is None else left - len(page.audit_events)
            request.page_token = page.next_page_token


@audit.command(name="list")
@_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@admin_options
def list_events(*, admin: Admin, limit: int, as_json: bool, **chosen: Any) -> None:
    """List changes, the newest first."""

    async def work() -> list[pb.AuditEvent]:
        return [one async for one in _events(admin, _request(chosen), limit)]

    found = run(work())
    if as_json:
        show_json([as_data(one) for one in found])
        return
    table(
        [
            {
                "TIME": moment(one.occur_time),
                "ACTOR": one.actor,
                "ACTION": one.action,
                "RESOURCE": one.resource,
                "BEFORE": one.before_json or None,
                "AFTER": one.after_json or None,
                "FROM": one.caller_address,
            }
            for one in found
        ],
        "changes",
    )


@audit.command()
@_filters
@admin_options
def export(*, admin: Admin, **chosen: Any) -> None:
    """Print changes as CSV, the newest first."""
    columns = [field.name for field in pb.AuditEvent.DESCRIPTOR.fields]
    out = csv.writer(sys.stdout, lineterminator="\n")

    async def work() -> None:
        out.writerow(columns)
        async for one in _events(admin, _request(chosen), None):
            data = as_data(one)
            out.writerow([cell(str(data[name])) for name in columns])

    run(work())
