"""The API: its reference, and a form that sends a real trigger and shows the same call for curl."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from google.api import httpbody_pb2
from starlette.responses import Response

from clarion.admin.v1 import api_key_pb2
from clarion.v1 import trigger_pb2 as pb

from ..curl import trigger_call
from ..errors import ApiError
from ..examples import active_campaigns, example_body
from ..forms import Form
from ..visit import Page, Section, Visit

__all__ = ["PAGES", "SECTION"]

SECTION = Section("API", "/api")
_KEY_LIFETIME = dt.timedelta(minutes=10)
_KEY_TRIES, _KEY_PAUSE = 30, 0.1
"""Servers know a new key within a second."""
_KEY = re.compile("[!-~]{1,100}")
"""What a header may hold. Whether it is a key, the servers decide."""
_CAMPAIGN_ID = re.compile("[0-9]{1,18}")


async def try_it(visit: Visit) -> Response:
    """Show the form, or send the trigger."""
    campaigns = await active_campaigns(visit, visit.project)
    number = visit.query("campaign_id")
    chosen = next((one for one in campaigns if number in ("", str(one.campaign_id))), None)
    form = visit.form.start(
        project=visit.project or (chosen.project if chosen else ""),
        campaign_id=number or (chosen.campaign_id if chosen else ""),
        body=example_body(chosen),
    )
    sent = await _send(visit, form) if form.is_sent else None
    return visit.page(
        "try_it.html",
        "API",
        sent=sent,
        origin=visit.origin,
        curl=trigger_call(visit.origin, form["campaign_id"] or "CAMPAIGN_ID", form["body"]),
        # Sending the same form twice, or reloading its answer, sends one trigger.
        idempotency_key=str(uuid.uuid4()) if sent or not form.is_sent else form["idempotency_key"],
        campaigns=campaigns,
        can_send=not visit.read_only,
        can_create_key=visit.can(api_key_pb2.CreateApiKeyRequest),
    )


PAGES = (Page("/api", try_it, has_form=True),)


async def _send(visit: Visit, form: Form) -> pb.TriggerCampaignResponse | None:
    """Send the trigger with the API key in the form, or with one made for it; note in it what is wrong."""
    try:
        if form["key"] and not _KEY.fullmatch(form["key"]):
            form.fail("key", "Enter the whole API key: it begins with sk_.")
            return None
        if form["key"]:
            return await _trigger(visit, form, form["key"])
        if not visit.can(api_key_pb2.CreateApiKeyRequest, form["project"]):
            form.fail("key", "Enter an API key.")
            return None
        if not _CAMPAIGN_ID.fullmatch(form["campaign_id"]):
            form.fail("campaign_id", "Enter the ID of a campaign, such as 44.")
            return None
        async with _one_off_key(visit, form) as secret:
            return await _trigger(visit, form, secret, tries=_KEY_TRIES)
    except ApiError as error:
        _note(form, error)
        return None


async def _trigger(visit: Visit, form: Form, secret: str, tries: int = 1) -> pb.TriggerCampaignResponse:
    """Send the trigger; a key that is not known yet is tried again.

    Raises:
        ApiError: The trigger was not accepted.
    """
    body = httpbody_pb2.HttpBody(content_type="application/json", data=form["body"].encode())
    request = pb.TriggerCampaignRequest(campaign_id=form["campaign_id"], body=body)
    caller = replace(visit.caller, secret=secret, idempotency_key=_idempotency_key(form))
    while True:
        tries -= 1
        try:
            accepted: pb.TriggerCampaignResponse = await visit.call(request, caller)
        except ApiError as error:
            if not (error.is_signed_out and tries):
                raise
            await asyncio.sleep(_KEY_PAUSE)
        else:
            return accepted


def _idempotency_key(form: Form) -> str:
    """Return the key that the page put into the form, or a new one if that is not what was sent."""
    try:
        return str(uuid.UUID(form["idempotency_key"]))
    except ValueError:
        return str(uuid.uuid4())


@asynccontextmanager
async def _one_off_key(visit: Visit, form: Form) -> AsyncIterator[str]:
    """Create an API key for this campaign, and revoke it after the block. It expires even if that fails."""
    request = api_key_pb2.CreateApiKeyRequest(
        project=form["project"],
        display_name="test trigger from the portal",
        scopes=["trigger"],
        campaign_ids=[int(form["campaign_id"])],
    )
    request.expire_time.FromDatetime(dt.datetime.now(dt.UTC) + _KEY_LIFETIME)
    made: api_key_pb2.CreateApiKeyResponse = await visit.call(request)
    try:
        yield made.secret
    finally:
        await visit.call(api_key_pb2.RevokeApiKeyRequest(key_id=made.api_key.key_id))


def _note(form: Form, error: ApiError) -> None:
    """Note an error of the trigger API next to the field that it is about."""
    if error.is_signed_out and not form["key"]:
        raise error  # the session has ended
    if error.is_signed_out or error.reason == "SCOPE_MISSING":
        form.fail("key", str(error))
    elif error.reason.startswith("CAMPAIGN"):
        form.fail("campaign_id", str(error))
    for one in error.violations:
        about = one.field if one.field in ("campaign_id", "project") else "body"
        form.fail(about, "; ".join(_about(one.field, one.description) for one in error.violations))
    if not form.errors:
        form.fail("", str(error))


def _about(field: str, description: str) -> str:
    return f"{field}: {description}" if field else description
