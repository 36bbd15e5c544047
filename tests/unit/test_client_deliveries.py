"""What the client makes of a server's words that it does not know, and of moments."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from clarion.v1 import delivery_pb2 as pb
from clarion_client import CredentialsRefused, DeliveryState, Unavailable
from clarion_client.deliveries import delivery_of, state_name
from clarion_client.reading import Watching, list_request

NOON = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)


def test_every_state_of_the_contract_is_known_and_one_of_the_future_is_no_error() -> None:
    names = pb.DeliveryState.keys()[1:]
    known = {delivery_of(pb.Delivery(state=name)).state for name in names}
    assert known == {*DeliveryState} - {DeliveryState.UNKNOWN}
    of_the_future = pb.Delivery.FromString(
        pb.Delivery(state=names[0]).SerializeToString().replace(b"\x01", b"\x63")
    )
    assert delivery_of(of_the_future).state is DeliveryState.UNKNOWN
    assert not DeliveryState.UNKNOWN.is_end


def test_what_is_not_there_is_none() -> None:
    delivery = delivery_of(pb.Delivery(send_at=NOON))
    assert (delivery.send_at, delivery.cancelled_at, delivery.next_attempt_at) == (NOON, None, None)


@pytest.mark.parametrize("state", ["lost", "unknown", "DELIVERED"])
def test_a_state_that_is_none_is_refused_with_those_that_are(state: str) -> None:
    with pytest.raises(ValueError, match=r"pending, sending, .*, cancelled"):
        state_name(state)


def test_a_page_is_asked_for_by_all_that_is_wanted() -> None:
    wanted: Any = {"campaign_id": 44, "external_id": "u", "state": DeliveryState.DEAD, "accepted_since": NOON}
    request = list_request(wanted, 7)
    assert (request.campaign_id, request.external_id, request.page_size) == ("44", "u", 7)
    assert request.state == pb.DELIVERY_STATE_DEAD
    assert request.accepted_since.ToDatetime(dt.UTC) == NOON
    assert not request.HasField("accepted_before")


def test_a_watching_goes_on_behind_what_it_heard_and_its_patience_begins_anew() -> None:
    watching = Watching({"external_id": "u"}, patience=0.001)
    assert watching.pause(Unavailable()) is None
    endless = Watching({})
    assert all(endless.pause(Unavailable()) is not None for _ in range(2000))
    assert endless.pause(CredentialsRefused()) is None
    patient = Watching({"external_id": "u"}, patience=60.0)
    assert patient.heard(pb.WatchTriggersResponse(cursor="a")) is None
    assert patient.request.cursor == "a"
    change = patient.heard(pb.WatchTriggersResponse(cursor="b", delivery=pb.Delivery(trigger_id="t")))
    assert change is not None
    assert (change.cursor, change.delivery.trigger_id, patient.request.cursor) == ("b", "t", "b")
    assert patient.pause(Unavailable()) is not None
