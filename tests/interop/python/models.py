"""Calls with the pydantic models that datamodel-codegen generates, and validates what Clarion answers."""

from __future__ import annotations

import json
import os

import httpx
from generated_models import (
    BadRequest,
    BatchBody,
    BatchItem,
    BatchTriggerResponse,
    GetTriggerResponse,
    Status,
    TriggerBody,
    TriggerEvent,
    TriggerUser,
)
from pydantic import BaseModel

http = httpx.Client(
    base_url=os.environ["CLARION_TARGET"],
    headers={"authorization": f"Bearer {os.environ['CLARION_API_KEY']}", "content-type": "application/json"},
)
PATH = "/api/client/campaigns/44/trigger"


def post(path: str, body: BaseModel) -> httpx.Response:
    return http.post(path, content=body.model_dump_json(exclude_none=True))


user = TriggerUser(external_id="u-1", email="ada@example.com", data={"name": "Ada", "tags": ["one", 2]})
accepted = post(PATH, TriggerBody(user=user, event={"order": {"id": 7}, "items": [None, True]}))
trigger_id = accepted.headers["x-trigger-id"]
read = GetTriggerResponse.model_validate(http.get(accepted.headers["location"]).json())
rejected = Status.model_validate(post(PATH, TriggerBody(user=TriggerUser(external_id="u-1"))).json())
bad = [detail.root for detail in rejected.details if isinstance(detail.root, BadRequest)]
body = BatchBody(triggers=[BatchItem(campaign_id=44, user=user)])
outcomes = BatchTriggerResponse.model_validate(post("/api/client/triggers:batch", body).json())

document = http.get("/openapi.json").json()
webhook = document["webhooks"]["trigger.delivered"]["post"]["requestBody"]["content"]["application/json"]
TriggerEvent.model_validate(webhook["example"])

shown = {
    "trigger_id": trigger_id,
    "external_id": read.delivery.external_id,
    "fields": [violation.field for one in bad for violation in one.field_violations],
    "index": outcomes.outcomes[0].index,
}
print(json.dumps(shown))
