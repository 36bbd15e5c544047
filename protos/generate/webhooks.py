"""The `webhooks` of the OpenAPI document: the messages that Clarion sends to a project's own URLs.

No proto describes them: PostgreSQL writes their bodies (`server/store/fragments.sql`). Tests check every body
that they see against these schemas.
"""

from __future__ import annotations

from typing import Any

from .described import Described
from .examples import TRIGGER_ID
from .schemas import Schema, Schemas, ref

__all__ = ["TAG", "add_webhooks"]

TAG = "Webhooks"
JSON = "application/json"
EVENT, DATA, TEST = "TriggerEvent", "TriggerEventData", "TestEvent"
MESSAGE_ID = "7f741447-e80d-459b-a695-1f9407cf595b"
TIME = "2026-11-25T18:05:52.245014Z"
STATES = {
    "delivered": "A provider accepted the message.",
    "dead": "The message was given up: the trigger is a dead letter.",
    "suppressed": "The message was not sent, because a provider had permanently refused the recipient.",
    "cancelled": "The caller or an operator cancelled the trigger.",
}
TEST_TYPE = "webhook.test"
ABOUT_TEST = "An operator ran `clarion webhooks test`."
HEADERS = {
    "webhook-id": ("The ID of the message, which is the same on each attempt.", MESSAGE_ID),
    "webhook-timestamp": ("The time of the attempt, in seconds since 1970.", "1795629953"),
    "webhook-signature": (
        "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; two of them while a secret rotates.",
        "v1,JrQu1iJjMKGbxJ4L/NmAPwqCOBjKXKgwyfpvQB6fqvU=",
    ),
}
TRACEPARENT = {
    "name": "traceparent",
    "in": "header",
    "required": False,
    "description": "The W3C trace context of the call that created the trigger, if it had one; "
    "of this post, whose span is linked to that call, if the call is recorded.",
    "schema": {"type": "string"},
    "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}
RESPONSES = {
    "2XX": "The message is delivered. The body is ignored.",
    "410": "The message is given up, and the endpoint is disabled.",
    "default": "The message is sent again later, up to 15 times in total. Redirects are not followed.",
}
DELIVERED = {
    "trigger_id": TRIGGER_ID,
    "campaign_id": 44,
    "channel": "email",
    "external_id": "EXTERNAL_ID",
    "state": "delivered",
    "attempts": 1,
    "provider": "smtp",
    "provider_message_id": "<m-1@mx.example>",
    "error": None,
    "test": False,
    "accepted_at": "2026-11-25T18:05:52.207402Z",
}


def add_webhooks(schemas: Schemas, described: Described) -> dict[str, Any]:
    """Add the schemas of the events to the components; return the `webhooks` by event type."""
    types = {f"trigger.{state}": about for state, about in STATES.items()}
    schemas.components |= {
        EVENT: _event("A trigger's delivery ended.", {"enum": [*types]}, ref(DATA)),
        DATA: _data(described),
        TEST: _event(ABOUT_TEST, {"enum": [TEST_TYPE]}, _test_data()),
    }
    delivered = {"type": "trigger.delivered", "timestamp": TIME, "data": DELIVERED}
    tested = {"type": TEST_TYPE, "timestamp": TIME, "data": {"webhook_id": MESSAGE_ID}}
    found = {name: _webhook(name, about, EVENT) for name, about in types.items()}
    found["trigger.delivered"]["post"]["requestBody"]["content"][JSON]["example"] = delivered
    found[TEST_TYPE] = _webhook(TEST_TYPE, ABOUT_TEST, TEST)
    found[TEST_TYPE]["post"]["requestBody"]["content"][JSON]["example"] = tested
    return found


def _webhook(name: str, about: str, schema: str) -> dict[str, Any]:
    operation = {
        "operationId": "".join(part.capitalize() for part in name.split(".")),
        "tags": [TAG],
        "summary": about,
        "description": "Signed as in [Standard Webhooks](https://www.standardwebhooks.com).",
        "security": [],
        "parameters": [*(_header(header, *texts) for header, texts in HEADERS.items()), TRACEPARENT],
        "requestBody": {"required": True, "content": {JSON: {"schema": ref(schema)}}},
        "responses": {status: {"description": text} for status, text in RESPONSES.items()},
    }
    return {"post": operation}


def _header(name: str, about: str, example: str) -> dict[str, Any]:
    shown = {"description": about, "schema": {"type": "string"}, "example": example}
    return {"name": name, "in": "header", "required": True, **shown}


def _event(about: str, types: Schema, data: Schema) -> Schema:
    members = {
        "type": {"type": "string", **types, "description": "The type of the event."},
        "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
        "data": data,
    }
    return _object(f"{about} More members may be added.", members)


def _data(described: Described) -> Schema:
    channels = [value.name.removeprefix("CHANNEL_").lower() for value in described.enum("Channel").values]
    text, time = {"type": "string"}, {"type": "string", "format": "date-time"}
    or_null = {"type": ["string", "null"]}
    members: dict[str, Schema] = {
        "trigger_id": {**text, "format": "uuid", "description": "The trigger's UUID."},
        "campaign_id": {"type": "integer", "minimum": 1, "description": "The campaign that was triggered."},
        "channel": {**text, "enum": channels[1:], "description": "The campaign's channel."},
        "external_id": {**text, "description": "The caller's own ID for the user."},
        "state": {**text, "enum": [*STATES], "description": "The new state of the delivery."},
        "attempts": {"type": "integer", "minimum": 0, "description": "The number of the last attempt."},
        "provider": {**or_null, "description": "The provider of the last attempt."},
        "provider_message_id": {**or_null, "description": "The provider's ID of the message."},
        "error": {**or_null, "description": "What went wrong, without the recipient's address."},
        "test": {"type": "boolean", "description": "Whether a test key triggered it; nothing was sent."},
        "accepted_at": {**time, "description": "When the trigger was accepted."},
    }
    return _object("What happened to the trigger. It has neither the address nor the `event`.", members)


def _test_data() -> Schema:
    webhook_id = {"type": "string", "format": "uuid", "description": "The ID of the endpoint."}
    return _object("The endpoint.", {"webhook_id": webhook_id})


def _object(about: str, members: dict[str, Schema]) -> Schema:
    return {"type": "object", "description": about, "properties": members, "required": [*members]}
