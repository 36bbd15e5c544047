"""Defines `clarion webhooks log` and `clarion webhooks retry`."""

from __future__ import annotations

import datetime as dt
import uuid

import click

from ..domain.webhook import EndpointState, Logged
from ..errors import ConfigError
from ..store.admin import webhook_log as store
from ..store.admin.endpoints import find_endpoint
from ..store.pool import Pool, reached
from ..store.replication import changed
from .common import Invocation, json_option, run, show_json, table

__all__ = ["log", "require_active", "retry"]


@click.command()
@click.argument("webhook_id", type=click.UUID, required=False)
@click.option("--failed", is_flag=True, help="Only messages whose last attempt failed.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Maximum number of messages.",
)
@json_option
@click.pass_obj
def log(
    invocation: Invocation, *, webhook_id: uuid.UUID | None, failed: bool, limit: int, as_json: bool
) -> None:
    """Show the newest messages with all their attempts, the latest first.

    With WEBHOOK_ID, show only messages to that endpoint.
    """

    async def work() -> list[Logged]:
        async with invocation.database() as pool, reached():
            if webhook_id:
                await _must_be_known(pool, webhook_id)
            return await store.list_log(pool, webhook_id, failed=failed, limit=limit)

    found = run(work())
    if as_json:
        show_json(found)
    else:
        table([_row(one) for one in found], "webhook messages")


async def _must_be_known(pool: Pool, endpoint_id: uuid.UUID) -> None:
    """Reject an endpoint that never existed. The log of a deleted one remains."""
    if not await store.list_log(pool, endpoint_id, limit=1):
        await find_endpoint(pool, endpoint_id)


async def require_active(pool: Pool, endpoint_id: uuid.UUID) -> None:
    """Reject a disabled endpoint, because nothing would be sent to it.

    Raises:
        ConfigError: The endpoint is disabled.
        EndpointNotFound: No endpoint has this id.
    """
    endpoint = await find_endpoint(pool, endpoint_id)
    if endpoint.state is EndpointState.DISABLED:
        raise ConfigError(
            f"endpoint {endpoint_id} is disabled ({endpoint.disabled_because});"
            f" run `clarion webhooks enable {endpoint_id}` first"
        )


def _row(one: Logged) -> dict[str, object]:
    attempt = one.attempt
    return {
        "MESSAGE": one.message_id,
        "ENDPOINT": one.endpoint_id,
        "TYPE": one.type,
        "TRIGGER": one.trigger_id,
        "STATE": one.state,
        "NEXT": next_attempt(one),
        "ATTEMPT": attempt.number if attempt else None,
        "AT": (attempt.started_at if attempt else one.created_at).isoformat(timespec="seconds"),
        "STATUS": one.status,
        "TOOK": f"{attempt.duration * 1000:.0f} ms" if attempt else None,
        "ERROR": " | ".join(filter(None, (attempt.error, one.answer))) if attempt and attempt.error else None,
    }


def next_attempt(one: Logged) -> str | None:
    """Return the time of the next attempt, or "due" if it waits for its endpoint's concurrency limit."""
    due = one.next_attempt_at
    if due is None:
        return None
    return due.isoformat(timespec="seconds") if due > dt.datetime.now(dt.UTC) else "due"


@click.command()
@click.argument("message_ids", type=click.UUID, nargs=-1)
@click.option(
    "--all-failed", "endpoint_id", type=click.UUID, metavar="ID", help="All failed messages to this endpoint."
)
@click.pass_obj
def retry(
    invocation: Invocation, *, message_ids: tuple[uuid.UUID, ...], endpoint_id: uuid.UUID | None
) -> None:
    """Retry failed messages, by ID or all of an endpoint.

    Retries dead messages and those that wait for another attempt. They are due immediately, get all attempts
    again, and keep their `webhook-id`.
    """
    ids = list(dict.fromkeys(message_ids))
    if bool(ids) == (endpoint_id is not None):
        raise ConfigError("give either message IDs, or --all-failed with an endpoint's ID")

    async def work() -> int:
        async with invocation.database() as pool, changed(pool):
            if endpoint_id:
                await require_active(pool, endpoint_id)
            return await store.retry_messages(pool, ids=ids or None, endpoint_id=endpoint_id)

    count = run(work())
    if ids and count < len(ids):
        which = f"message {ids[0]} is not retried" if len(ids) == 1 else f"retrying {count} of {len(ids)}"
        raise ConfigError(
            f"{which}; only failed messages that are not queued or in flight and whose endpoint exists are"
            " retried: see `clarion webhooks log`"
        )
    click.echo(f"retrying {count} {'message' if count == 1 else 'messages'}")
