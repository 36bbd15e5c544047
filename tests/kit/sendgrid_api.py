"""SendGrid's v3 Mail Send API as documented, for `http_api`: it accepts nothing else."""

from __future__ import annotations

import re
import uuid

from server.channels.email_message import Email, message_id_for
from tests.kit.http_api import Reply, Request

__all__ = ["ADDRESS", "KEY", "MESSAGE_ID", "make_email", "refusal", "sendgrid"]

ADDRESS = "zoe.sommer@example.org"
SENDER = "Shöp <shop@example.com>"
KEY = "SG.open.sesame"
MESSAGE_ID = "14c5d75ce93.dfd.64b469"


def sendgrid(request: Request) -> Reply:
    """Answer as SendGrid does: credentials first, then the form of the message."""
    assert (request.method, request.target) == ("POST", "/v3/mail/send")
    if request.bearer() != KEY:
        return refusal(401, "The provided authorization grant is invalid, expired, or revoked")
    mail = request.json()
    (personalization,) = mail["personalizations"]
    (to,) = personalization["to"]
    assert isinstance(personalization["custom_args"], dict)
    assert isinstance(mail.get("custom_args", ""), str)  # as SendGrid publishes it
    if not re.fullmatch(r"[\x21-\x7e]+@[a-z0-9.-]+", to["email"]):
        return refusal(400, "Does not contain a valid address.", "personalizations.0.to.0.email")
    kinds = [part["type"] for part in mail["content"]]
    assert kinds in (["text/plain"], ["text/html"], ["text/plain", "text/html"])
    assert all(part["value"] for part in mail["content"])
    reserved = {
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
        "received",
        "content-type",
        "dkim-signature",
    }
    assert not reserved & {name.lower() for name in mail["headers"]}
    if mail.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
        return Reply(200, b"")
    return Reply(202, b"", {"X-Message-Id": MESSAGE_ID})


def refusal(status: int, message: str, field: str | None = None, **headers: str) -> Reply:
    """Make an error in the documented form."""
    fault = {"message": message, "field": field, "help": None}
    return Reply(
        status, {"errors": [fault]}, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def make_email(**changes: str) -> Email:
    trigger_id = uuid.uuid4()
    fields = {
        "sender": SENDER,
        "to": ADDRESS,
        "subject": "Grüße",
        "text": "Hallo\nZoë",
        "html": "<p>Hallo</p>",
        "list_id": "campaign-9.project-1.clarion.example.com",
    }
    return Email(trigger_id, message_id_for(trigger_id, SENDER), **fields | changes)
