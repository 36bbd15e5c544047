"""A caller with four campaigns, an item of a batch, and what validation makes of it."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from server.domain.campaign import Campaign, CampaignState, Channel, RetryPolicy, SendWindow
from server.domain.key import ApiKey, Scope
from server.domain.limit import NO_OWN_LIMIT, OwnLimit
from server.domain.placement import ValidTrigger
from server.errors import RequestError
from server.intake.caller import Caller
from server.intake.strict_body import parse_item
from server.intake.validate import validate_item

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
SOON = "2026-11-26T09:00:00+01:00"
CAMPAIGNS = {
    campaign.id: campaign
    for campaign in (
        Campaign(1, 44, "email", Channel.EMAIL, ("a", "b")),
        Campaign(1, 45, "text", Channel.TEXT, ("a",), window=SendWindow(opens="09:00", closes="10:00")),
        Campaign(1, 46, "push", Channel.PUSH, ("a",), retry=RetryPolicy(ttl=60)),
        Campaign(1, 47, "paused", Channel.EMAIL, ("a",), state=CampaignState.PAUSED),
    )
}
KEY = ApiKey(uuid.uuid4(), 1, "key", frozenset({Scope.TRIGGER}), NOW)


class Catalog:
    """Four campaigns of one project."""

    def key_of_certificate(self, identities: Iterable[str]) -> ApiKey | None:
        raise NotImplementedError

    def key(self, secret_hash: bytes) -> ApiKey | None:
        return None

    def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        return CAMPAIGNS.get(campaign_id)

    def project_limit(self, project_id: int) -> OwnLimit:
        return NO_OWN_LIMIT

    def project_timezone(self, project_id: int) -> str:
        return "Europe/Berlin"


CALLER = Caller(Catalog(), KEY, "00-trace-parent-01", NOW)


def strict(data: bytes) -> ValidTrigger | None:
    return validated(lambda: validate_item(CALLER, parse_item(data)))


def validated(validate: Callable[[], ValidTrigger]) -> ValidTrigger | None:
    try:
        return validate()
    except RequestError:
        return None


def same(one: ValidTrigger | None, other: ValidTrigger | None) -> bool:
    """Return whether two paths made the same of an item, except for its id."""
    facts = [valid and (fields_of(valid), valid.placement, valid.key) for valid in (one, other)]
    return facts[0] == facts[1]


def fields_of(valid: ValidTrigger) -> dict[str, object]:
    names = valid.trigger.__struct_fields__
    return {name: getattr(valid.trigger, name) for name in names if name != "id"}


def item(campaign: int = 44, /, *, more: dict[str, Any] | None = None, **user: object) -> bytes:
    members = {"external_id": "a", "email": "a@b.co", **user}
    value = {"campaign_id": campaign, "user": members, "event": {"a": "b"}, **(more or {})}
    return json.dumps(value, ensure_ascii=False).encode()
