"""Webhook endpoints: list, create, change. Their messages are in `webhook_messages.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message
from starlette.responses import Response

from clarion.admin.v1 import webhook_pb2 as pb

from ..errors import PageNotFound
from ..visit import Page, Section, Visit
from .webhook_messages import MESSAGES_PAGES, endpoint_section

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Webhooks", "/webhooks")
_PAGE = 50
_EVENTS = (
    ("trigger.delivered", "trigger.delivered: a provider accepted the message"),
    ("trigger.dead", "trigger.dead: the message failed for good"),
    ("trigger.suppressed", "trigger.suppressed: the recipient is suppressed"),
    ("trigger.cancelled", "trigger.cancelled: an operator or a caller cancelled it"),
)
_OVERLAPS = (
    ("24", "24 hours"),
    ("0", "none: revoke the old secret at once"),
    ("168", "7 days"),
    ("720", "30 days"),
)
_ROTATED_MEANWHILE = (
    "The endpoint has changed since you opened this page. Check it, then send the form again."
)


@dataclass(frozen=True, slots=True)
class _Action:
    """A change of an endpoint that needs nothing but a confirmation.

    Attributes:
        request: Makes the request; by its type, the page knows the role.
        text: What it does.
        button: The button that does it.
        notice: What to show afterwards.
        leads_to: The page to show afterwards, below the endpoint's; None for the list.
    """

    request: type[Message]
    text: str
    button: str
    notice: str
    leads_to: str | None = ""


_ACTIONS: Mapping[str, _Action] = {
    "test": _Action(
        pb.TestWebhookRequest,
        "The endpoint receives one message of the type webhook.test.",
        "Send a test message",
        "A test message is on its way. Reload this page to see its attempt.",
        "/messages",
    ),
    "enable": _Action(
        pb.EnableWebhookRequest,
        "Events from now on are sent to the endpoint again, and messages that are still queued.",
        "Enable this endpoint",
        "The endpoint was enabled.",
    ),
    "disable": _Action(
        pb.DisableWebhookRequest,
        "Events that occur while the endpoint is disabled are not sent later. Queued messages stay queued.",
        "Disable this endpoint",
        "The endpoint was disabled.",
    ),
    "delete": _Action(
        pb.DeleteWebhookRequest,
        "The endpoint and its queued messages are deleted. This cannot be undone.",
        "Delete this endpoint",
        "The endpoint was deleted.",
        None,
    ),
}


async def list_webhooks(visit: Visit) -> Response:
    """List endpoints."""
    request = pb.ListWebhooksRequest(
        project=visit.query("project"), page_size=_PAGE, page_token=visit.query("page")
    )
    found: pb.ListWebhooksResponse = await visit.call(request)
    can_create = visit.can(pb.CreateWebhookRequest, visit.project)
    return visit.page("webhooks.html", "Webhooks", found=found, can_create=can_create)


async def new_webhook(visit: Visit) -> Response:
    """Create an endpoint and show its secret once, in the answer to the form."""
    visit.require(pb.CreateWebhookRequest)
    form = visit.form.start(project=visit.project, events=[event for event, _ in _EVENTS])
    if form.is_sent:
        if not form.all("events"):
            form.fail("events", "Choose at least one event.")
        else:
            with form.checked():
                request = pb.CreateWebhookRequest(
                    project=form["project"], url=form["url"], events=form.all("events")
                )
                made: pb.CreateWebhookResponse = await visit.call(request)
                return _secret(visit, "Endpoint created", made.webhook, made.secret)
    return visit.page("webhook_new.html", "New endpoint", crumbs=[SECTION], events=_EVENTS)


async def webhook(visit: Visit) -> Response:
    """Show an endpoint and change its events."""
    form = visit.form
    current = await _find(visit)
    if form.is_sent:
        visit.require(pb.UpdateWebhookRequest, current.project)
        if not form.all("events"):
            form.fail("events", "Choose at least one event, or disable the endpoint.")
        else:
            with form.checked():
                await visit.call(
                    pb.UpdateWebhookRequest(
                        webhook_id=current.webhook_id, events=form.all("events"), etag=form["etag"]
                    )
                )
                return visit.redirect(f"/webhooks/{current.webhook_id}", "The endpoint was changed.")
    form.start(events=list(current.events))
    return visit.page(
        "webhook.html",
        endpoint_section(current).title,
        crumbs=[SECTION],
        one=current,
        events=_EVENTS,
        can_change=visit.can(pb.UpdateWebhookRequest, current.project),
        can_test=visit.can(pb.TestWebhookRequest, current.project),
    )


async def rotate(visit: Visit) -> Response:
    """Replace the secret of an endpoint and show the new one once, in the answer to the form."""
    current = await _find(visit)
    visit.require(pb.RotateWebhookSecretRequest, current.project)
    form = visit.form.start(overlap=_OVERLAPS[0][0])
    if form.is_sent:
        if form["etag"] != current.etag:  # such as a form that was sent twice
            form.fail("", _ROTATED_MEANWHILE)
        elif form["overlap"] not in dict(_OVERLAPS):
            form.fail("overlap", "Choose one of these.")
        else:
            with form.checked():
                request = pb.RotateWebhookSecretRequest(webhook_id=current.webhook_id)
                request.overlap.FromSeconds(int(form["overlap"]) * 3600)
                made: pb.RotateWebhookSecretResponse = await visit.call(request)
                return _secret(visit, "Secret rotated", made.webhook, made.secret)
    crumbs = [SECTION, endpoint_section(current)]
    return visit.page("webhook_rotate.html", "Rotate secret", crumbs=crumbs, one=current, overlaps=_OVERLAPS)


async def change(visit: Visit) -> Response:
    """Test, enable, disable or delete an endpoint."""
    action = _ACTIONS.get(visit.path("action"))
    if action is None:
        raise PageNotFound
    current = await _find(visit)
    visit.require(action.request, current.project)
    here = f"/webhooks/{current.webhook_id}"
    if visit.form.is_sent:
        with visit.form.checked():
            build: Callable[..., Message] = action.request
            await visit.call(build(webhook_id=current.webhook_id))
            leads_to = SECTION.path if action.leads_to is None else here + action.leads_to
            return visit.redirect(leads_to, action.notice)
    text = f"{current.url} (project {current.project}). {action.text}"
    return visit.confirm(action.button, text, action.button, crumbs=[SECTION, endpoint_section(current)])


PAGES = (
    Page("/webhooks", list_webhooks),
    Page("/webhooks/new", new_webhook, has_form=True),
    Page("/webhooks/{webhook_id}", webhook, has_form=True),
    Page("/webhooks/{webhook_id}/rotate", rotate, has_form=True),
    *MESSAGES_PAGES,
    Page("/webhooks/{webhook_id}/{action}", change, has_form=True),
)


async def _find(visit: Visit) -> pb.Webhook:
    found: pb.GetWebhookResponse = await visit.call(pb.GetWebhookRequest(webhook_id=visit.path("webhook_id")))
    return found.webhook


def _secret(visit: Visit, title: str, made: pb.Webhook, secret: str) -> Response:
    return visit.page("webhook_secret.html", title, crumbs=[SECTION], one=made, secret=secret)
