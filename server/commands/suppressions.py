"""`clarion suppressions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..channels import CHANNELS
from ..domain.campaign import Channel
from ..errors import ConfigError
from ..store.admin import suppressions as store
from ..store.pool import reached
from ..store.replication import changed
from .common import CHANNEL, MOMENT, Invocation, as_utc, echo, json_option, run, show_json, table

__all__ = ["suppressions"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def suppressions() -> None:
    """List and remove suppressed recipients, to whom nothing is sent."""


def _filters(command: F) -> F:
    """Add the options that select suppressions to a command."""
    options = (
        click.option("--project", help="Only recipients of this project."),
        click.option("--provider", help="Only recipients that this provider refused."),
        click.option("--reason", help="Only if the provider's reason contains this text."),
        click.option(
            "--since",
            type=MOMENT,
            help="Only recipients suppressed since this time (UTC), such as 2026-01-31T08:00:00.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _filter(channel: str | None, address: str | None, chosen: dict[str, Any]) -> store.SuppressionFilter:
    return store.SuppressionFilter(
        channel=Channel(channel) if channel else None,
        address=_as_stored(address) if address else None,
        **{**chosen, "since": as_utc(chosen["since"])},
    )


def _as_stored(address: str) -> str:
    """Return an address in the form in which triggers store it: internationalised domains in ASCII."""
    try:
        return CHANNELS[Channel.EMAIL].address.as_sent(address) if "@" in address else address
    except ValueError:  # not an email address, so it will match nothing
        return address


@suppressions.command(name="list")
@click.option("--channel", type=CHANNEL, help="Only recipients on this channel.")
@click.option("--address", help="Only this recipient.")
@_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@click.pass_obj  # type: ignore[arg-type]  # click's types do not support `**chosen`
def list_suppressions(
    invocation: Invocation,
    *,
    channel: str | None,
    address: str | None,
    limit: int,
    as_json: bool,
    **chosen: Any,
) -> None:
    """List suppressed recipients, the newest first, with the provider's reason."""

    async def work() -> list[store.Suppression]:
        async with invocation.database() as pool, reached():
            return await store.list_suppressions(pool, _filter(channel, address, chosen), limit)

    found = run(work())
    if as_json:
        show_json(found)
        return
    table(
        [
            {
                "PROJECT": one.project,
                "CHANNEL": one.channel,
                "RECIPIENT": one.address,
                "SINCE": one.created_at.isoformat(timespec="seconds"),
                "PROVIDER": one.provider,
                "TRIGGER": one.trigger_id,
                "REASON": one.reason,
            }
            for one in found
        ],
        "suppressed recipients",
    )


@suppressions.command()
@click.argument("channel", type=CHANNEL, required=False)
@click.argument("address", required=False)
@click.option("--all", "every", is_flag=True, help="All recipients that match the options below.")
@click.option("--channel", "only_channel", type=CHANNEL, help="With --all: only on this channel.")
@_filters
@click.option("--retry", is_flag=True, help="Also retry the messages that the suppressions stopped.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed, by reason.")
@click.pass_obj  # type: ignore[arg-type]  # click's types do not support `**chosen`
def remove(
    invocation: Invocation,
    *,
    channel: str | None,
    address: str | None,
    every: bool,
    only_channel: str | None,
    retry: bool,
    dry_run: bool,
    **chosen: Any,
) -> None:
    """Allow messages to ADDRESS on CHANNEL again, or to --all that match.

    Takes effect with the next trigger. With --retry, messages that the suppressions stopped are due at once:
    the dead letters of these recipients since they were suppressed, and messages that ended as suppressed.
    """
    if every == bool(channel) or bool(channel) != bool(address) or (only_channel and not every):
        raise ConfigError("give either CHANNEL and ADDRESS, or --all with options that select suppressions")
    if every and only_channel is None and all(value is None for value in chosen.values()):
        raise ConfigError(
            "--all alone would remove those of every project; add an option such as --provider smtp"
        )
    wanted = _filter(channel or only_channel, address, chosen)
    if dry_run:
        _show_dry_run(invocation, wanted, retry=retry)
        return

    async def work() -> store.Removed:
        async with invocation.database() as pool, changed(pool):
            return await store.remove_suppressions(pool, wanted, retry=retry)

    removed = run(work())
    if address and not removed.suppressions:
        raise ConfigError(f"{address} is not suppressed for {channel}; see `clarion suppressions list`")
    counted = _count(removed.suppressions, "suppression")
    done = f"{address} is no longer suppressed for {channel}" if address else f"removed {counted}"
    echo(f"{done}; retrying {_count(removed.retried, 'message')}" if retry else done)


def _show_dry_run(invocation: Invocation, wanted: store.SuppressionFilter, *, retry: bool) -> None:
    async def work() -> tuple[list[store.SuppressionCount], int]:
        async with invocation.database() as pool, reached():
            found = await store.count_suppressions(pool, wanted)
            return found, await store.count_stopped(pool, wanted) if retry else 0

    found, stopped = run(work())
    table(
        [
            {
                "RECIPIENTS": one.recipients,
                "PROJECT": one.project,
                "CHANNEL": one.channel,
                "PROVIDER": one.provider,
                "FIRST": one.first_at.isoformat(timespec="seconds"),
                "LAST": one.last_at.isoformat(timespec="seconds"),
                "REASON": one.reason,
            }
            for one in found
        ],
        "suppressed recipients",
    )
    would = f"would remove {_count(sum(one.recipients for one in found), 'suppression')}"
    click.echo(f"dry run: {would} and retry {_count(stopped, 'message')}" if retry else f"dry run: {would}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
