"""Defines `clarion webhooks`, which manages endpoints."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import click

from clarion.admin.v1 import webhook_pb2 as pb

from ..domain.webhook import DEFAULT_OVERLAP, EventType
from .common import json_option, run, show_json, table
from .durations import duration
from .messages import as_data, moment
from .remote import Admin, admin_options
from .webhook_log import log, replay, retry

__all__ = ["webhooks"]

_LONGEST = dt.timedelta(days=30)


@click.group()
def webhooks() -> None:
    """Manage webhook endpoints: URLs that are notified of deliveries."""


for _command in (log, retry, replay):
    webhooks.add_command(_command)


@webhooks.command()
@click.option("--project", required=True, help="Name of the project.")
@click.option("--url", required=True, help="URL that messages are sent to: https://…")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice([event.value for event in EventType]),
    help="Send only this event; repeatable.  [default: all events]",
)
@json_option
@admin_options
def create(*, admin: Admin, project: str, url: str, events: tuple[str, ...], as_json: bool) -> None:
    """Create an endpoint and print its secret, which is shown only once.

    The secret signs the messages to the endpoint.
    """
    made = admin.call(
        "webhooks", "CreateWebhook", pb.CreateWebhookRequest(project=project, url=url, events=events)
    )
    if as_json:
        show_json({**as_data(made.webhook), "secret": made.secret})
        return
    click.echo(made.secret)
    about = f"Endpoint ID: {made.webhook.webhook_id}. Save the secret above: it is not shown again."
    click.echo(f"{about} The endpoint receives events from now on.", err=True)


@webhooks.command(name="list")
@click.option("--project", default="", help="Only endpoints of this project.")
@json_option
@admin_options
def list_endpoints(*, admin: Admin, project: str, as_json: bool) -> None:
    """List endpoints, the newest first."""
    request = pb.ListWebhooksRequest(project=project, page_size=1000)

    async def work() -> list[pb.Webhook]:
        found: list[pb.Webhook] = []
        async with admin.opened() as client:
            while True:
                page = await client.call("webhooks", "ListWebhooks", request)
                found += page.webhooks
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    return found

    found = run(work())
    if as_json:
        show_json([as_data(one) for one in found])
        return
    table(
        [
            {
                "ID": one.webhook_id,
                "PROJECT": one.project,
                "URL": one.url,
                "EVENTS": ",".join(event.removeprefix("trigger.") for event in one.events),
                "STATE": f"{one.state} ({one.disabled_because})" if one.disabled_because else one.state,
            }
            for one in found
        ],
        "webhook endpoints",
    )


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.option(
    "--overlap",
    default=DEFAULT_OVERLAP,
    show_default=True,
    callback=duration(_LONGEST),
    help="How long messages are also signed with the old secret, such as 30m or 7d; 0s to stop at once.",
)
@json_option
@admin_options
def rotate(*, admin: Admin, webhook_id: uuid.UUID, overlap: dt.timedelta, as_json: bool) -> None:
    """Replace an endpoint's secret; the new one is shown only once. Takes effect within a second."""
    request = pb.RotateWebhookSecretRequest(webhook_id=str(webhook_id), overlap=overlap)
    made = admin.call("webhooks", "RotateWebhookSecret", request)
    if as_json:
        show_json({**as_data(made.webhook), "secret": made.secret})
        return
    click.echo(made.secret)
    until = made.webhook.HasField("previous_secret_until")
    rest = f"also signs until {moment(made.webhook.previous_secret_until)}" if until else "is no longer used"
    click.echo(f"Save the secret above: it is not shown again. The previous secret {rest}.", err=True)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@admin_options
def disable(*, admin: Admin, webhook_id: uuid.UUID) -> None:
    """Stop sending to an endpoint.

    Events that occur while it is disabled are not delivered later; messages already queued stay queued.
    """
    _show_state(
        admin.call("webhooks", "DisableWebhook", pb.DisableWebhookRequest(webhook_id=str(webhook_id)))
    )


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@admin_options
def enable(*, admin: Admin, webhook_id: uuid.UUID) -> None:
    """Enable a disabled endpoint.

    This includes endpoints that were disabled because they answered 410.
    """
    _show_state(admin.call("webhooks", "EnableWebhook", pb.EnableWebhookRequest(webhook_id=str(webhook_id))))


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@admin_options
def delete(*, admin: Admin, webhook_id: uuid.UUID) -> None:
    """Delete an endpoint and its queued messages, but not its log."""
    admin.call("webhooks", "DeleteWebhook", pb.DeleteWebhookRequest(webhook_id=str(webhook_id)))
    click.echo(f"deleted {webhook_id}")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@admin_options
def test(*, admin: Admin, webhook_id: uuid.UUID) -> None:
    """Send the event `webhook.test` to an active endpoint."""
    click.echo(
        admin.call("webhooks", "TestWebhook", pb.TestWebhookRequest(webhook_id=str(webhook_id))).message_id
    )
    click.echo(f"See `clarion webhooks log {webhook_id}` for the result.", err=True)


def _show_state(response: Any) -> None:
    click.echo(f"{response.webhook.webhook_id} is {response.webhook.state}")
