"""Reading deliveries: states, times, filters, and continuing a watch."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from clarion.v1 import delivery_pb2 as pb
from clarion_client import CredentialsRefused, DeliveryState, Unavailable
from clarion_client.deliveries import delivery_of, state_name
from clarion_client.reading import FindFilter, Watch, WatchFilter, list_request

NOON = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)


def test_states_of_the_contract_are_known() -> None:
    names = pb.DeliveryState.keys()[1:]
    known = {delivery_of(pb.Delivery(state=name)).state for name in names}
    assert known == {*DeliveryState} - {DeliveryState.UNKNOWN}
    newer = pb.Delivery.FromString(pb.Delivery(state=names[0]).SerializeToString().replace(b"\x01", b"\x63"))
    assert delivery_of(newer).state is DeliveryState.UNKNOWN
    assert not DeliveryState.UNKNOWN.is_end


def test_absent_times_are_none() -> None:
    delivery = delivery_of(pb.Delivery(send_at=NOON))
    assert (delivery.send_at, delivery.cancelled_at, delivery.next_attempt_at) == (NOON, None, None)


@pytest.mark.parametrize("state", ["dead", DeliveryState.DEAD, "DELIVERY_STATE_DEAD"])
def test_state_may_have_both_forms(state: str) -> None:
    assert state_name(state) == "DELIVERY_STATE_DEAD"


@pytest.mark.parametrize("state", ["lost", "unknown", "DELIVERED", "DELIVERY_STATE_UNSPECIFIED"])
def test_unknown_state_is_rejected(state: str) -> None:
    with pytest.raises(ValueError, match=r"pending, sending, .*, cancelled"):
        state_name(state)


def test_filters_may_be_none() -> None:
    wanted: Any = dict.fromkeys(FindFilter.__annotations__)
    watched: Any = dict.fromkeys(WatchFilter.__annotations__)
    assert list_request(wanted, 7) == list_request({}, 7)
    assert Watch(watched).request == Watch({}).request


def test_page_request_has_all_filters() -> None:
    wanted: Any = {"campaign_id": 44, "external_id": "u", "state": DeliveryState.DEAD, "accepted_since": NOON}
    request = list_request(wanted, 7)
    assert (request.campaign_id, request.external_id, request.page_size) == ("44", "u", 7)
    assert request.state == pb.DELIVERY_STATE_DEAD
    assert request.accepted_since.ToDatetime(dt.UTC) == NOON
    assert not request.HasField("accepted_before")


def test_watch_continues_after_the_last_message() -> None:
    watch = Watch({"external_id": "u"})
    assert watch.change_of(pb.WatchTriggersResponse(cursor="a")) is None
    assert watch.request.cursor == "a"
    change = watch.change_of(pb.WatchTriggersResponse(cursor="b", delivery=pb.Delivery(trigger_id="t")))
    assert change is not None
    assert (change.cursor, change.delivery.trigger_id, watch.request.cursor) == ("b", "t", "b")


def test_watch_reconnects_until_its_timeout() -> None:
    """The timeout starts anew after each message; by default there is none."""
    cause = Exception()
    with pytest.raises(Unavailable):
        Watch({}, timeout=0.001).pause_or_raise(Unavailable(), cause)
    endless = Watch({})
    assert all(endless.pause_or_raise(Unavailable(), cause) >= 0 for _ in range(2000))
    with pytest.raises(CredentialsRefused):
        endless.pause_or_raise(CredentialsRefused(), cause)
    patient = Watch({}, timeout=60.0)
    patient.change_of(pb.WatchTriggersResponse(cursor="a"))
    assert patient.pause_or_raise(Unavailable(), cause) >= 0
