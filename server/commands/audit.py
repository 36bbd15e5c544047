"""`clarion audit`."""

from __future__ import annotations

import csv
import json
import sys
from typing import Any

import click

from clarion.admin.v1 import audit_pb2 as pb

from .common import MOMENT, as_utc, json_option, run, with_options
from .csv_cells import cell
from .messages import as_data, moment, show_list
from .remote import Admin, admin_options, pages

__all__ = ["audit"]

_MAX_VALUE = 30  # characters of a value in the list


@click.group()
def audit() -> None:
    """List and export the changes that operators made."""


_filters = with_options(
    click.option("--project", help="Only changes of this project."),
    click.option("--actor", help="Only changes by the caller with this name."),
    click.option("--action", help="Only this action, such as project.update."),
    click.option("--resource", help="Only changes of this resource, such as project/demo."),
    click.option("--since", type=MOMENT, help="Only changes since this time (UTC)."),
    click.option("--before", type=MOMENT, help="Only changes before this time (UTC)."),
)
"""The options that select changes."""


def _request(chosen: dict[str, Any]) -> pb.ListAuditEventsRequest:
    since, before = as_utc(chosen.pop("since")), as_utc(chosen.pop("before"))
    return pb.ListAuditEventsRequest(since=since, before=before, **chosen)


@audit.command(name="list")
@_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@admin_options
def list_events(*, admin: Admin, limit: int, as_json: bool, **chosen: Any) -> None:
    """List changes, the newest first."""
    found = admin.collect("audit", "ListAuditEvents", _request(chosen), limit)
    show_list(found, _row, "changes", as_json=as_json)


def _row(one: pb.AuditEvent) -> dict[str, object]:
    return {
        "TIME": moment(one.occur_time),
        "ACTOR": one.actor,
        "ACTION": one.action,
        "RESOURCE": one.resource,
        "FROM": one.caller_address,
        "CHANGE": _change(one),
    }


def _change(one: pb.AuditEvent) -> str | None:
    """Return what differs after a change, so that a row fits; `--json` has it all."""
    before, after = (json.loads(text) if text else {} for text in (one.before_json, one.after_json))
    if not isinstance(before, dict) or not isinstance(after, dict):
        return f"{one.before_json} -> {one.after_json}"
    parts = [
        f"{name}: {_short(before[name])} -> {_short(after.get(name))}"
        if name in before
        else f"{name}: {_short(value)}"
        for name, value in {**before, **after}.items()
        if before.get(name) != after.get(name)
    ]
    return ", ".join(parts) or None


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}…"


@audit.command()
@_filters
@admin_options
def export(*, admin: Admin, **chosen: Any) -> None:
    """Print changes as CSV, the newest first."""
    columns = [field.name for field in pb.AuditEvent.DESCRIPTOR.fields]
    out = csv.writer(sys.stdout, lineterminator="\n")

    async def work() -> None:
        out.writerow(columns)
        async with admin.opened() as client:
            async for one in pages(client, "audit", "ListAuditEvents", _request(chosen)):
                data = as_data(one)
                out.writerow([cell(str(data[name])) for name in columns])

    run(work())
