"""`clarion deliveries`."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from clarion.admin.v1 import delivery_pb2 as pb
from clarion.admin.v1 import operation_pb2
from clarion.v1 import delivery_pb2 as client_pb

from ..domain.delivery import AttemptOutcome, DeliveryState
from ..domain.waiting import Reason
from ..errors import ConfigError, DeliveryNotFound, RequestError
from .common import CHANNEL, MOMENT, WordChoice, as_utc, echo, json_option, run, show_json, table
from .messages import as_data, moment, word
from .remote import Admin, admin_options

__all__ = ["deliveries"]

_STATE = WordChoice([one.value for one in DeliveryState], "DELIVERY_STATE_")
_SERVICE = "deliveries"
_PAGE = 500
_POLL = 0.2  # seconds between looks at an operation
F = TypeVar("F", bound=Callable[..., Any])

_ENDED = {
    AttemptOutcome.DELIVERED: "delivered",
    AttemptOutcome.RETRY: "failed, will be retried,",
    AttemptOutcome.DEAD: "failed permanently",
    AttemptOutcome.LOST: "lost",
    AttemptOutcome.SUPPRESSED: "not sent",
    AttemptOutcome.IN_DOUBT: "in doubt",
}


@click.group()
def deliveries() -> None:
    """Show, cancel and retry deliveries."""


@deliveries.command()
@click.argument("trigger_id", type=click.UUID)
@json_option
@admin_options
def show(*, admin: Admin, trigger_id: uuid.UUID, as_json: bool) -> None:
    """Show a trigger's state and attempts, and why it is waiting."""
    request = pb.GetDeliveryRequest(trigger_id=str(trigger_id))
    try:
        found: pb.DeliveryDetail = _called(admin, "GetDelivery", request).delivery
    except RequestError as error:
        if error.reason != DeliveryNotFound.reason:
            raise
        raise ConfigError(
            f"there is no trigger {trigger_id}; its ID is in the response's x-trigger-id header"
        ) from error
    if as_json:
        show_json(as_data(found))
        return
    one = found.summary
    echo(f"{word(one, 'state')}: campaign {one.campaign_id} ({word(one, 'channel')}) for {one.external_id}")
    if one.test:
        click.echo("test: the message is not sent")
    with_key = f" with the API key {found.key_id}" if found.key_id else ""
    click.echo(f"accepted {moment(one.accept_time)}{with_key}")
    if found.HasField("send_at"):
        click.echo(f"scheduled for {moment(found.send_at)}")
    for attempt in found.attempts:
        echo(_attempt_row(attempt))
    if found.HasField("waiting"):
        waiting = found.waiting
        until = f" until {moment(waiting.until)}" if waiting.HasField("until") else ""
        echo(f"waiting{until}: {waiting.detail}")
    for name in found.paused_suppressions:
        echo(f"{name} refuses too many recipients, so none are suppressed now; see the log of the dispatcher")
    if found.HasField("cancel_time"):
        click.echo(f"cancelled {moment(found.cancel_time)}")


def _attempt_row(attempt: client_pb.Attempt) -> str:
    detail = attempt.error or attempt.provider_message_id
    head = f"attempt {attempt.number}: {moment(attempt.start_time)} {attempt.provider}"
    ended = _ENDED[AttemptOutcome(word(attempt, "outcome"))]
    return f"{head}: {ended} after {attempt.duration.ToMilliseconds()} ms: {detail}".rstrip(" :")


def _filters(command: F) -> F:
    """Add the options that select deliveries to a command."""
    options = (
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
        click.option("--error-group", help="Only with this last error, as `groups` shows it."),
        click.option("--project", help="Only deliveries of this project."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _filter(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that the options set."""
    channel, campaign_id = chosen["channel"], chosen["campaign_id"]
    return {
        "campaign_id": str(campaign_id) if campaign_id else None,
        "channel": f"CHANNEL_{channel.upper()}" if channel else None,
        "external_id": chosen["external_id"],
        "accepted_since": as_utc(chosen["since"]),
        "accepted_before": as_utc(chosen["before"]),
        "address": chosen["address"],
        "provider": chosen["provider"],
        "error": chosen["error"],
        "error_group": chosen["error_group"],
        "project": chosen["project"],
    }


@deliveries.command(name="list")
@click.option("--state", type=_STATE, help="Only deliveries in this state.")
@_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@admin_options
def list_deliveries(*, admin: Admin, state: str | None, limit: int, as_json: bool, **chosen: Any) -> None:
    """List deliveries, the newest first. `--state dead` lists the dead letters."""
    request = pb.ListDeliveriesRequest(
        state=f"DELIVERY_STATE_{state.upper()}" if state else None, **_filter(chosen)
    )

    async def work() -> list[pb.DeliverySummary]:
        found: list[pb.DeliverySummary] = []
        async with admin.opened() as client:
            while len(found) < limit:
                request.page_size = min(_PAGE, limit - len(found))
                page = await client.call(_SERVICE, "ListDeliveries", request)
                found += page.deliveries
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    break
        return found

    found = run(work())
    if as_json:
        show_json([as_data(one) for one in found])
        return
    table(
        [
            {
                "TRIGGER": one.trigger_id,
                "STATE": word(one, "state"),
                "CAMPAIGN": one.campaign_id,
                "USER": one.external_id,
                "ACCEPTED": moment(one.accept_time),
                "ATTEMPTS": one.attempt_count,
                "PROVIDER": one.provider or "-",
                "ERROR": one.error or "-",
            }
            for one in found
        ],
        "deliveries",
    )


@deliveries.command()
@click.option("--project", default="", help="Only dead letters of this project.")
@json_option
@admin_options
def groups(*, admin: Admin, project: str, as_json: bool) -> None:
    """Show the newest 10,000 dead letters, grouped by error."""
    found = _called(admin, "ListDeadLetterGroups", pb.ListDeadLetterGroupsRequest(project=project))
    if as_json:
        show_json([as_data(one) for one in found.dead_letter_groups])
        return
    table(
        [
            {
                "DEAD": one.dead_letters,
                "PROJECT": one.project,
                "CAMPAIGN": one.campaign_id,
                "PROVIDER": one.provider or "-",
                "FIRST": moment(one.first_time),
                "LAST": moment(one.last_time),
                "EXAMPLE": one.sample_trigger_id,
                "ERROR": one.error,
            }
            for one in found.dead_letter_groups
        ],
        "dead letters",
    )


_dry_run = click.option("--dry-run", is_flag=True, help="Only count what would change (at most 100,000).")
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


@deliveries.command()
@click.argument("trigger_ids", type=click.UUID, nargs=-1)
@click.option("--all", "every", is_flag=True, help="All dead letters that match the options below.")
@_filters
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


@deliveries.command()
@click.argument("trigger_ids", type=click.UUID, nargs=-1)
@click.option("--all", "every", is_flag=True, help="All waiting triggers that match the options below.")
@_filters
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

    def number(self, count: int) -> str:
        return f"{count} {self.noun[count != 1]}"


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
    request = action.request(trigger_ids=ids, **_filter(chosen))
    if not ids and not dry_run and not yes and sys.stdin.isatty():
        request.dry_run = True
        count = getattr(_called(admin, action.method, request), action.counted)
        click.confirm(f"{action.verb} {action.number(count)}?", abort=True)
    request.dry_run = dry_run
    changed = run(_changed(admin, action, request))
    if as_json:
        show_json(as_data(changed))
        return
    count = changed.operation.changed if changed.HasField("operation") else getattr(changed, action.counted)
    if dry_run:
        click.echo(f"would {action.verb} {action.number(count)}")
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


@deliveries.command()
@json_option
@admin_options
def backlog(*, admin: Admin, as_json: bool) -> None:
    """Show how many triggers are waiting, by channel and providers.

    Also shows the age of the oldest due trigger, and why due triggers are not being sent.
    """
    found = _called(admin, "ListBacklog", pb.ListBacklogRequest()).backlog
    if as_json:
        show_json([as_data(one) for one in found])
        return
    table(
        [
            {
                "CHANNEL": word(one, "channel"),
                "PROVIDERS": one.providers,
                "DUE": one.due,
                "OLDEST DUE": f"{one.oldest_due_seconds:.1f} s",
                "LATER": one.later,
                "SENDING": one.sending,
                "WAITING": _why(one),
            }
            for one in found
        ],
        "waiting triggers",
    )


def _why(one: pb.Backlog) -> str | None:
    """Return why due triggers are not being sent; None if they are."""
    is_held = one.HasField("waiting") and one.waiting.waiting_reason != Reason.DUE
    return one.waiting.detail if is_held else None


def _called(admin: Admin, method: str, request: Any) -> Any:
    async def work() -> Any:
        async with admin.opened() as client:
            return await client.call(_SERVICE, method, request)

    return run(work())
