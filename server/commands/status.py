"""`clarion status`."""

from __future__ import annotations

import sys
import time

import click

from clarion.admin.v1 import system_pb2 as pb

from ..errors import ClarionError
from .common import echo, json_option, show_json, table
from .messages import as_data
from .remote import Admin, admin_options

__all__ = ["status"]

_NOT_WELL, _NOT_ASKED = 1, 2
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_KIB = 1024


@click.command()
@click.option(
    "--watch",
    type=click.FloatRange(1, 3600),
    is_flag=False,
    flag_value=5.0,
    metavar="SECONDS",
    help="Show it again every SECONDS (by default 5) until Ctrl-C.",
)
@json_option
@admin_options
def status(*, admin: Admin, watch: float | None, as_json: bool) -> None:
    """Show whether all is well, or what is wrong and what to do.

    The exit code is 0 if all is well, 1 if something is wrong, and 2 if the state cannot be read.
    """
    while True:
        code = _show(admin, as_json=as_json, clear=watch is not None)
        if watch is None:
            sys.exit(code)
        time.sleep(watch)


def _show(admin: Admin, *, as_json: bool, clear: bool) -> int:
    """Show the state once and return the exit code."""
    try:
        response = admin.call("system", "GetSystemStatus", pb.GetSystemStatusRequest())
    except ClarionError as error:
        click.echo(f"clarion: the state cannot be read: {error}", err=True)
        return _NOT_ASKED
    if clear and sys.stdout.isatty():
        click.clear()
    found: pb.SystemStatus = response.system
    if as_json:
        show_json(as_data(found))
    else:
        _print(found)
    return _NOT_WELL if found.problems else 0


def _print(found: pb.SystemStatus) -> None:
    if found.problems:
        echo(f"Not well: {len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}.")
        for one in found.problems:
            echo(f"- {one.description}\n  To do: {one.action} (docs/runbooks/{one.runbook}.md)")
    else:
        echo("All is well.")
    now = found.status_time.ToSeconds()
    _section("Processes")
    table([_process(one, now) for one in found.processes], "processes")
    _section("Queue")
    table([_queue(one) for one in found.queues], "queues")
    _section("Providers")
    table([_provider(one) for one in found.system_providers], "providers")
    _section("Dead letters")
    echo(f"{found.dead_letter_count}, of which {found.recent_dead_letter_count} in the last hour")
    for group in found.dead_letter_errors:
        campaign = f" (campaign {group.campaign_id} of {group.project})" if group.project else ""
        echo(f"  {group.dead_letters} x {group.error}{campaign}")
    if found.failing_webhooks:
        _section("Failing webhooks")
        table([_webhook(one) for one in found.failing_webhooks], "webhooks")
    _section("Database")
    echo(_database(found))


def _section(title: str) -> None:
    click.echo(f"\n{title}")


def _process(one: pb.SystemProcess, now: int) -> dict[str, object]:
    return {
        "ROLE": one.process_role,
        "VERSION": one.version or None,
        "HOST": one.host or None,
        "LAST SEEN": f"{max(0, now - one.last_seen_time.ToSeconds())} s ago",
        "CLOCK": f"{one.clock_offset_seconds:+.1f} s" if one.HasField("clock_offset_seconds") else None,
        "WRITE": f"{one.write_seconds:.3f} s" if one.HasField("write_seconds") else None,
    }


def _queue(one: pb.SystemQueue) -> dict[str, object]:
    return {
        "CHANNEL": one.queue_channel,
        "DUE": one.due,
        "LATER": one.later,
        "SENDING": one.sending,
        "OLDEST DUE": f"{one.oldest_due_seconds:.0f} s" if one.oldest_due_seconds else None,
        "WAITS FOR": one.waits_for or None,
    }


def _provider(one: pb.SystemProvider) -> dict[str, object]:
    paused = ["suppression paused"] if one.suppression_paused else []
    state = ", ".join((["breaker open"] if one.breaker_open else []) + paused)
    return {
        "PROVIDER": one.provider,
        "STATE": state or "ok",
        "DISPATCHERS": one.dispatcher_count,
        "MEDIAN": f"{one.median_seconds:.1f} s" if one.median_seconds else None,
        "ERROR": one.last_error or None,
    }


def _webhook(one: pb.SystemWebhook) -> dict[str, object]:
    return {
        "WEBHOOK": one.webhook_id,
        "PROJECT": one.project,
        "WAITING": one.waiting,
        "ERROR": one.last_error,
    }


def _database(found: pb.SystemStatus) -> str:
    database = found.database
    sync = "synchronous" if database.synchronous else "not synchronous"
    lines = [
        f"reachable, {_size(database.size_bytes)}",
        f"schema: {found.schema}, needed: {found.needed_schema}",
        f"connections: {database.connections} of {database.max_connections}",
        f"replicas: {database.replicas}, {sync}",
        f"oldest transaction: {database.oldest_transaction_seconds:.0f} s",
    ]
    if found.HasField("disk"):
        lines.append(
            f"disk of the data folder: {_size(found.disk.free_bytes)} of {_size(found.disk.total_bytes)} free"
        )
    return "\n".join(lines)


def _size(number: float) -> str:
    for unit in _UNITS[:-1]:
        if number < _KIB:
            return f"{number:.0f} {unit}"
        number /= _KIB
    return f"{number:.1f} {_UNITS[-1]}"
