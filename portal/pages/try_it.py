"""The API: its reference, and a form that sends a real trigger and shows the same call for curl."""

from __future__ import annotations

import shlex
import uuid
from dataclasses import replace

from google.api import httpbody_pb2
from starlette.responses import Response

from clarion.v1 import trigger_pb2 as pb

from ..errors import ApiError
from ..forms import Form
from ..visit import Page, Section, Visit

__all__ = ["PAGES", "SECTION"]

SECTION = Section("API", "/api")
_EXAMPLE = """{
  "user": {
    "external_id": "EXTERNAL_ID",
    "email": "test@test.com",
    "timezone": "America/Chicago",
    "locale": "en"
  },
  "event": {"random_field": "value"}
}"""


async def try_it(visit: Visit) -> Response:
    """Show the form, or send the trigger."""
    form = visit.form.start(campaign_id=visit.query("campaign_id"), body=_EXAMPLE)
    sent = await _send(visit, form) if form.is_sent else None
    return visit.page(
        "try_it.html",
        "API",
        sent=sent,
        origin=visit.origin,
        curl=_curl(visit.origin, form["campaign_id"] or "CAMPAIGN_ID", form["body"]),
        # Sending the same form twice, or reloading its answer, sends one trigger.
        idempotency_key=str(uuid.uuid4()) if sent or not form.is_sent else form["idempotency_key"],
        can_send=not visit.read_only,
    )


PAGES = (Page("/api", try_it, has_form=True),)


async def _send(visit: Visit, form: Form) -> pb.TriggerCampaignResponse | None:
    """Send the trigger with the API key in the form; note in the form what is wrong."""
    body = httpbody_pb2.HttpBody(content_type="application/json", data=form["body"].encode())
    request = pb.TriggerCampaignRequest(campaign_id=form["campaign_id"], body=body)
    caller = replace(visit.caller, secret=form["key"], idempotency_key=form["idempotency_key"])
    try:
        accepted: pb.TriggerCampaignResponse = await visit.call(request, caller)
    except ApiError as error:
        _note(form, error)
        return None
    return accepted


def _note(form: Form, error: ApiError) -> None:
    """Note an error of the trigger API beside the field that it is about."""
    if error.is_signed_out or error.reason == "SCOPE_MISSING":
        form.fail("key", str(error))
    elif error.reason.startswith("CAMPAIGN"):
        form.fail("campaign_id", str(error))
    for one in error.violations:
        about = one.field if one.field == "campaign_id" else "body"
        form.fail(about, "; ".join(_about(one.field, one.description) for one in error.violations))
    if not form.errors:
        form.fail("", str(error))


def _about(field: str, description: str) -> str:
    return f"{field}: {description}" if field else description


def _curl(origin: str, campaign_id: str, body: str) -> str:
    """Return the call for a shell. The key stays out of it."""
    path = f"{origin}/api/client/campaigns/{campaign_id}/trigger"
    return (
        f"curl -i {shlex.quote(path)} \\\n"
        '  -H "Authorization: Bearer $CLARION_API_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}"
    )
