"""`clarion suppressions`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import click

from clarion.admin.v1 import suppression_pb2 as pb

from ..errors import ConfigError
from .common import CHANNEL, MOMENT, as_utc, json_option, run, show_json, show_result, table, with_options
from .csv_cells import cell
from .messages import as_data, enum_name, moment, show_list, word
from .remote import Admin, admin_options, pages
from .suppression_rows import add_rows, describe, read_rows

__all__ = ["suppressions"]

_SERVICE = "suppressions"
_COLUMNS = ("project", "channel", "address", "reason", "provider", "trigger_id", "create_time")


@click.group()
def suppressions() -> None:
    """List, add and remove suppressed recipients.

    No messages are sent to suppressed recipients.
    """


_filters = with_options(
    click.option("--project", help="Only recipients of this project."),
    click.option("--provider", help="Only recipients that this provider refused."),
    click.option("--reason", help="Only if the reason contains this text."),
    click.option(
        "--since",
        type=MOMENT,
        help="Only recipients suppressed since this time (UTC), such as 2026-01-31T08:00:00.",
    ),
)
"""The options that select suppressions."""


@suppressions.command(name="list")
@click.option("--channel", type=CHANNEL, help="Only recipients on this channel.")
@click.option("--address", help="Only this recipient.")
@_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@admin_options
def list_suppressions(
    *, admin: Admin, channel: str | None, address: str | None, limit: int, as_json: bool, **chosen: Any
) -> None:
    """List suppressed recipients, the newest first, with the reason."""
    request = pb.ListSuppressionsRequest(
        channel=enum_name("CHANNEL_", channel), address=address, **_chosen(chosen)
    )
    found = admin.collect(_SERVICE, "ListSuppressions", request, limit)
    show_list(found, _row, "suppressed recipients", as_json=as_json)


def _row(one: pb.Suppression) -> dict[str, object]:
    return {
        "PROJECT": one.project,
        "CHANNEL": word(one, "channel"),
        "RECIPIENT": one.address,
        "SINCE": moment(one.create_time),
        "PROVIDER": one.provider or None,
        "TRIGGER": one.trigger_id or None,
        "REASON": one.reason,
    }


@suppressions.command()
@click.argument("channel", type=CHANNEL)
@click.argument("addresses", nargs=-1, required=True)
@click.option("--project", required=True, help="Name of the project.")
@click.option("--reason", required=True, help="Why, for other operators.")
@json_option
@admin_options
def add(
    *, admin: Admin, channel: str, addresses: tuple[str, ...], project: str, reason: str, as_json: bool
) -> None:
    """Suppress ADDRESSES on CHANNEL.

    No campaign of the project sends to them any more.
    """
    request = pb.AddSuppressionsRequest(project=project, channel=channel, addresses=addresses, reason=reason)
    added = admin.call(_SERVICE, "AddSuppressions", request).added
    _show_added(added, len(addresses), as_json=as_json)


@suppressions.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--project", required=True, help="Name of the project.")
@click.option("--reason", default="imported", show_default=True, help="Reason where the file has none.")
@json_option
@admin_options
def import_file(*, admin: Admin, file: Path, project: str, reason: str, as_json: bool) -> None:
    """Suppress the recipients in a CSV FILE.

    The columns are channel, address and, optionally, reason. Recipients that are already suppressed do not
    change, so an import that was interrupted, or whose invalid rows were corrected, can be repeated.
    """
    groups = read_rows(file, reason)
    added, problems = run(add_rows(admin, project, groups))
    if problems:
        done = _count(added, "suppression")
        raise ConfigError(
            f"{file}: {describe(problems)}\nadded {done}; correct these rows and import it again"
        )
    _show_added(added, sum(map(len, groups.values())), as_json=as_json)


def _show_added(added: int, total: int, *, as_json: bool) -> None:
    existed = total - added
    text = f"added {_count(added, 'suppression')}; {existed} existed already"
    show_result({"added": added, "existed": existed}, text, as_json=as_json)


@suppressions.command()
@click.option("--channel", type=CHANNEL, help="Only recipients on this channel.")
@_filters
@admin_options
def export(*, admin: Admin, channel: str | None, **chosen: Any) -> None:
    """Print suppressed recipients as CSV, the newest first."""
    request = pb.ListSuppressionsRequest(channel=enum_name("CHANNEL_", channel), **_chosen(chosen))
    out = csv.writer(sys.stdout, lineterminator="\n")

    async def work() -> None:
        out.writerow(_COLUMNS)
        async with admin.opened() as client:
            async for one in pages(client, _SERVICE, "ListSuppressions", request):
                data = as_data(one)
                out.writerow([cell(data[name]) for name in _COLUMNS])

    run(work())


@suppressions.command()
@click.argument("channel", type=CHANNEL, required=False)
@click.argument("address", required=False)
@click.option("--all", "every", is_flag=True, help="All recipients that match the options below.")
@click.option("--channel", "only_channel", type=CHANNEL, help="With --all: only on this channel.")
@_filters
@click.option("--retry", is_flag=True, help="Also retry the messages that the suppressions stopped.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed, by reason.")
@json_option
@admin_options
def remove(
    *,
    admin: Admin,
    channel: str | None,
    address: str | None,
    every: bool,
    only_channel: str | None,
    retry: bool,
    dry_run: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Remove the suppression of ADDRESS, or --all that match.

    Takes effect with the next trigger. With --retry, messages that the suppressions stopped are due at once:
    the dead letters of these recipients since they were suppressed, and messages that ended as suppressed.
    """
    if every == bool(channel) or bool(channel) != bool(address) or (only_channel and not every):
        raise ConfigError("give either CHANNEL and ADDRESS, or --all with options that select suppressions")
    if every and only_channel is None and all(value is None for value in chosen.values()):
        raise ConfigError(
            "--all alone would remove those of every project; add an option such as --provider smtp"
        )
    where = channel or only_channel
    if dry_run:
        counted = pb.CountSuppressionsRequest(
            channel=enum_name("CHANNEL_", where), address=address, **_chosen(chosen)
        )
        _show_dry_run(admin.call(_SERVICE, "CountSuppressions", counted), retry=retry, as_json=as_json)
        return
    request = pb.RemoveSuppressionsRequest(channel=where, address=address, retry=retry, **_chosen(chosen))
    steps = admin.repeat(_SERVICE, "RemoveSuppressions", request, "until")
    removed, retried = sum(one.removed for one in steps), sum(one.retried for one in steps)
    if address and not removed:
        raise ConfigError(f"{address} is not suppressed for {channel}; see `clarion suppressions list`")
    counted_text = _count(removed, "suppression")
    done = f"{address} is no longer suppressed for {channel}" if address else f"removed {counted_text}"
    text = f"{done}; retrying {_count(retried, 'message')}" if retry else done
    show_result({"removed": removed, "retried": retried}, text, as_json=as_json)


def _show_dry_run(found: pb.CountSuppressionsResponse, *, retry: bool, as_json: bool) -> None:
    if as_json:
        show_json(as_data(found))
        return
    table(
        [
            {
                "RECIPIENTS": one.recipients,
                "PROJECT": one.project,
                "CHANNEL": word(one, "channel"),
                "PROVIDER": one.provider or None,
                "FIRST": moment(one.first_time),
                "LAST": moment(one.last_time),
                "REASON": one.reason,
            }
            for one in found.counts
        ],
        "suppressed recipients",
    )
    would = f"would remove {_count(found.recipients, 'suppression')}" + (" or more" if found.more else "")
    stopped = _count(found.stopped_messages, "message") + (" or more" if found.more_stopped else "")
    click.echo(f"dry run: {would} and retry {stopped}" if retry else f"dry run: {would}")


def _chosen(chosen: dict[str, Any]) -> dict[str, Any]:
    return {**chosen, "since": as_utc(chosen["since"])}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
