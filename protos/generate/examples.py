"""Examples of requests, responses and errors. Tests check every example against its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from clarion.v1 import api_key_pb2, delivery_pb2, trigger_pb2

from .described import example_of, examples_of
from .reasons import Reason

__all__ = [
    "BATCH_BODY",
    "BODIES",
    "DEMO_CAMPAIGNS",
    "EVENTS",
    "QUERIES",
    "RESPONSES",
    "TRIGGER_ID",
    "error_body",
]

RPC = "type.googleapis.com/google.rpc"
DEMO = Path(__file__).parents[2] / "server/up/demo/campaigns.yaml"


def _example(message: Any, field: str) -> Any:
    return example_of(message.fields_by_name[field])


def _bodies() -> dict[str, dict[str, Any]]:
    """Return an example of the trigger call's body by channel; fields that channels share are alike."""
    item: Any = trigger_pb2.BatchItem.DESCRIPTOR
    channels = item.oneofs_by_name["trigger"].fields
    requests = {channel.name: channel.message_type for channel in channels}
    users = {name: request.fields_by_name["user"].message_type for name, request in requests.items()}
    request_members: dict[str, Any] = {}
    user_members: dict[str, Any] = {}
    for name, request in requests.items():
        request_members = examples_of(request) | request_members
        user_members = examples_of(users[name]) | user_members
    del request_members["request_id"]  # a header over REST
    return {
        name: {
            "user": {one.name: user_members[one.name] for one in user.fields if one.name in user_members},
            **request_members,
        }
        for name, user in users.items()
    }


def _demo_campaigns() -> dict[str, str]:
    """Return the ID of the demo's first campaign of each channel."""
    campaigns = yaml.safe_load(DEMO.read_text(encoding="utf-8"))["campaigns"]
    return {one["channel"]: str(one["id"]) for one in reversed(campaigns)}


TRIGGER_ID: str = _example(delivery_pb2.GetTriggerRequest.DESCRIPTOR, "trigger_id")
KEY_ID: str = _example(api_key_pb2.RevokeApiKeyRequest.DESCRIPTOR, "key_id")
CURSOR: str = _example(delivery_pb2.WatchTriggersRequest.DESCRIPTOR, "cursor")
PAGE_TOKEN: str = _example(delivery_pb2.ListTriggersRequest.DESCRIPTOR, "page_token")
REQUEST_ID: str = _example(trigger_pb2.TriggerEmailRequest.DESCRIPTOR, "request_id")
BODIES = _bodies()
"""Channel → an example of the trigger call's body."""
DEMO_CAMPAIGNS = _demo_campaigns()
"""Channel → the ID of a campaign of the demo."""
QUERIES = {"DeliveryService_StreamTriggers": f"?trigger_ids={TRIGGER_ID}"}
"""Operations whose curl example needs a query → the query."""
BATCH_BODY = {
    "triggers": [
        {"campaign_id": 44, **BODIES["email"], "request_id": REQUEST_ID},
        {"campaign_id": 99, **BODIES["text"]},
    ]
}
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
CAMPAIGN = {
    "campaign_id": 44,
    "display_name": "Welcome by email",
    "channel": "email",
    "state": "active",
    "provider": "sandbox",
    "locales": ["default", "es"],
    "providers": ["sandbox", "backup"],
}
KEY = {
    "key_id": KEY_ID,
    "display_name": "web shop",
    "scopes": ["trigger"],
    "campaign_ids": [44],
    "create_time": "2026-11-02T09:30:00Z",
}
DELIVERY = {
    "trigger_id": TRIGGER_ID,
    "campaign_id": 44,
    "channel": "email",
    "external_id": "EXTERNAL_ID",
    "state": "delivered",
    "accept_time": "2026-11-23T01:36:58.210Z",
    "attempts": [
        {
            "number": 1,
            "provider": "sandbox",
            "outcome": "delivered",
            "start_time": "2026-11-23T01:36:58.217Z",
            "duration": "0.003500s",
            "provider_message_id": f"{TRIGGER_ID}.eml",
            "reached_provider": True,
        }
    ],
}
EVENTS = f"""\
event: heartbeat
retry: 1000
id: {CURSOR}
data: {{"cursor":"{CURSOR}"}}

id: {CURSOR}
data: {json.dumps({"delivery": DELIVERY, "cursor": CURSOR}, separators=(",", ":"))}

event: end
id: end
data: {{"code":0,"message":"","details":[]}}

"""
RESPONSES: dict[str, dict[str, Any]] = {
    "BatchTriggerResponse": {"outcomes": BATCH},
    "GetCampaignResponse": {"campaign": CAMPAIGN},
    "GetDeliveryResponse": {"delivery": DELIVERY},
    "GetTriggerResponse": {"delivery": DELIVERY},
    "ListTriggersResponse": {
        "deliveries": [DELIVERY],
        "next_page_token": PAGE_TOKEN,
    },
    "ListApiKeysResponse": {"api_keys": [KEY]},
    "ListCampaignsResponse": {"campaigns": [CAMPAIGN], "next_page_token": "44"},
    "RevokeApiKeyResponse": {"api_key": {**KEY, "revoke_time": "2026-11-23T01:40:12Z"}},
}


def error_body(reason: Reason) -> dict[str, Any]:
    """Return an error's body, a `google.rpc.Status` as JSON."""
    example = json_format.MessageToDict(reason.answer.example, preserving_proto_field_name=True)
    info: dict[str, Any] = {"@type": f"{RPC}.ErrorInfo", "reason": reason.name, "domain": "clarion"}
    if "metadata" in example:
        info["metadata"] = dict(sorted(example["metadata"].items()))  # a proto map has no order
    details = [info]
    if "violations" in example:
        details.append({"@type": f"{RPC}.BadRequest", "field_violations": example["violations"]})
    if "retry_delay" in example:
        details.append({"@type": f"{RPC}.RetryInfo", "retry_delay": example["retry_delay"]})
    return {"code": reason.code, "message": example["message"], "details": details}
