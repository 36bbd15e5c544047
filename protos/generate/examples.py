"""What calls and answers look like. Tests hold every example against its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from .reasons import Reason

__all__ = ["ANSWERS", "ASKED_FOR", "BODIES", "CAMPAIGNS", "EVENTS", "PARAMETERS", "error_body"]

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


def error_body(reason: Reason) -> dict[str, Any]:
    """Return an error's body, a `google.rpc.Status` as JSON."""
    example = json_format.MessageToDict(reason.answer.example, preserving_proto_field_name=True)
    info: dict[str, Any] = {"@type": f"{RPC}.ErrorInfo", "reason": reason.name, "domain": "clarion"}
    details = [{**info, **_only(example, "metadata")}]
    if "violations" in example:
        details.append({"@type": f"{RPC}.BadRequest", "field_violations": example["violations"]})
    if "retry_delay" in example:
        details.append({"@type": f"{RPC}.RetryInfo", **_only(example, "retry_delay")})
    return {"code": reason.code, "message": example["message"], "details": details}


def _only(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: members[name]} if name in members else {}
