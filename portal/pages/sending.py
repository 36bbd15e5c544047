"""Holds and releases all sending; the providers' page and the banner of a hold lead here."""

from __future__ import annotations

from starlette.responses import Response

from clarion.admin.v1 import system_pb2 as pb

from ..visit import Page, Visit
from .providers import SECTION

__all__ = ["PAGES"]


async def sending(visit: Visit) -> Response:
    """Show whether sending is held, and hold or release it."""
    form = visit.form
    held = visit.who.sending_hold if visit.who.HasField("sending_hold") else None
    may = visit.has_role_everywhere("operator") and not visit.read_only
    if form.is_sent:
        visit.require(pb.HoldSendingRequest)
        with form.checked():
            if form["change"] == "release":
                await visit.call(pb.ReleaseSendingRequest(etag=form["etag"]))
                return visit.redirect("/sending", "Sending is released.")
            if form["change"] == "hold":
                await visit.call(pb.HoldSendingRequest(hold_reason=form["hold_reason"]))
                return visit.redirect("/sending", "Sending is held.")
    status = None
    if held and visit.has_role_everywhere("viewer"):
        status = (await visit.call(pb.GetSystemStatusRequest())).system
    return visit.page("sending.html", "Sending", crumbs=[SECTION], held=held, may=may, status=status)


PAGES = (Page("/sending", sending, has_form=True),)
