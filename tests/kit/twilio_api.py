"""Twilio's Messages API as documented, for `http_api`: it accepts nothing else."""

from __future__ import annotations

import re
import uuid

from server.channels.text import Text
from tests.kit.http_api import Reply, Request

__all__ = [
    "ACCOUNT",
    "FROM",
    "KEY",
    "NUMBER",
    "SECRET",
    "SERVICE",
    "SID",
    "TOKEN",
    "failed",
    "make_text",
    "refusal",
    "twilio",
]

NUMBER = "+15551234567"
ACCOUNT = "AC" + "0123456789abcdef" * 2
KEY = "SK" + "0123456789abcdef" * 2
SERVICE = "MG" + "0123456789abcdef" * 2
SID = "SM" + "fedcba9876543210" * 2
TOKEN = "open-sesame:token"
SECRET = "open-sesame-secret"
FROM = "+12025550100"


def twilio(request: Request) -> Reply:
    """Answer as Twilio does: the account's token or an API key first, then the form."""
    assert (request.method, request.target) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    if request.basic() not in {(ACCOUNT, TOKEN), (KEY, SECRET)}:
        return refusal(401, 20003, "Authenticate")
    form = request.form()
    assert set(form) in ({"To", "Body", "From"}, {"To", "Body", "MessagingServiceSid"})
    if not re.fullmatch(r"\+[1-9]\d{6,14}", form["To"]):
        return refusal(400, 21211, f"The 'To' number {form['To']} is not a valid phone number.")
    if not form["Body"]:
        return refusal(400, 21602, "Message body is required.")
    if len(form["Body"]) > 1600:
        return refusal(400, 21617, "The concatenated message body exceeds the 1600 character limit")
    message = {"sid": SID, "status": "queued", "to": form["To"], "body": form["Body"], "num_segments": "1"}
    return Reply(201, message | {"error_code": None, "error_message": None})


def refusal(status: int, code: int, message: str = "No.", headers: dict[str, str] | None = None) -> Reply:
    """Make an error in the documented form."""
    more_info = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": message, "more_info": more_info, "status": status}
    return Reply(status, body, headers or {})


def failed(code: int | None) -> Reply:
    """Make an answer with a message that failed at once."""
    body = {"sid": SID, "status": "failed", "error_code": code, "error_message": "No."}
    return Reply(201, body)


def make_text(body: str = "Your code is 1234.", sender: str = "", to: str = NUMBER) -> Text:
    return Text(uuid.uuid4(), sender, to, body)
