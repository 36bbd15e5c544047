"""`clarion release`."""

from __future__ import annotations

import sys

import click

from clarion.admin.v1 import system_pb2 as pb

from .common import json_option, show_result
from .messages import as_data, moment
from .remote import Admin, admin_options

__all__ = ["release"]


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@admin_options
def release(*, admin: Admin, yes: bool, as_json: bool) -> None:
    """End a hold, so that dispatchers send again.

    Everything that is due is sent: first cancel what must not be (`clarion deliveries cancel`).
    """
    request = pb.ReleaseSendingRequest()
    if not yes and sys.stdin.isatty():
        found: pb.SystemStatus = admin.call("system", "GetSystemStatus", pb.GetSystemStatusRequest()).system
        request.etag = found.sending_hold.etag
        click.confirm(f"send {sum(one.due for one in found.queues)} due messages?", abort=True)
    released = admin.call("system", "ReleaseSending", request)
    show_result(as_data(released), _text(released), as_json=as_json)


def _text(released: pb.ReleaseSendingResponse) -> str:
    if not released.HasField("released_hold"):
        return "sending was not held"
    one = released.released_hold
    return f"sending is released; it was held since {moment(one.hold_time)} by {one.held_by}"
