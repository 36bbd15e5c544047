"""Calls with the client that openapi-python-client generates."""

from __future__ import annotations

import json
import os

from generated import AuthenticatedClient
from generated.api.delivery_service import delivery_service_get_trigger as get
from generated.api.trigger_service import trigger_service_batch_trigger_campaigns as batch
from generated.api.trigger_service import trigger_service_trigger_campaign as trigger
from generated.models import (
    BadRequest,
    BatchBody,
    BatchItem,
    BatchTriggerResponse,
    GetTriggerResponse,
    Status,
    TriggerBody,
    TriggerBodyEvent,
    TriggerUser,
    TriggerUserData,
)

client = AuthenticatedClient(os.environ["CLARION_TARGET"], token=os.environ["CLARION_API_KEY"])
data = TriggerUserData.from_dict({"name": "Ada", "tags": ["one", 2]})
user = TriggerUser(external_id="u-1", email="ada@example.com", data=data)
event = TriggerBodyEvent.from_dict({"order": {"id": 7}, "items": [None, True]})

accepted = trigger.sync_detailed("44", client=client, body=TriggerBody(user=user, event=event))
trigger_id = accepted.headers["x-trigger-id"]

read = get.sync(trigger_id, client=client)
assert isinstance(read, GetTriggerResponse)

rejected = trigger.sync("44", client=client, body=TriggerBody(user=TriggerUser(external_id="u-1")))
assert isinstance(rejected, Status)
bad = [detail for detail in rejected.details if isinstance(detail, BadRequest)]

items = [BatchItem(campaign_id=44, user=user)]
outcomes = batch.sync(client=client, body=BatchBody(triggers=items))
assert isinstance(outcomes, BatchTriggerResponse)

shown = {
    "trigger_id": trigger_id,
    "external_id": read.delivery.external_id,
    "fields": [violation.field for one in bad for violation in one.field_violations],
    "index": outcomes.outcomes[0].index,
}
print(json.dumps(shown))
