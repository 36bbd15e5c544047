"""Members in the OpenAPI document: those that are always present, and what generators of clients need."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.message import Message

from clarion.v1 import api_key_pb2, campaign_pb2, delivery_pb2, trigger_pb2
from server.api import resources
from server.api.proto_messages import as_json, delivery_message
from server.api.status import to_status
from server.domain.campaign import Campaign, Channel, Template
from server.domain.delivery import Attempt, AttemptOutcome, Delivery, DeliveryState
from server.domain.key import ApiKey, Scope
from server.domain.limit import Limit
from server.domain.webhook import TEST, EventType
from server.errors import CampaignNotFound
from tests.kit.cases import each_case
from tests.kit.documented_schemas import DOCUMENT, validator

SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
NOW = dt.datetime(2026, 11, 28, tzinfo=dt.UTC)
ID = uuid.UUID("01a2060c-9761-7301-8fd1-e542347e86e5")
ATTEMPT = Attempt(1, "", AttemptOutcome.LOST, NOW, 0.0)
WAITING = Delivery(ID, 1, 44, Channel.EMAIL, "x", DeliveryState.PENDING, NOW, None, ())
CAMPAIGN = Campaign(1, 44, "a", Channel.EMAIL, ("smtp",), templates={"default": Template(text="x")})
KEY = ApiKey(ID, 1, "", frozenset({Scope.TRIGGER}), NOW)


def sent() -> list[Message]:
    """Return messages with as few members as the server sends."""
    waiting = delivery_message(WAITING)
    lost = delivery_message(replace(WAITING, attempts=(ATTEMPT,)))
    campaign = resources._campaign(CAMPAIGN)
    unlimited, limited = (resources._api_key(KEY, Limit(rate, 1)) for rate in (0, 0.5))
    accepted = trigger_pb2.BatchOutcome(index=0, trigger_id=str(ID))
    rejected = trigger_pb2.BatchOutcome(index=0, error=to_status(CampaignNotFound.of("1")))
    return [
        *(waiting, lost.attempts[0], campaign, unlimited, limited.rate_limit, accepted, rejected),
        trigger_pb2.BatchTriggerResponse(outcomes=[accepted]),
        delivery_pb2.GetTriggerResponse(delivery=waiting),
        delivery_pb2.GetDeliveryResponse(delivery=waiting),
        delivery_pb2.ListTriggersResponse(),
        delivery_pb2.WatchTriggersResponse(cursor="x"),
        campaign_pb2.GetCampaignResponse(campaign=campaign),
        campaign_pb2.ListCampaignsResponse(),
        api_key_pb2.ListApiKeysResponse(),
        api_key_pb2.RevokeApiKeyResponse(api_key=unlimited),
    ]


SENT: dict[str, list[dict[str, Any]]] = {}
for message in sent():
    SENT.setdefault(message.DESCRIPTOR.name, []).append(json.loads(as_json(message)))


@each_case("name", SENT)
def test_members_that_are_never_omitted_are_required(name: str) -> None:
    for shown in SENT[name]:
        validator(SCHEMAS[name]).validate(shown)
    assert set(SCHEMAS[name].get("required", [])) == set.intersection(*map(set, SENT[name]))


def test_every_response_is_checked() -> None:
    assert {name for name in SCHEMAS if name.endswith("Response")} <= set(SENT)


@pytest.mark.parametrize(
    ("schema", "member"), [("TriggerBody", "event"), ("BatchItem", "event"), ("TriggerUser", "data")]
)
def test_json_objects_are_open(schema: str, member: str) -> None:
    """Generators make a type without members of an object that does not say so."""
    assert SCHEMAS[schema]["properties"][member]["additionalProperties"] is True


def test_user_is_a_plain_object_for_generators() -> None:
    """Generators make a union of types of `anyOf`, and none of them has the members of the user."""
    assert not {"anyOf", "oneOf", "allOf"} & set(SCHEMAS["TriggerUser"])
    assert {"email", "phone", "device_token"} <= set(SCHEMAS["TriggerUser"]["properties"])


def test_webhooks_are_those_of_the_server() -> None:
    assert set(DOCUMENT["webhooks"]) == {*EventType, TEST}
    states = SCHEMAS["TriggerEventData"]["properties"]["state"]["enum"]
    assert {f"trigger.{state}" for state in states} == {*EventType}
    channels = SCHEMAS["TriggerEventData"]["properties"]["channel"]["enum"]
    assert set(channels) == {*Channel}
