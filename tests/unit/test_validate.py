"""Validation of a call: a time that has passed is only valid if the call may repeat an earlier one."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable

import pytest

from clarion.v1 import trigger_pb2 as pb
from server.domain.campaign import Campaign
from server.domain.key import ApiKey, Scope
from server.domain.limit import NO_OWN_LIMIT, OwnLimit
from server.domain.placement import ValidTrigger
from server.errors import InvalidRequest
from server.intake.caller import Caller
from server.intake.send_at import late_violation
from server.intake.strict_body import parse_body
from server.intake.validate import validate_message
from tests.kit.dispatch import make_campaign

NOON = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)
KEY = ApiKey(uuid.uuid4(), 1, "a key", frozenset({Scope.TRIGGER}), NOON)


class OneCampaign:
    """A catalog with campaign 44 of project 1."""

    def key_of_certificate(self, identities: Iterable[str]) -> ApiKey | None:
        raise NotImplementedError

    def key(self, secret_hash: bytes) -> ApiKey | None:
        return KEY

    def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        return make_campaign(retry=None) if (project_id, campaign_id) == (1, 44) else None

    def project_limit(self, project_id: int) -> OwnLimit:
        return NO_OWN_LIMIT

    def project_timezone(self, project_id: int) -> str:
        return "UTC"


def validated(send_at: dt.datetime, *, key: str = "", header: str | None = None) -> ValidTrigger:
    user = pb.EmailUser(external_id="a", email="a@example.com")
    request = pb.TriggerEmailRequest(campaign_id=44, user=user, request_id=key, send_at=send_at)
    return validate_message(Caller(OneCampaign(), KEY, "", NOON), request, header)


@pytest.mark.parametrize("late", [dt.timedelta(0), MINUTE])
def test_a_time_that_has_just_passed_means_now(late: dt.timedelta) -> None:
    valid = validated(NOON - late)
    assert valid.placement.due_at is None
    assert late_violation(valid.trigger, NOON) is None
    assert valid.trigger.send_at == NOON - late


@pytest.mark.parametrize(
    "send_at", [NOON - MINUTE - dt.timedelta(seconds=1), NOON - 400 * DAY, NOON + 91 * DAY]
)
def test_a_time_out_of_range_is_refused(send_at: dt.datetime) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validated(send_at)
    assert [(one.field, one.reason) for one in refused.value.violations] == [("send_at", "OUT_OF_RANGE")]


def test_90_days_ahead_are_accepted() -> None:
    assert validated(NOON + 90 * DAY).placement.due_at == NOON + 90 * DAY


def test_a_late_time_with_a_key_may_be_a_retry() -> None:
    for how in ({"key": "k"}, {"header": "k"}):
        valid = validated(NOON - DAY, **how)
        assert valid.key
        late = late_violation(valid.trigger, NOON)
        assert late
        assert (late.field, late.reason) == ("send_at", "OUT_OF_RANGE")


def test_a_time_too_far_ahead_is_refused_with_a_key_too() -> None:
    with pytest.raises(InvalidRequest):
        validated(NOON + 91 * DAY, key="k")


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-01T14:00:00+02:00",
        "2026-07-01t12:00:00z",
        "2026-07-01 12:00:00.000Z",
        "2026-07-01T12:00:00-00:00",
    ],
)
def test_each_form_of_rfc_3339_is_parsed(text: str) -> None:
    body = f'{{"user": {{"external_id": "a", "email": "a@example.com"}}, "send_at": "{text}"}}'
    assert parse_body(body.encode()).fields["send_at"] == NOON
