"""Defines `clarion webhooks`, which manages endpoints."""

from __future__ import annotations

import datetime as dt
import uuid

import click

from clarion.admin.v1 import webhook_pb2 as pb

from ..domain.webhook import DEFAULT_OVERLAP, EventType
from .common import json_option
from .durations import duration
from .messages import in_lines, moment, show_list, show_one, show_secret
from .remote import Admin, admin_options
from .webhook_log import log, replay, retry

__all__ = ["webhooks"]

_LONGEST = dt.timedelta(days=30)
_EVENT = click.Choice([event.value for event in EventType])


@click.group()
def webhooks() -> None:
    """Manage webhook endpoints, and retry their messages.

    An endpoint is a URL that is notified of deliveries.
    """


for _command in (log, retry, replay):
    webhooks.add_command(_command)


@webhooks.command()
@click.option("--project", required=True, help="Name of the project.")
@click.option("--url", required=True, help="URL that messages are sent to: https://…")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=_EVENT,
    help="Send only this event; repeatable.  [default: all events]",
)
@json_option
@admin_options
def create(*, admin: Admin, project: str, url: str, events: tuple[str, ...], as_json: bool) -> None:
    """Create an endpoint and print its secret.

    The secret is shown only once. It signs the messages to the endpoint.
    """
    made = admin.call(
        "webhooks", "CreateWebhook", pb.CreateWebhookRequest(project=project, url=url, events=events)
    )
    about = (
        f"Endpoint ID: {made.webhook.webhook_id}. Save the secret above: it is not shown again."
        " The endpoint receives events from now on."
    )
    show_secret(made.webhook, made.secret, about, as_json=as_json)


@webhooks.command(name="list")
@click.option("--project", default="", help="Only endpoints of this project.")
@json_option
@admin_options
def list_endpoints(*, admin: Admin, project: str, as_json: bool) -> None:
    """List endpoints, the newest first."""
    found = admin.collect("webhooks", "ListWebhooks", pb.ListWebhooksRequest(project=project))
    show_list(found, _row, "webhook endpoints", as_json=as_json)


def _row(one: pb.Webhook) -> dict[str, object]:
    return {
        "ID": one.webhook_id,
        "PROJECT": one.project,
        "URL": one.url,
        "EVENTS": ",".join(event.removeprefix("trigger.") for event in one.events),
        "STATE": _state(one),
    }


def _state(one: pb.Webhook) -> str:
    return f"{one.state} ({one.disabled_because})" if one.disabled_because else one.state


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@json_option
@admin_options
def show(*, admin: Admin, webhook_id: uuid.UUID, as_json: bool) -> None:
    """Show an endpoint, by its ID."""
    request = pb.GetWebhookRequest(webhook_id=str(webhook_id))
    one: pb.Webhook = admin.call("webhooks", "GetWebhook", request).webhook
    until = one.HasField("previous_secret_until")
    facts = {
        **_row(one),
        "CREATED": moment(one.create_time),
        "PREVIOUS SECRET UNTIL": moment(one.previous_secret_until) if until else None,
    }
    show_one(one, in_lines(facts), as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.option(
    "--event",
    "events",
    multiple=True,
    required=True,
    type=_EVENT,
    help="Send only this event; repeatable.",
)
@json_option
@admin_options
def update(*, admin: Admin, webhook_id: uuid.UUID, events: tuple[str, ...], as_json: bool) -> None:
    """Change the events that an endpoint receives. Takes effect within a second."""
    request = pb.UpdateWebhookRequest(webhook_id=str(webhook_id), events=events)
    one: pb.Webhook = admin.call("webhooks", "UpdateWebhook", request).webhook
    show_one(one, f"{one.webhook_id} receives {', '.join(one.events)}", as_json=as_json)


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
    """Replace an endpoint's secret, and print the new one.

    It is shown only once. Takes effect within a second.
    """
    request = pb.RotateWebhookSecretRequest(webhook_id=str(webhook_id), overlap=overlap)
    made = admin.call("webhooks", "RotateWebhookSecret", request)
    until = made.webhook.HasField("previous_secret_until")
    rest = f"also signs until {moment(made.webhook.previous_secret_until)}" if until else "is no longer used"
    about = f"Save the secret above: it is not shown again. The previous secret {rest}."
    show_secret(made.webhook, made.secret, about, as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@json_option
@admin_options
def disable(*, admin: Admin, webhook_id: uuid.UUID, as_json: bool) -> None:
    """Stop sending to an endpoint.

    Events that occur while it is disabled are not delivered later; messages already queued stay queued.
    """
    request = pb.DisableWebhookRequest(webhook_id=str(webhook_id))
    _show_state(admin.call("webhooks", "DisableWebhook", request).webhook, as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@json_option
@admin_options
def enable(*, admin: Admin, webhook_id: uuid.UUID, as_json: bool) -> None:
    """Enable a disabled endpoint.

    This includes endpoints that were disabled because they answered 410.
    """
    request = pb.EnableWebhookRequest(webhook_id=str(webhook_id))
    _show_state(admin.call("webhooks", "EnableWebhook", request).webhook, as_json=as_json)


def _show_state(one: pb.Webhook, *, as_json: bool) -> None:
    show_one(one, f"{one.webhook_id} is {one.state}", as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@json_option
@admin_options
def delete(*, admin: Admin, webhook_id: uuid.UUID, as_json: bool) -> None:
    """Delete an endpoint and its queued messages, but not its log."""
    request = pb.DeleteWebhookRequest(webhook_id=str(webhook_id))
    deleted = admin.call("webhooks", "DeleteWebhook", request)
    show_one(deleted, f"deleted {webhook_id}", as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@json_option
@admin_options
def test(*, admin: Admin, webhook_id: uuid.UUID, as_json: bool) -> None:
    """Send the event `webhook.test` to an active endpoint."""
    request = pb.TestWebhookRequest(webhook_id=str(webhook_id))
    sent = admin.call("webhooks", "TestWebhook", request)
    show_one(sent, sent.message_id, as_json=as_json)
    click.echo(f"See `clarion webhooks log {webhook_id}` for the result.", err=True)
