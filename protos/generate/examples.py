"""What calls and answers look like. Tests hold every example against its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .reasons import Reason

__all__ = ["ANSWERS", "ASKED_FOR", "BODIES", "CAMPAIGNS", "EVENTS", "PARAMETERS", "error_body", "metadata_of"]

RPC = "type.googleapis.com/google.rpc"
TRIGGER_ID = "01a2060c-9761-7301-8fd1-e542347e86e5"
KEY_ID = "0d1f3c52-7a52-4e0c-9d44-0b6f6f0c8d11"
BATCH = [
    {"index": 0, "trigger_id": TRIGGER_ID},
    {
        "index": 1,
        "error": {
            "code": 5,
            "message": "There is no campaign 99.",
            "details": [
                {
                    "@type": f"{RPC}.ErrorInfo",
                    "reason": "CAMPAIGN_NOT_FOUND",
                    "domain": "clarion",
                    "metadata": {"campaign_id": "99"},
                }
            ],
        },
    },
]
CURSOR = "AAAAAAAAB_QBogYMl2FzAY_R5UI0foblAAAAAQ"
PARAMETERS = {
    "campaign_id": "44",
    "trigger_id": TRIGGER_ID,
    "key_id": KEY_ID,
    "page_size": 100,
    "request_id": "5f0c6f1e-0c1a-4b52-9d5d-2a1f0e9f7a11",
    "page_token": "44",
    "ListTriggersRequest.page_token": "AaIGDJdhcwGP0eVCNH6G5Xk0Uj3qvYcB",
    "external_id": "EXTERNAL_ID",
    "state": "DELIVERY_STATE_DEAD",
    "accepted_since": "2026-11-23T00:00:00Z",
    "accepted_before": "2026-11-24T00:00:00Z",
    "trigger_ids": [TRIGGER_ID],
    "cursor": CURSOR,
}
ASKED_FOR = {"DeliveryService_StreamTriggers": f"?trigger_ids={TRIGGER_ID}"}
"""Calls → the query of their example, if it has one."""
IN_CHICAGO = {"timezone": "America/Chicago", "locale": "en"}
EVENT = {"random_field": "value"}
BODIES: dict[str, dict[str, Any]] = {
    "email": {
        "user": {"external_id": "EXTERNAL_ID", "email": "test@test.com", **IN_CHICAGO},
        "event": EVENT,
    },
    "text": {
        "user": {"external_id": "EXTERNAL_ID", "phone": "+12345678900", **IN_CHICAGO},
        "event": EVENT,
    },
    "push": {
        "user": {"external_id": "EXTERNAL_ID", "device_token": "DEVICE_TOKEN", **IN_CHICAGO},
        "event": EVENT,
    },
}
BATCH_BODY = {
    "triggers": [
        {"campaign_id": 44, **BODIES["email"], "request_id": "5f0c6f1e-0c1a-4b52-9d5d-2a1f0e9f7a11"},
        {"campaign_id": 99, **BODIES["text"], "send_at": "2026-12-24T18:00:00+01:00"},
    ]
}
CAMPAIGNS = {"email": "44", "text": "45", "push": "46"}
"""The demo's campaign of each channel."""
CAMPAIGN = {
    "campaign_id": "44",
    "display_name": "Welcome by email",
    "channel": "CHANNEL_EMAIL",
    "state": "CAMPAIGN_STATE_ACTIVE",
    "provider": "sandbox",
    "locales": ["default", "es"],
}
KEY = {
    "key_id": KEY_ID,
    "display_name": "web shop",
    "scopes": ["trigger"],
    "campaign_ids": ["44"],
    "create_time": "2026-11-02T09:30:00Z",
}
DELIVERY = {
    "trigger_id": TRIGGER_ID,
    "campaign_id": "44",
    "channel": "CHANNEL_EMAIL",
    "external_id": "EXTERNAL_ID",
    "state": "DELIVERY_STATE_DELIVERED",
    "accept_time": "2026-11-23T01:36:58.210Z",
    "attempts": [
        {
            "number": 1,
            "provider": "sandbox",
            "outcome": "ATTEMPT_OUTCOME_DELIVERED",
            "start_time": "2026-11-23T01:36:58.217Z",
            "duration": "0.003500s",
            "provider_message_id": f"{TRIGGER_ID}.eml",
        }
    ],
}
EVENTS = f"""\
: heartbeat
retry: 1000
id: {CURSOR}

id: {CURSOR}
data: {json.dumps({"delivery": DELIVERY, "cursor": CURSOR}, separators=(",", ":"))}

event: end
data: {{"code":0,"message":"","details":[]}}

"""
ANSWERS: dict[str, dict[str, Any]] = {
    "BatchTriggerResponse": {"outcomes": BATCH},
    "GetCampaignResponse": {"campaign": CAMPAIGN},
    "GetDeliveryResponse": {"delivery": DELIVERY},
    "GetTriggerResponse": {"delivery": DELIVERY},
    "ListTriggersResponse": {
        "deliveries": [DELIVERY],
        "next_page_token": PARAMETERS["ListTriggersRequest.page_token"],
    },
    "ListApiKeysResponse": {"api_keys": [KEY]},
    "ListCampaignsResponse": {"campaigns": [CAMPAIGN], "next_page_token": "44"},
    "RevokeApiKeyResponse": {"api_key": {**KEY, "revoke_time": "2026-11-23T01:40:12Z"}},
}


@dataclass(frozen=True, slots=True)
class Error:
    """What an error of some reason says beside its code and reason."""

    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[tuple[str, str, str]] = ()
    """Field, description, ViolationReason."""
    wait: str = ""
    """The `retry_delay`, where the server gives one."""


ERRORS = {
    "INVALID_REQUEST": Error(
        "2 violations: user.email: is required, but missing or empty; user.nickname: is not a field of this "
        "call; put facts of your own under user.data",
        violations=(
            ("user.email", "is required, but missing or empty", "REQUIRED"),
            (
                "user.nickname",
                "is not a field of this call; put facts of your own under user.data",
                "UNKNOWN_FIELD",
            ),
        ),
    ),
    "TOO_LATE_TO_CANCEL": Error(
        "The trigger is delivered; it cannot be cancelled any more.",
        {"trigger_id": TRIGGER_ID, "state": "delivered"},
    ),
    "CAMPAIGN_PAUSED": Error(
        "Campaign 44 is paused.",
        {"campaign_id": "44"},
        (("campaign_id", "names a campaign that is paused", "CAMPAIGN_STATE"),),
    ),
    "IDEMPOTENCY_KEY_REUSED": Error(
        "The idempotency key was used for another trigger: use a new one for each.",
        {"trigger_id": TRIGGER_ID},
        (
            (
                "idempotency-key",
                "was used for a trigger with other content; send_at counts as content, too",
                "ALREADY_USED",
            ),
        ),
    ),
    "CREDENTIALS_MISSING": Error("No API key was sent: send the header `Authorization: Bearer sk_…`."),
    "CREDENTIALS_INVALID": Error(
        "The API key does not work: use `Authorization: Bearer sk_…` with a key that does."
    ),
    "SCOPE_MISSING": Error("The API key lacks the scope trigger.", {"scope": "trigger"}),
    "CAMPAIGN_FORBIDDEN": Error("The API key may not trigger campaign 44.", {"campaign_id": "44"}),
    "CAMPAIGN_NOT_FOUND": Error("There is no campaign 44.", {"campaign_id": "44"}),
    "DELIVERY_NOT_FOUND": Error(f"There is no trigger {TRIGGER_ID}.", {"trigger_id": TRIGGER_ID}),
    "KEY_NOT_FOUND": Error(f"There is no key {KEY_ID}.", {"key_id": KEY_ID}),
    "PATH_NOT_FOUND": Error("There is nothing at this path: /docs shows what there is."),
    "METHOD_NOT_ALLOWED": Error(
        "This path does not take this method: use one of those in the header `allow`."
    ),
    "CONTENT_TYPE_UNSUPPORTED": Error(
        "The body must be uncompressed JSON in UTF-8: send the header `Content-Type: application/json`."
    ),
    "BODY_TOO_LARGE": Error("The body is larger than 65536 bytes: send less."),
    "RATE_LIMITED": Error(
        "Too many calls: this API key is limited to 50 calls a second with a burst of 100; wait 1 s.",
        {"key_id": KEY_ID, "limit": "key"},
        wait="0.250s",
    ),
    "STORE_UNAVAILABLE": Error(
        "The database cannot be reached; nothing was accepted. Try again shortly.", wait="2s"
    ),
    "OVERLOADED": Error("Too many calls are waiting; nothing was accepted. Try again shortly.", wait="1s"),
    "SERVER_UNAVAILABLE": Error(
        "No server answered; a trigger may or may not have been accepted. "
        "Try again after the seconds in the header `retry-after`."
    ),
    "TIMED_OUT": Error("The answer took too long; the call may or may not have taken effect."),
    "HTTP_REFUSED": Error("The HTTP request is malformed: check its request line, path and headers."),
    "INTERNAL_FAULT": Error(
        "A fault in Clarion; it is logged.", {"request_id": "6f4b3c9e-2f0b-4c8e-8a55-4d9f5a9f0c51"}
    ),
    "METHOD_UNKNOWN": Error(
        "There is no such gRPC method: check the service and the method; reflection lists them."
    ),
    "REQUEST_TOO_SLOW": Error("The request arrived too slowly: send all of it at once."),
    "NOT_READY": Error("No server can take calls here now: send them elsewhere until this path answers 200."),
}


def error_body(reason: Reason) -> dict[str, Any]:
    """Return an error's body, a `google.rpc.Status` as JSON."""
    error = ERRORS[reason.name]
    info: dict[str, Any] = {"@type": f"{RPC}.ErrorInfo", "reason": reason.name, "domain": "clarion"}
    details = [{**info, "metadata": error.metadata} if error.metadata else info]
    if error.violations:
        names = ("field", "description", "reason")
        violations = [dict(zip(names, violation, strict=True)) for violation in error.violations]
        details.append({"@type": f"{RPC}.BadRequest", "field_violations": violations})
    if error.wait:
        details.append({"@type": f"{RPC}.RetryInfo", "retry_delay": error.wait})
    return {"code": reason.code, "message": error.message, "details": details}


def metadata_of(reason: Reason) -> list[str]:
    """Return the names of the facts in the `metadata` of the reason's ErrorInfo."""
    return list(ERRORS[reason.name].metadata)
