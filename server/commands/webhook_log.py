"""Defines `clarion webhooks log`, `retry` and `replay`."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator

import click

from clarion.admin.v1 import webhook_pb2 as pb

from ..errors import ConfigError
from .common import MOMENT, as_utc, json_option, show_json, show_result, table
from .messages import as_data, moment
from .remote import Admin, admin_options

__all__ = ["log", "next_attempt", "replay", "retry"]

_SERVICE = "webhooks"


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
@admin_options
def log(*, admin: Admin, webhook_id: uuid.UUID | None, failed: bool, limit: int, as_json: bool) -> None:
    """Show the newest messages with all their attempts.

    With WEBHOOK_ID, show only messages to that endpoint.
    """
    request = pb.ListWebhookMessagesRequest(webhook_id=str(webhook_id or ""), failed=failed)
    found = admin.collect(_SERVICE, "ListWebhookMessages", request, limit)
    if as_json:
        show_json([as_data(one) for one in found])
    else:
        table([row for one in found for row in _rows(one)], "webhook messages")


def _rows(message: pb.WebhookMessage) -> Iterator[dict[str, object]]:
    """Yield a row for each attempt of a message, or one without attempts."""
    for attempt in message.webhook_attempts or (None,):
        yield {
            "MESSAGE": message.message_id,
            "ENDPOINT": message.webhook_id,
            "TYPE": message.type,
            "TRIGGER": message.trigger_id or None,
            "STATE": message.message_state,
            "NEXT": next_attempt(message),
            "ATTEMPT": attempt.number if attempt else None,
            "AT": moment(attempt.start_time if attempt else message.create_time),
            "STATUS": (attempt.status or None) if attempt else None,
            "TOOK": f"{attempt.duration.ToMilliseconds()} ms" if attempt else None,
            "ERROR": " | ".join(filter(None, (attempt.error, attempt.answer)))
            if attempt and attempt.error
            else None,
        }


def next_attempt(message: pb.WebhookMessage) -> str | None:
    """Return the time of the next attempt, or "due" if it waits for its endpoint's concurrency limit."""
    if not message.HasField("next_attempt_time"):
        return None
    due = message.next_attempt_time.ToDatetime(tzinfo=dt.UTC)
    return due.isoformat(timespec="seconds") if due > dt.datetime.now(dt.UTC) else "due"


@click.command()
@click.argument("message_ids", type=click.UUID, nargs=-1)
@click.option(
    "--all-failed", "endpoint_id", type=click.UUID, metavar="ID", help="All failed messages to this endpoint."
)
@json_option
@admin_options
def retry(
    *, admin: Admin, message_ids: tuple[uuid.UUID, ...], endpoint_id: uuid.UUID | None, as_json: bool
) -> None:
    """Retry failed messages, by ID or all of an endpoint.

    Retries dead messages and those that wait for another attempt. They are due immediately, get all attempts
    again, and keep their `webhook-id`.
    """
    ids = [str(one) for one in dict.fromkeys(message_ids)]
    if bool(ids) == (endpoint_id is not None):
        raise ConfigError("give either message IDs, or --all-failed with an endpoint's ID")
    request = pb.RetryWebhookMessagesRequest(message_ids=ids, webhook_id=str(endpoint_id or ""))
    steps = admin.repeat(_SERVICE, "RetryWebhookMessages", request, "until")
    count = sum(one.retried for one in steps)
    if ids and count < len(ids):
        which = f"message {ids[0]} is not retried" if len(ids) == 1 else f"retrying {count} of {len(ids)}"
        raise ConfigError(
            f"{which}; only failed messages that are not queued or in flight and whose endpoint exists are"
            " retried: see `clarion webhooks log`"
        )
    show_result({"retried": count}, f"retrying {_messages(count)}", as_json=as_json)


@click.command()
@click.argument("webhook_id", type=click.UUID)
@click.option(
    "--since",
    type=MOMENT,
    required=True,
    help="The time of the earliest event (UTC), such as 2026-01-31T08:00:00.",
)
@json_option
@admin_options
def replay(*, admin: Admin, webhook_id: uuid.UUID, since: dt.datetime, as_json: bool) -> None:
    """Send all messages of an endpoint since a time again.

    They are sent whether or not they were delivered, and keep their `webhook-id`, by which a receiver
    recognizes those that it has already processed.
    """
    request = pb.ReplayWebhookMessagesRequest(webhook_id=str(webhook_id), since=as_utc(since))
    steps = admin.repeat(_SERVICE, "ReplayWebhookMessages", request, "after")
    count = sum(one.replayed for one in steps)
    show_result({"replayed": count}, f"replaying {_messages(count)}", as_json=as_json)


def _messages(count: int) -> str:
    return f"{count} {'message' if count == 1 else 'messages'}"
