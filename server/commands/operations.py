"""`clarion operations`."""

from __future__ import annotations

import uuid

import click

from clarion.admin.v1 import operation_pb2 as pb

from .common import json_option
from .messages import in_lines, moment, show_list, show_one
from .remote import Admin, admin_options

__all__ = ["operations"]

_SERVICE = "operations"


@click.group()
def operations() -> None:
    """Show and stop bulk operations.

    These are the retries and cancellations of all deliveries that match a filter.
    """


@operations.command(name="list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@admin_options
def list_operations(*, admin: Admin, limit: int, as_json: bool) -> None:
    """List operations, the newest first."""
    found = admin.collect(_SERVICE, "ListOperations", pb.ListOperationsRequest(), limit)
    show_list(found, _row, "operations", as_json=as_json)


@operations.command()
@click.argument("operation_id", type=click.UUID)
@json_option
@admin_options
def show(*, admin: Admin, operation_id: uuid.UUID, as_json: bool) -> None:
    """Show the progress of an operation, by its ID."""
    request = pb.GetOperationRequest(operation_id=str(operation_id))
    one: pb.Operation = admin.call(_SERVICE, "GetOperation", request).operation
    ended = moment(one.end_time) if one.HasField("end_time") else None
    show_one(one, in_lines({**_row(one), "ENDED": ended}), as_json=as_json)


@operations.command()
@click.argument("operation_id", type=click.UUID)
@json_option
@admin_options
def stop(*, admin: Admin, operation_id: uuid.UUID, as_json: bool) -> None:
    """Stop an operation, by its ID. Its changes so far are not undone."""
    request = pb.CancelOperationRequest(operation_id=str(operation_id))
    one: pb.Operation = admin.call(_SERVICE, "CancelOperation", request).operation
    show_one(one, f"operation {one.operation_id} is {one.operation_state}", as_json=as_json)


def _row(one: pb.Operation) -> dict[str, object]:
    return {
        "ID": one.operation_id,
        "KIND": one.kind,
        "STATE": one.operation_state,
        "CHANGED": f"{one.changed} of {one.matching}",
        "FILTERS": ", ".join(one.filters) or None,
        "STARTED": moment(one.create_time),
        "BY": one.requested_by,
    }
