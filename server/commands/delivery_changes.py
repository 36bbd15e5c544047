"""Defines `clarion deliveries retry` and `cancel`."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from clarion.admin.v1 import delivery_pb2 as pb
from clarion.admin.v1 import operation_pb2

from ..errors import ConfigError
from .common import json_option, run, show_json
from .delivery_filters import delivery_filters, filter_fields
from .messages import as_data
from .remote import Admin, admin_options

__all__ = ["cancel", "retry"]

_SERVICE = "deliveries"
_POLL = 0.2  # seconds between looks at an operation
_dry_run = click.option(
    "--dry-run", is_flag=True, help="Only count what would change; looks at 10,000 at most."
)
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


@click.command()
@click.argument("trigger_ids", type=click.UUID, nargs=-1)
@click.option("--all", "every", is_flag=True, help="All dead letters that match the options below.")
@delivery_filters
@_dry_run
@_yes
@json_option
@admin_options
def retry(**given: Any) -> None:
    """Retry dead letters, by ID or --all that match.

    Retries those with TRIGGER_IDS, or with --all those that match the options. By ID, it also retries
    suppressed messages, once their recipient is no longer suppressed (`clarion suppressions remove`). They
    are due immediately, get all attempts of their retry policy, and do not expire.
    """
    _change(_RETRY, **given)


@click.command()
@click.argument("trigger_ids", type=click.UUID, nargs=-1)
@click.option("--all", "every", is_flag=True, help="All waiting triggers that match the options below.")
@delivery_filters
@_dry_run
@_yes
@json_option
@admin_options
def cancel(**given: Any) -> None:
    """Cancel waiting triggers, by ID or --all that match.

    Cancels those with TRIGGER_IDS, or with --all those that match the options. Triggers that are waiting
    for a retry are cancelled; triggers that are being sent right now are not.
    """
    _change(_CANCEL, **given)


@dataclass(frozen=True, slots=True)
class _Action:
    """What a command does with deliveries.

    Attributes:
        method: The method of the API.
        request: Its request.
        verb: For people.
        done: The verb for what was done.
        noun: What it changes, one and several.
        counted: The field of the response that has the number.
        others: Why a delivery may not have been changed.
    """

    method: str
    request: Callable[..., Any]
    verb: str
    done: str
    noun: tuple[str, str]
    counted: str
    others: str

    def number(self, count: int, *, more: bool = False) -> str:
        return f"{count} {'or more ' if more else ''}{self.noun[more or count != 1]}"

    def counted_in(self, response: Any) -> str:
        return self.number(getattr(response, self.counted), more=response.more)


_RETRY = _Action(
    "RetryDeliveries",
    pb.RetryDeliveriesRequest,
    "retry",
    "retrying",
    ("delivery", "deliveries"),
    "retried",
    "are neither dead nor suppressed, have no campaign, or are to a recipient who is still suppressed: see "
    "`clarion deliveries show` and `clarion suppressions list`",
)
_CANCEL = _Action(
    "CancelDeliveries",
    pb.CancelDeliveriesRequest,
    "cancel",
    "cancelled",
    ("trigger", "triggers"),
    "cancelled",
    "are not waiting: see `clarion deliveries show`",
)


def _change(
    action: _Action,
    *,
    admin: Admin,
    trigger_ids: tuple[uuid.UUID, ...],
    every: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    ids = _ids(trigger_ids, every=every)
    _require_options(f"{action.verb} {action.noun[1]}", every=every, chosen=chosen)
    request = action.request(trigger_ids=ids, **filter_fields(chosen))
    if not ids and not dry_run and not yes and sys.stdin.isatty():
        request.dry_run = True
        counted = action.counted_in(admin.call(_SERVICE, action.method, request))
        click.confirm(f"{action.verb} {counted}?", abort=True)
    request.dry_run = dry_run
    changed = run(_changed(admin, action, request))
    if as_json:
        show_json(as_data(changed))
        return
    count = changed.operation.changed if changed.HasField("operation") else getattr(changed, action.counted)
    if dry_run:
        click.echo(f"would {action.verb} {action.counted_in(changed)}")
        return
    if ids and count < len(ids):
        raise ConfigError(f"{action.done} {count} of {len(ids)}; the others {action.others}")
    click.echo(f"{action.done} {action.number(count)}")
    if changed.operation.operation_state not in ("", "done"):
        raise ConfigError(
            f"operation {changed.operation.operation_id} is {changed.operation.operation_state}; "
            "the other deliveries were not changed"
        )


async def _changed(admin: Admin, action: _Action, request: Any) -> Any:
    """Call the method and, if that starts an operation, wait for its end."""
    async with admin.opened(operations=True) as client:
        changed = await client.call(_SERVICE, action.method, request)
        while changed.operation.operation_state == "running":
            await asyncio.sleep(_POLL)
            wanted = operation_pb2.GetOperationRequest(operation_id=changed.operation.operation_id)
            found = await client.call("operations", "GetOperation", wanted)
            changed.operation.CopyFrom(found.operation)
        return changed


def _ids(given: tuple[uuid.UUID, ...], *, every: bool) -> list[str]:
    """Return the given IDs without duplicates; empty means all.

    Raises:
        ConfigError: neither IDs nor --all is given, or both.
    """
    ids = [str(one) for one in dict.fromkeys(given)]
    if bool(ids) == every:
        raise ConfigError("give either trigger IDs, or --all with options that select triggers")
    return ids


def _require_options(what: str, *, every: bool, chosen: dict[str, Any]) -> None:
    if every and all(value is None for value in chosen.values()):
        raise ConfigError(f"--all alone would {what} of every project; add an option such as --campaign 44")
