"""Messages to a webhook endpoint: the log, retries and replays."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response

from clarion.admin.v1 import webhook_pb2 as pb

from ..bulk import until_done
from ..moments import NOT_A_TIME, parse_moment, read_moment
from ..numbers import whole_number
from ..visit import Page, Section, Visit

__all__ = ["MESSAGES_PAGES", "endpoint_section"]

_PAGE = 50


async def list_messages(visit: Visit) -> Response:
    """List the messages to an endpoint with their attempts, newest first."""
    endpoint = await _find(visit)
    failed = visit.query("failed") == "yes"
    request = pb.ListWebhookMessagesRequest(
        webhook_id=endpoint.webhook_id, failed=failed, page_size=_PAGE, page_token=visit.query("page")
    )
    found: pb.ListWebhookMessagesResponse = await visit.call(request)
    is_active = endpoint.state == "active"
    return visit.page(
        "webhook_messages.html",
        "Messages",
        crumbs=_crumbs(endpoint),
        one=endpoint,
        found=found,
        failed=failed,
        can_retry=is_active and visit.can(pb.RetryWebhookMessagesRequest, endpoint.project),
    )


async def retry(visit: Visit) -> Response:
    """Retry one failed message, or all of an endpoint."""
    endpoint = await _find(visit)
    visit.require(pb.RetryWebhookMessagesRequest, endpoint.project)
    form = visit.form.start(message_id=visit.query("message_id"))
    request = pb.RetryWebhookMessagesRequest()
    if form["message_id"]:
        request.message_ids.append(form["message_id"])
    else:
        request.webhook_id = endpoint.webhook_id
    total, done = whole_number(form["total"]) or 0, False
    if form.is_sent:
        with form.checked():
            if form["until"]:
                request.until.CopyFrom(read_moment(form["until"]))

            async def step() -> bool:
                nonlocal total
                part: pb.RetryWebhookMessagesResponse = await visit.call(request)
                total += part.retried
                request.until.CopyFrom(part.until)
                form.put("until", part.until.ToJsonString())
                return bool(part.done)

            done = await until_done(step)
    if done:
        return visit.redirect(f"/webhooks/{endpoint.webhook_id}/messages", _due(total))
    return visit.page(
        "webhook_retry.html", "Retry", crumbs=_crumbs(endpoint, messages=True), one=endpoint, total=total
    )


async def replay(visit: Visit) -> Response:
    """Send all messages of an endpoint since a time again: choose the time, confirm, continue."""
    endpoint = await _find(visit)
    visit.require(pb.ReplayWebhookMessagesRequest, endpoint.project)
    form = visit.form
    total, done, since = whole_number(form["total"]) or 0, False, None
    if form.is_sent:
        since = _since(visit)
    if since and form.is_checked("confirmed"):
        with form.checked():
            request = pb.ReplayWebhookMessagesRequest(
                webhook_id=endpoint.webhook_id, since=since, after=form["after"]
            )

            async def step() -> bool:
                nonlocal total
                part: pb.ReplayWebhookMessagesResponse = await visit.call(request)
                total += part.replayed
                request.after = part.after
                form.put("after", part.after)
                return bool(part.done)

            done = await until_done(step)
    if done:
        return visit.redirect(f"/webhooks/{endpoint.webhook_id}/messages", _due(total))
    return visit.page(
        "webhook_replay.html",
        "Replay messages",
        crumbs=_crumbs(endpoint, messages=True),
        one=endpoint,
        since=since,
        total=total,
    )


MESSAGES_PAGES = (
    Page("/webhooks/{webhook_id}/messages", list_messages),
    Page("/webhooks/{webhook_id}/retry", retry, has_form=True),
    Page("/webhooks/{webhook_id}/replay", replay, has_form=True),
)


async def _find(visit: Visit) -> pb.Webhook:
    found: pb.GetWebhookResponse = await visit.call(pb.GetWebhookRequest(webhook_id=visit.path("webhook_id")))
    return found.webhook


def endpoint_section(endpoint: pb.Webhook) -> Section:
    """Return the page of an endpoint, which is named by its URL."""
    return Section(f"Endpoint {endpoint.url}", f"/webhooks/{endpoint.webhook_id}")


def _crumbs(endpoint: pb.Webhook, *, messages: bool = False) -> list[Section]:
    here = f"/webhooks/{endpoint.webhook_id}"
    above = [Section("Webhooks", "/webhooks"), endpoint_section(endpoint)]
    return [*above, Section("Messages", f"{here}/messages")] if messages else above


def _since(visit: Visit) -> Timestamp | None:
    """Return the time in the form; None if it is invalid, which is noted in the form."""
    try:
        return parse_moment(visit.form["since"])
    except ValueError:
        visit.form.fail("since", NOT_A_TIME)
        return None


def _due(number: int) -> str:
    if not number:
        return "Nothing was sent again: no message matches."
    return f"{number:,} {'message is' if number == 1 else 'messages are'} due now."
