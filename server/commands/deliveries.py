"""`clarion deliveries`."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..domain.campaign import Channel
from ..domain.delivery import Attempt, AttemptOutcome, Delivery, DeliveryState
from ..domain.waiting import Reason, Waiting
from ..errors import ConfigError
from ..store.pool import reached
from ..store.records import admin_lists as lists
from ..store.records import find as store
from ..store.records.cancel import cancel_all
from ..store.records.waiting import find_lane_waits, find_suppression_paused, find_waiting
from ..store.replication import changed
from .common import CHANNEL, MOMENT, Invocation, WordChoice, as_utc, echo, json_option, run, show_json, table
from .common import as_json as to_json

__all__ = ["deliveries"]

_STATE = WordChoice([one.value for one in DeliveryState], "DELIVERY_STATE_")
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
@click.pass_obj
def show(invocation: Invocation, *, trigger_id: uuid.UUID, as_json: bool) -> None:
    """Show a trigger's state and attempts, and why it is waiting."""

    async def work() -> tuple[Delivery | None, Waiting | None, set[str]]:
        async with invocation.database() as pool, reached():
            found = await store.find_delivery(pool, trigger_id)
            return found, await find_waiting(pool, trigger_id), await find_suppression_paused(pool)

    found, waiting, paused = run(work())
    if found is None:
        raise ConfigError(
            f"there is no trigger {trigger_id}; its ID is in the response's x-trigger-id header"
        )
    if as_json:
        show_json({**to_json(found), "waiting": waiting})
        return
    echo(f"{found.state}: campaign {found.campaign_id} ({found.channel}) for {found.external_id}")
    with_key = f" with the API key {found.key_id}" if found.key_id else ""
    click.echo(f"accepted {found.accepted_at.isoformat()}{with_key}")
    if found.send_at:
        click.echo(f"scheduled for {found.send_at.isoformat()}")
    for attempt in found.attempts:
        echo(_delivery_row(attempt))
    if waiting:
        until = f" until {waiting.until.isoformat(timespec='seconds')}" if waiting.until else ""
        echo(f"waiting{until}: {waiting.detail}")
    for name in sorted(paused & {attempt.provider for attempt in found.attempts}):
        echo(f"{name} refuses too many recipients, so none are suppressed now; see the log of the dispatcher")
    if found.cancelled_at:
        click.echo(f"cancelled {found.cancelled_at.isoformat()}")


def _delivery_row(attempt: Attempt) -> str:
    detail = attempt.error or attempt.provider_message_id
    head = f"attempt {attempt.number}: {attempt.started_at.isoformat()} {attempt.provider}"
    return f"{head}: {_ENDED[attempt.outcome]} after {attempt.duration * 1000:.0f} ms: {detail}".rstrip(" :")


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
        click.option("--error", help="Only if the last error contains this text."),
        click.option("--project", help="Only deliveries of this project."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _filter(chosen: dict[str, Any]) -> lists.AdminFilter:
    since, channel = chosen.pop("since"), chosen.pop("channel")
    return lists.AdminFilter(
        **chosen,
        since=as_utc(since),
        channel=Channel(channel) if channel else None,
    )


@deliveries.command(name="list")
@click.option("--state", type=_STATE, help="Only deliveries in this state.")
@_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@click.pass_obj  # type: ignore[arg-type]  # click's types do not support `**chosen`
def list_deliveries(
    invocation: Invocation, *, state: str | None, limit: int, as_json: bool, **chosen: Any
) -> None:
    """List deliveries, the newest first. `--state dead` lists the dead letters."""

    async def work() -> list[lists.DeliveryRow]:
        async with invocation.database() as pool, reached():
            return await lists.list_deliveries(
                pool, DeliveryState(state) if state else None, _filter(chosen), limit
            )

    found = run(work())
    if as_json:
        show_json(found)
        return
    table(
        [
            {
                "TRIGGER": one.trigger_id,
                "STATE": one.state,
                "CAMPAIGN": one.campaign_id,
                "USER": one.external_id,
                "ACCEPTED": one.accepted_at.isoformat(timespec="seconds"),
                "ATTEMPTS": one.attempts,
                "PROVIDER": one.provider or "-",
                "ERROR": one.error or "-",
            }
            for one in found
        ],
        "deliveries",
    )


@deliveries.command()
@click.argument("trigger_ids", type=click.UUID, nargs=-1)
@click.option("--all", "every", is_flag=True, help="All dead letters that match the options below.")
@_filters
@click.pass_obj  # type: ignore[arg-type]  # click's types do not support `**chosen`
def retry(invocation: Invocation, *, trigger_ids: tuple[uuid.UUID, ...], every: bool, **chosen: Any) -> None:
    """Retry dead letters, by ID or --all that match.

    Retries those with TRIGGER_IDS, or with --all those that match the options. By ID, it also retries
    suppressed messages, once their recipient is no longer suppressed (`clarion suppressions remove`). They
    are due immediately, get all attempts of their retry policy, and do not expire.
    """
    ids = _ids(trigger_ids, every=every)

    async def work() -> int:
        async with invocation.database() as pool, changed(pool):
            return await lists.redrive(pool, _filter(chosen), ids or None)

    count = run(work())
    if ids and count < len(ids):
        raise ConfigError(
            f"retrying {count} of {len(ids)}; the others are neither dead nor suppressed, have no campaign, "
            "or are to a recipient who is still suppressed: see `clarion deliveries show` and "
            "`clarion suppressions list`"
        )
    click.echo(f"retrying {count} {'delivery' if count == 1 else 'deliveries'}")


@deliveries.command()
@click.argument("trigger_ids", type=click.UUID, nargs=-1)
@click.option("--all", "every", is_flag=True, help="All waiting triggers that match the options below.")
@_filters
@click.pass_obj  # type: ignore[arg-type]  # click's types do not support `**chosen`
def cancel(invocation: Invocation, *, trigger_ids: tuple[uuid.UUID, ...], every: bool, **chosen: Any) -> None:
    """Cancel waiting triggers, by ID or --all that match.

    Cancels those with TRIGGER_IDS, or with --all those that match the options. Triggers that are waiting
    for a retry are cancelled; triggers that are being sent right now are not.
    """
    ids = _ids(trigger_ids, every=every)
    if every and all(value is None for value in chosen.values()):
        raise ConfigError(
            "--all alone would cancel triggers of every project; add an option such as --campaign 44"
        )

    async def work() -> int:
        async with invocation.database() as pool, changed(pool):
            return await cancel_all(pool, _filter(chosen), ids or None)

    count = run(work())
    if ids and count < len(ids):
        raise ConfigError(
            f"cancelled {count} of {len(ids)}; the others are not waiting: see `clarion deliveries show`"
        )
    click.echo(f"cancelled {count} {'trigger' if count == 1 else 'triggers'}")


def _ids(given: tuple[uuid.UUID, ...], *, every: bool) -> list[uuid.UUID]:
    """Return the given IDs without duplicates; empty means all.

    Raises:
        ConfigError: neither IDs nor --all is given, or both.
    """
    ids = list(dict.fromkeys(given))
    if bool(ids) == every:
        raise ConfigError("give either trigger IDs, or --all with options that select triggers")
    return ids


@deliveries.command()
@json_option
@click.pass_obj
def backlog(invocation: Invocation, *, as_json: bool) -> None:
    """Show how many triggers are waiting, by channel and providers.

    Also shows the age of the oldest due trigger, and why due triggers are not being sent.
    """

    async def work() -> tuple[list[lists.Backlog], dict[str, Waiting]]:
        async with invocation.database() as pool, reached():
            found = await lists.backlog(pool)
            return found, await find_lane_waits(pool, [one.lane for one in found if one.due])

    found, waits = run(work())
    if as_json:
        show_json([{**to_json(one), "waiting": waits.get(one.lane)} for one in found])
        return
    table(
        [
            {
                "CHANNEL": one.channel,
                "PROVIDERS": one.providers,
                "DUE": one.due,
                "OLDEST DUE": f"{one.oldest_due:.1f} s",
                "LATER": one.later,
                "SENDING": one.sending,
                "WAITING": _why(waits.get(one.lane)),
            }
            for one in found
        ],
        "waiting triggers",
    )


def _why(waiting: Waiting | None) -> str | None:
    """Return why due triggers are not being sent; None if they are."""
    return waiting.detail if waiting and waiting.reason is not Reason.DUE else None
