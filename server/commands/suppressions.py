"""`clarion suppressions`."""

from __future__ import annotations

import click

from ..domain.campaign import Channel
from ..errors import ConfigError
from ..store.admin import suppressions as store
from ..store.pool import reached
from .common import CHANNEL, Invocation, echo, json_option, run, show_json, table

__all__ = ["suppressions"]


@click.group()
def suppressions() -> None:
    """List and remove suppressed recipients, to whom nothing is sent."""


@suppressions.command(name="list")
@click.option("--project", help="Only in this project.")
@click.option("--channel", type=CHANNEL, help="Only on this channel.")
@click.option("--address", help="Only this recipient.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@click.pass_obj
def list_suppressions(
    invocation: Invocation,
    *,
    project: str | None,
    channel: str | None,
    address: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List suppressed recipients, the newest first, with the provider's reason."""

    async def work() -> list[store.Suppression]:
        async with invocation.database() as pool, reached():
            return await store.list_suppressions(
                pool,
                project=project,
                channel=Channel(channel) if channel else None,
                address=address,
                limit=limit,
            )

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
@click.argument("channel", type=CHANNEL)
@click.argument("address")
@click.option("--project", help="Only in this project.")
@click.pass_obj
def remove(invocation: Invocation, *, channel: str, address: str, project: str | None) -> None:
    """Allow messages to ADDRESS on CHANNEL again, from the next trigger on."""

    async def work() -> int:
        async with invocation.database() as pool, reached():
            return await store.remove_suppression(
                pool, project=project, channel=Channel(channel), address=address
            )

    if not run(work()):
        raise ConfigError(f"{address} is not suppressed for {channel}; see `clarion suppressions list`")
    echo(f"{address} is no longer suppressed for {channel}")
