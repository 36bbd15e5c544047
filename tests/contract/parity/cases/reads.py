"""The calls that read and revoke: requests, and the response expected from every protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from google.protobuf.message import Message

from clarion.v1 import api_key_pb2, campaign_pb2, delivery_pb2
from tests.contract.conftest import OTHERS_CAMPAIGN, PAUSED_CAMPAIGN

__all__ = ["NAMES", "READS", "SCOPES", "SERVICES", "UNKNOWN_ID", "Read"]

UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
FORMAT, RANGE = "INVALID_FORMAT", "OUT_OF_RANGE"


@dataclass(frozen=True)
class Read:
    """A read and its expected error; without a reason it succeeds."""

    name: str
    method: str
    values: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    key: str = "reads"

    @property
    def message(self) -> Message:
        made: Message = getattr(MODULES[self.method], f"{self.method}Request")(**self.values)
        return made

    @property
    def reply(self) -> type[Message]:
        kind: type[Message] = getattr(MODULES[self.method], f"{self.method}Response")
        return kind

    @property
    def grpc_path(self) -> str:
        return f"/clarion.v1.{SERVICES[self.method]}/{self.method}"

    @property
    def rest(self) -> tuple[str, str, dict[str, str]]:
        """The HTTP method, the path and the query."""
        verb, template = REST[self.method]
        in_path = {name: quote(str(one), safe="") for name, one in self.values.items() if name in template}
        query = {name: str(one) for name, one in self.values.items() if name not in template}
        return verb, "/api/client/" + template.format(**in_path), query


SERVICES = {
    "GetDelivery": "DeliveryService",
    "GetTrigger": "DeliveryService",
    "ListTriggers": "DeliveryService",
    "GetCampaign": "CampaignService",
    "ListCampaigns": "CampaignService",
    "ListApiKeys": "ApiKeyService",
    "RevokeApiKey": "ApiKeyService",
}
MODULES: dict[str, Any] = {
    "GetDelivery": delivery_pb2,
    "GetTrigger": delivery_pb2,
    "ListTriggers": delivery_pb2,
    "GetCampaign": campaign_pb2,
    "ListCampaigns": campaign_pb2,
    "ListApiKeys": api_key_pb2,
    "RevokeApiKey": api_key_pb2,
}
REST = {
    "GetDelivery": ("GET", "deliveries/{trigger_id}"),
    "GetTrigger": ("GET", "triggers/{trigger_id}"),
    "ListTriggers": ("GET", "triggers"),
    "GetCampaign": ("GET", "campaigns/{campaign_id}"),
    "ListCampaigns": ("GET", "campaigns"),
    "ListApiKeys": ("GET", "keys"),
    "RevokeApiKey": ("DELETE", "keys/{key_id}"),
}
SCOPES = {
    "GetDelivery": "deliveries.read",
    "GetTrigger": "deliveries.read",
    "ListTriggers": "deliveries.read",
    "GetCampaign": "campaigns.read",
    "ListCampaigns": "campaigns.read",
    "ListApiKeys": "keys.manage",
    "RevokeApiKey": "keys.manage",
}
NAMES = {
    "GetDelivery": "trigger_id",
    "GetTrigger": "trigger_id",
    "GetCampaign": "campaign_id",
    "RevokeApiKey": "key_id",
}
NO_UUIDS = [
    *(
        "x",
        "44",
        "null",
        "{}",
        UNKNOWN_ID[:-1],
        UNKNOWN_ID + "0",
        f"{{{UNKNOWN_ID}}}",
        f"urn:uuid:{UNKNOWN_ID}",
    ),
    *(
        UNKNOWN_ID.replace("-", ""),
        UNKNOWN_ID[:-1] + "g",
        f" {UNKNOWN_ID}",
        f"{UNKNOWN_ID}\n",
        "٤" * 36,
        "0" * 5000,
    ),
]
NO_NUMBERS = [*("0", "-1", "+1", "01", "1.0", "1e3", "abc", "٤٤", " 44", "44 ", "1" * 20, "0x2C", "%34%34")]


def unknown(method: str, reason: str, *values: str) -> list[Read]:
    name = NAMES[method]
    return [Read(f"{method} of {one}", method, {name: one}, reason) for one in values]


def not_ids(method: str, values: list[str], reason: str = FORMAT) -> list[Read]:
    name = NAMES[method]
    return [
        Read(f"{method} of {one[:48]!r}", method, {name: one}, "INVALID_REQUEST", ((name, reason),))
        for one in values
    ]


def sizes(kind: str, reason: str, *values: int) -> list[Read]:
    fields = (("page_size", reason),) if reason else ()
    refusal = "INVALID_REQUEST" if reason else ""
    return [
        Read(f"{kind} page size {one}", "ListCampaigns", {"page_size": one}, refusal, fields)
        for one in values
    ]


def tokens(*values: str) -> list[Read]:
    wrong = (("page_token", FORMAT),)
    return [
        Read(f"page token {one[:24]!r}", "ListCampaigns", {"page_token": one}, "INVALID_REQUEST", wrong)
        for one in values
    ]


def listed(name: str, *wrong: tuple[str, str], **values: Any) -> Read:
    """Return a list of triggers."""
    return Read(f"triggers: {name}", "ListTriggers", values, "INVALID_REQUEST" if wrong else "", wrong)


def by_keys() -> list[Read]:
    """Return each call with each kind of key that may not make it."""
    kinds = dict.fromkeys(("expired", "revoked", "unknown"), "CREDENTIALS_INVALID")
    kinds["held_to_45"] = "SCOPE_MISSING"
    return [
        Read(
            f"{method} by a key that is {kind}",
            method,
            {NAMES[method]: wrong} if wrong else {},
            reason,
            key=kind,
        )
        for method in SERVICES
        for kind, reason in kinds.items()
        for wrong in ([UNKNOWN_ID, "wrong"] if method in NAMES else [""])
    ]


READS = [
    *not_ids("GetDelivery", NO_UUIDS),
    *unknown("GetDelivery", "DELIVERY_NOT_FOUND", UNKNOWN_ID, "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    *not_ids("GetTrigger", NO_UUIDS),
    *unknown("GetTrigger", "DELIVERY_NOT_FOUND", UNKNOWN_ID, "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    *(listed(f"campaign {one[:24]!r}", ("campaign_id", "WRONG_TYPE"), campaign_id=one) for one in NO_NUMBERS),
    *(listed(f"page size {one}", ("page_size", RANGE), page_size=one) for one in (-1, 501, 2**31 - 1)),
    *(
        listed(f"token {one[:24]!r}", ("page_token", FORMAT), page_token=one)
        for one in ("x", "44", "A" * 31, "A" * 32, "A" * 33, "=" * 32, "é" * 32, "A" * 5000)
    ),
    listed("a long user", ("external_id", RANGE), external_id="x" * 256),
    listed("a user of two lines", ("external_id", FORMAT), external_id="x\n"),
    listed(
        "all wrong",
        ("campaign_id", "WRONG_TYPE"),
        ("external_id", RANGE),
        ("page_size", RANGE),
        ("page_token", FORMAT),
        campaign_id="x",
        external_id="x" * 256,
        page_size=501,
        page_token="x",
    ),
    listed("of an unknown user", external_id="unknown"),
    listed("of a user with blanks", external_id="a b+c"),
    listed("of no campaign", campaign_id=str(2**63 - 1)),
    listed("of a campaign past all numbers", ("campaign_id", "WRONG_TYPE"), campaign_id=str(2**63)),
    listed("another project's campaign", campaign_id=str(OTHERS_CAMPAIGN)),
    listed("cancelled ones of an unknown user", external_id="unknown", state="DELIVERY_STATE_CANCELLED"),
    listed("pending ones of an unknown user", external_id="unknown", state="DELIVERY_STATE_PENDING"),
    *not_ids("GetCampaign", NO_NUMBERS, "WRONG_TYPE"),
    *unknown(
        "GetCampaign", "CAMPAIGN_NOT_FOUND", "1", "999", str(OTHERS_CAMPAIGN), str(2**63 - 1), str(2**63)
    ),
    *not_ids("RevokeApiKey", NO_UUIDS),
    *unknown("RevokeApiKey", "KEY_NOT_FOUND", UNKNOWN_ID, UNKNOWN_ID.replace("0", "f")),
    *sizes("a wrong", RANGE, -1, -(2**31), 1001, 2**31 - 1),
    *sizes("a good", "", 0, 1, 2, 3, 1000),
    *tokens("x", "0", "01", "-1", "1.0", " 1", "44 ", "9" * 19, "٤٤", "1" * 5000, "a" * 5000, "'", "\n"),
    Read(
        "both wrong",
        "ListCampaigns",
        {"page_size": 5000, "page_token": "x"},
        "INVALID_REQUEST",
        (("page_size", RANGE), ("page_token", FORMAT)),
    ),
    Read("a token past the end", "ListCampaigns", {"page_token": "9" * 18}),
    Read("a token in the middle", "ListCampaigns", {"page_token": "44"}),
    Read("an empty token", "ListCampaigns", {"page_token": ""}),
    Read("all campaigns", "ListCampaigns"),
    Read("another project's campaigns", "ListCampaigns", reason="SCOPE_MISSING", key="of_another_project"),
    Read("a campaign", "GetCampaign", {"campaign_id": "44"}),
    Read("a paused campaign", "GetCampaign", {"campaign_id": str(PAUSED_CAMPAIGN)}),
    Read("all keys", "ListApiKeys"),
    *by_keys(),
]
