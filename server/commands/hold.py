"""`clarion hold`."""

from __future__ import annotations

import click

from clarion.admin.v1 import system_pb2 as pb

from .common import json_option, show_result
from .messages import as_data, moment
from .remote import Admin, admin_options

__all__ = ["hold"]


@click.command()
@click.option("--reason", default="", help="Why, for other operators.")
@json_option
@admin_options
def hold(*, admin: Admin, reason: str, as_json: bool) -> None:
    """Stop all dispatchers from sending, until `clarion release`.

    Neither messages nor webhook messages are sent. Those that are being sent at this moment end. Triggers are
    still accepted, and nothing expires. The hold is stored in the database: restarts do not end it.
    """
    held = admin.call("system", "HoldSending", pb.HoldSendingRequest(hold_reason=reason))
    show_result(as_data(held), _text(held), as_json=as_json)


def _text(held: pb.HoldSendingResponse) -> str:
    one = held.sending_hold
    why = f": {one.hold_reason}" if one.hold_reason else ""
    rest = f"; {held.sending} messages that are being sent now will end" if held.sending else ""
    since = f"sending is held since {moment(one.hold_time)} by {one.held_by}{why}"
    return f"{since}{rest}; `clarion release` ends the hold"
