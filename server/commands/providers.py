"""`clarion providers`."""

from __future__ import annotations

import click

from clarion.admin.v1 import provider_pb2 as pb

from .common import echo, json_option, show_json, table
from .messages import as_data, moment
from .remote import Admin, admin_options

__all__ = ["providers"]


@click.command()
@json_option
@admin_options
def providers(*, admin: Admin, as_json: bool) -> None:
    """Show the state and recent errors of each provider.

    This includes its circuit breaker, its rate, and the numbers and errors of the last hour.
    """
    found = admin.call("providers", "ListProviders", pb.ListProvidersRequest())
    if as_json:
        show_json(as_data(found))
        return
    table([_row(one, found.dispatcher_count) for one in found.providers], "providers")
    for provider in found.providers:
        for error in provider.errors:
            last = moment(error.last_time)
            times = "once" if error.occurrences == 1 else f"{error.occurrences} times, the last time"
            echo(f"{provider.provider}, {times} at {last}: {error.message}")


def _row(one: pb.Provider, dispatchers: int) -> dict[str, object]:
    holds = sorted({each.hold for each in one.dispatchers if each.hold})
    paused = ["suppression paused"] if any(each.suppression_paused for each in one.dispatchers) else []
    state = ", ".join([*holds, *paused]) or "ok" if one.dispatchers else "not configured"
    return {
        "PROVIDER": one.provider,
        "STATE": state,
        "DISPATCHERS": f"{len(one.dispatchers)} of {dispatchers}",
        "RATE": f"{one.messages_per_second:g}/s" if one.messages_per_second else None,
        "DELIVERED": one.delivered,
        "FAILED": one.failed,
        "RETRIED": one.retried,
        "LAST SUCCESS": moment(one.last_success_time) if one.HasField("last_success_time") else None,
    }
