"""The fingerprint that decides whether two calls with one idempotency key are the same call."""

from __future__ import annotations

import datetime as dt
import uuid

import msgspec
import pytest

from server.domain.campaign import Channel
from server.domain.idempotency import NOT_CONTENT, fingerprint
from server.domain.trigger import Trigger

EMAIL = Trigger(
    uuid.UUID(int=1),
    project_id=7,
    campaign_id=44,
    channel=Channel.EMAIL,
    external_id="kündin-1",
    address="a@example.com",
    timezone="Europe/Berlin",
    locale="pt-BR",
    user_data='{"n": 1.10}',
    event='{"order": 9007199254740993}',
    traceparent="00-x",
)
SCHEDULED = Trigger(
    uuid.UUID(int=2),
    project_id=7,
    campaign_id=45,
    channel=Channel.TEXT,
    external_id="c",
    address="+12025550123",
    send_at=dt.datetime(2026, 12, 24, 17, tzinfo=dt.UTC),
)
OTHER_VALUES = {
    "id": uuid.UUID(int=3),
    "project_id": 8,
    "campaign_id": 46,
    "channel": Channel.PUSH,
    "send_at": dt.datetime(2027, 1, 1, tzinfo=dt.UTC),
    "accepted_at": dt.datetime(2027, 1, 1, tzinfo=dt.UTC),
}


@pytest.mark.parametrize(
    ("trigger", "stored"),
    [
        (EMAIL, "60d368c97c8a39242eea6dc1654c3e3fd0b3da1fb73f585c929d78142f024c8c"),
        (SCHEDULED, "98838188ecbba92563d65fe963496af15955c6204be1a90fcc102643cc9dcc94"),
    ],
    ids=["email", "scheduled"],
)
def test_stored_fingerprints_still_match(trigger: Trigger, stored: str) -> None:
    """The literals are from release 0.1: a retry after an upgrade must find the first call."""
    assert fingerprint(trigger).hex() == stored


@pytest.mark.parametrize("name", Trigger.__struct_fields__)
def test_each_field_is_content_or_opted_out(name: str) -> None:
    changed = msgspec.structs.replace(EMAIL, **{name: OTHER_VALUES.get(name, "other")})
    assert (fingerprint(changed) == fingerprint(EMAIL)) == (name in NOT_CONTENT)
