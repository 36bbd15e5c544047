"""The fast path of typed requests agrees with the full validation."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.v1 import trigger_pb2 as pb
from server.channels import CHANNELS
from server.domain.campaign import Channel
from server.intake.fast import accept_message
from server.intake.validate import validate_message
from tests.kit.intake import CALLER, NOW, same, validated

_KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "email": (pb.TriggerEmailRequest, pb.EmailUser),
    "text": (pb.TriggerTextRequest, pb.TextUser),
    "push": (pb.TriggerPushRequest, pb.PushUser),
}
encodable = st.text(st.characters(codec="utf-8"), max_size=6)
typed_users = st.fixed_dictionaries(
    {"external_id": encodable | st.just("a")},
    optional={
        "timezone": st.sampled_from(["UTC", "x"]),
        "locale": st.sampled_from(["en", "zh_hans_cn", "!"]),
        "data": st.sampled_from(['{"a": 1}', "[]", '{"a": 1, "a": 2}', '{"a": {}}', '{"u": "a:b"}']),
    },
)
addresses = st.sampled_from(["a@b.co", "+12025550123", "TOKEN:1234", "short", ""])
events = st.sampled_from(["", "{}", '{"a": 1}', '{"a": 1, "a": 2}', '{"a": "\\u0000"}', '{"a": [1]}', "5"])
times = st.sampled_from([None, NOW, NOW + dt.timedelta(days=1), NOW - dt.timedelta(days=1)])
campaigns = st.sampled_from([0, 44, 45, 46, 47])


@given(st.sampled_from(sorted(_KINDS)), campaigns, typed_users, addresses, events, times)
def test_both_paths_agree_on_typed_requests(  # noqa: PLR0917 - hypothesis passes them by position
    kind: str, campaign: int, user: dict[str, str], address: str, event: str, send_at: dt.datetime | None
) -> None:
    request, recipient = _KINDS[kind]
    who = recipient(**user, **{CHANNELS[Channel(kind)].address.field: address})
    typed = request(campaign_id=campaign, user=who, event=event, request_id="k", send_at=send_at)
    fast = accept_message(CALLER, typed, None)
    assert fast is None or same(fast, validated(lambda: validate_message(CALLER, typed)))


@pytest.mark.parametrize("send_at", [None, NOW + dt.timedelta(days=1)])
def test_an_everyday_typed_request_takes_the_fast_path(send_at: dt.datetime | None) -> None:
    user = pb.EmailUser(external_id="a", email="a@b.co", timezone="UTC", locale="en", data='{"a": "b:c"}')
    typed = pb.TriggerEmailRequest(
        campaign_id=44, user=user, event='{"a": 1}', request_id="k", send_at=send_at
    )
    fast = accept_message(CALLER, typed, None)
    assert fast is not None
    assert same(fast, validate_message(CALLER, typed))


def test_a_request_of_another_channel_is_validated() -> None:
    typed = pb.TriggerEmailRequest(campaign_id=45, user=pb.EmailUser(external_id="a", email="a@b.co"))
    assert accept_message(CALLER, typed, None) is None
