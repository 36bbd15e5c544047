"""Defines `clarion deliveries message`."""

from __future__ import annotations

import sys
import uuid

import click

from clarion.admin.v1 import delivery_pb2 as pb

from ..errors import ConfigError
from .common import echo, json_option
from .messages import in_lines, show_one
from .remote import Admin, admin_options

__all__ = ["message"]

_PARTS = ("subject", "title", "text", "html")
_FROM = {
    "attempt": "version {version} of the campaign, which the last attempt used",
    "current": "version {version} of the campaign, the current one, because no attempt has recorded one",
    "test_send": "the content that an author tested",
}


@click.command()
@click.argument("trigger_id", type=click.UUID)
@click.option("--part", type=click.Choice(_PARTS), help="Print only this part.")
@json_option
@admin_options
def message(*, admin: Admin, trigger_id: uuid.UUID, part: str | None, as_json: bool) -> None:
    """Render the message of a trigger again, and print it.

    Messages are not stored: it is rendered from the version of the campaign that the last attempt used, and
    the data of the trigger.
    """
    request = pb.GetDeliveryMessageRequest(trigger_id=str(trigger_id))
    found: pb.GetDeliveryMessageResponse = admin.call("deliveries", "GetDeliveryMessage", request)
    if part is None:
        show_one(found, _text(found), as_json=as_json)
    elif text := getattr(found, part):
        # A program that reads the part must get it unchanged.
        (echo if sys.stdout.isatty() else click.echo)(text)
    else:
        given = [name for name in _PARTS if getattr(found, name)]
        raise ConfigError(f"the message has no {part}, only {', '.join(given)}")


def _text(found: pb.GetDeliveryMessageResponse) -> str:
    facts = {
        "RENDERED AGAIN FROM": _FROM[found.rendered_from].format(version=found.campaign_version),
        "TEMPLATE": found.chosen_locale,
        "FROM": found.sender or None,
        "SUBJECT": found.subject or None,
        "TITLE": found.title or None,
        "UNSUBSCRIBE URL": found.unsubscribe_url or None,
        "SEGMENTS": f"{found.sms_segments} ({found.sms_encoding})" if found.sms_segments else None,
    }
    bodies = {name: getattr(found, name).rstrip() for name in ("text", "html", "push_payload")}
    shown = [f"\n--- {name} ---\n{text}" for name, text in bodies.items() if text]
    return "\n".join([in_lines(facts), *shown])
