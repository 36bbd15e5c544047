"""Judging a call: when its moment has passed, it is right only if it may be the same call again."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest

from clarion.v1 import trigger_pb2 as pb
from server.domain.campaign import Campaign
from server.domain.key import ApiKey, Scope
from server.domain.limit import NO_OWN_LIMIT, OwnLimit
from server.errors import InvalidRequest
from server.intake.body import parse_body
from server.intake.validate import TriggerValidator, ValidTrigger
from tests.kit.dispatch import make_campaign

NOON = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)
KEY = ApiKey(uuid.uuid4(), 1, "a key", frozenset({Scope.TRIGGER}), NOON)


class OneCampaign:
    """A catalog with campaign 44 of project 1."""

    def key(self, secret_hash: bytes) -> ApiKey | None:
        return KEY

    def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        return make_campaign(retry=None) if (project_id, campaign_id) == (1, 44) else None

    def exists_elsewhere(self, campaign_id: int) -> bool:
        return False

    def project_limit(self, project_id: int) -> OwnLimit:
        return NO_OWN_LIMIT

    def project_timezone(self, project_id: int) -> str:
        return "UTC"


def judged(send_at: dt.datetime, *, key: str = "", header: str | None = None) -> ValidTrigger:
    user = pb.EmailUser(external_id="a", email="a@example.com")
    request = pb.TriggerEmailRequest(campaign_id=44, user=user, request_id=key, send_at=send_at)
    return TriggerValidator(OneCampaign(), KEY, "", NOON).typed(request, header)


@pytest.mark.parametrize("late", [dt.timedelta(0), MINUTE])
def test_a_moment_that_has_just_passed_is_now(late: dt.timedelta) -> None:
    ready = judged(NOON - late)
    assert (ready.place.due_at, ready.too_late) == (None, None)
    assert ready.trigger.send_at == NOON - late


@pytest.mark.parametrize(
    "send_at", [NOON - MINUTE - dt.timedelta(seconds=1), NOON - 400 * DAY, NOON + 91 * DAY]
)
def test_a_moment_long_ago_or_too_far_ahead_is_refused(send_at: dt.datetime) -> None:
    with pytest.raises(InvalidRequest) as refused:
        judged(send_at)
    assert [(one.field, one.reason) for one in refused.value.violations] == [("send_at", "OUT_OF_RANGE")]


def test_up_to_90_days_ahead_are_taken() -> None:
    assert judged(NOON + 90 * DAY).place.due_at == NOON + 90 * DAY


def test_with_a_key_a_moment_that_has_passed_may_be_an_earlier_call_again() -> None:
    for how in ({"key": "k"}, {"header": "k"}):
        ready = judged(NOON - DAY, **how)
        assert ready.once
        assert ready.too_late
        assert (ready.too_late.field, ready.too_late.reason) == ("send_at", "OUT_OF_RANGE")


def test_a_key_excuses_no_moment_too_far_ahead() -> None:
    with pytest.raises(InvalidRequest):
        judged(NOON + 91 * DAY, key="k")


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-01T14:00:00+02:00",
        "2026-07-01t12:00:00z",
        "2026-07-01 12:00:00.000Z",
        "2026-07-01T12:00:00-00:00",
    ],
)
def test_the_forms_of_rfc_3339_name_the_same_moment(text: str) -> None:
    body = f'{{"user": {{"external_id": "a", "email": "a@example.com"}}, "send_at": "{text}"}}'
    assert parse_body(body.encode()).send_at == NOON
    assert parse_body(body.replace("}", ",}", 1).encode()).send_at == NOON  # the strict way
