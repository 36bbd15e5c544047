"""Which lane may send how much through which provider, by a clock that the test turns."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from server.dispatcher.providers.base import SendingPolicy
from server.dispatcher.router import ProviderRouter
from tests.kit.clock import FakeClock
from tests.kit.dispatch import ScriptedProvider
from tests.kit.router import BOTH, DOWN, HALF_OPEN, OPEN, YES, make_traffic, planned, sent


def test_a_lane_goes_through_its_first_provider() -> None:
    traffic = make_traffic(FakeClock())
    assert planned(traffic.plan([BOTH])) == {BOTH: ("first", 4)}


def test_a_lane_fails_over_and_returns_after_a_probe(
    clock: FakeClock,
) -> None:
    traffic = make_traffic(clock)
    sent(traffic, "first", DOWN, DOWN)
    assert traffic.breaker_states()["first"] is OPEN
    assert planned(traffic.plan([BOTH])) == {BOTH: ("second", 4)}
    clock.advance(10)
    assert planned(traffic.plan([BOTH])) == {BOTH: ("first", 1)}
    traffic.began("first")
    assert planned(traffic.plan([BOTH])) == {BOTH: ("second", 4)}
    traffic.ended("first", YES)
    assert planned(traffic.plan([BOTH])) == {BOTH: ("first", 4)}


def test_a_failed_probe_doubles_the_pause(clock: FakeClock) -> None:
    traffic = make_traffic(clock)
    sent(traffic, "first", DOWN, DOWN)
    clock.advance(10)
    sent(traffic, "first", DOWN)
    clock.advance(19.9)
    assert planned(traffic.plan([BOTH])) == {BOTH: ("second", 4)}
    clock.advance(0.1)
    assert planned(traffic.plan([BOTH])) == {BOTH: ("first", 1)}


def test_one_message_probes_for_all_lanes(clock: FakeClock) -> None:
    traffic = make_traffic(clock)
    sent(traffic, "first", DOWN, DOWN)
    clock.advance(10)
    lanes = ["email/first", BOTH, "text/first"]
    plan = traffic.plan(lanes)
    assert sum(share.slots for share in plan.shares) == 1
    assert plan.left_out == {*lanes} - {share.lane for share in plan.shares}
    traffic.began("first")
    assert planned(traffic.plan(lanes)) == {BOTH: ("second", 4)}


def test_a_half_open_provider_without_slots_is_skipped(clock: FakeClock) -> None:
    traffic = make_traffic(clock, slots=2)
    traffic.began("first")
    traffic.began("first")
    sent(traffic, "first", DOWN, DOWN)  # while those two hang
    clock.advance(10)
    assert traffic.breaker_states()["first"] is HALF_OPEN
    assert planned(traffic.plan([BOTH])) == {BOTH: ("second", 2)}


def test_a_lane_without_a_working_provider_claims_nothing(clock: FakeClock) -> None:
    traffic = make_traffic(clock)
    sent(traffic, "first", DOWN, DOWN)
    plan = traffic.plan(["email/first"])
    assert (plan.shares, plan.starved, plan.left_out) == ([], frozenset(), frozenset())


@pytest.mark.parametrize(
    ("lane", "provider"),
    [("email/gone,second", "second"), ("email/gone", None), ("email/", None), ("email", None), ("", None)],
)
def test_unconfigured_providers_are_skipped(lane: str, provider: str | None) -> None:
    shares = make_traffic(FakeClock()).plan([lane]).shares
    assert [share.provider for share in shares] == ([provider] if provider else [])


def test_an_unknown_provider_has_no_room() -> None:
    traffic = make_traffic(FakeClock())
    sent(traffic, "gone", YES, DOWN, None)
    assert traffic.room("gone") == 0
    assert not traffic.is_roomy("gone")


@pytest.mark.parametrize(("lanes", "slots"), [(2, 7), (3, 4), (3, 1), (5, 2), (4, 8)])
def test_lanes_of_one_provider_share_its_room_fairly(lanes: int, slots: int) -> None:
    traffic = make_traffic(FakeClock(), slots=slots)
    names = [f"email/first,x{number}" for number in range(lanes)]
    given: Counter[str] = Counter()
    for _ in range(lanes):
        shares = traffic.plan(names).shares
        assert sum(share.slots for share in shares) == slots
        assert max(share.slots for share in shares) - slots // lanes in {0, 1}
        given.update({share.lane: share.slots for share in shares})
    assert given == dict.fromkeys(names, slots)


def test_lanes_without_a_slot_are_left_out_and_claimed_next() -> None:
    traffic = make_traffic(FakeClock(), slots=1)
    lanes = {"email/first,a", "email/first,b", "email/first,c", "email/second"}
    asked: list[str] = []
    while lanes:
        plan = traffic.plan(lanes)
        asked += [share.lane for share in plan.shares]
        lanes = {*plan.left_out}
    assert sorted(asked) == ["email/first,a", "email/first,b", "email/first,c", "email/second"]


def test_a_lane_claimed_second_does_not_lose_its_place() -> None:
    traffic = make_traffic(FakeClock(), slots=1)
    lanes = ["email/first,a", "email/first,b"]
    first = traffic.plan(lanes)
    second = traffic.plan(first.left_out)
    third = traffic.plan(lanes)
    assert [*planned(first), *planned(second), *planned(third)] == [*lanes, lanes[0]]


def test_providers_do_not_share_room() -> None:
    traffic = make_traffic(FakeClock())
    for _ in range(4):
        traffic.began("first")
    plan = traffic.plan(["email/first", "email/second"])
    assert planned(plan) == {"email/second": ("second", 4)}
    assert plan.starved == {"first"}
    assert traffic.room("first") == 0


@pytest.mark.parametrize(("under_way", "roomy"), [(0, True), (6, True), (7, False), (8, False)])
def test_a_quarter_of_the_slots_is_roomy(under_way: int, roomy: bool) -> None:  # noqa: FBT001
    traffic = make_traffic(FakeClock(), slots=8)
    for _ in range(under_way):
        traffic.began("first")
    assert traffic.is_roomy("first") is roomy


@pytest.mark.parametrize("dispatchers", [1, 2, 5])
def test_dispatchers_share_a_providers_rate(clock: FakeClock, dispatchers: int) -> None:
    traffic = make_traffic(clock, rate=10, slots=64)
    traffic.share_among(dispatchers)
    count = 0
    for _ in range(2000):
        room = traffic.room("first")
        sent(traffic, "first", *[YES] * room)
        count += room
        clock.advance(0.01)
    assert count == pytest.approx(200 / dispatchers, abs=1.5)


def test_the_wait_is_infinite_if_no_provider_is_held_up() -> None:
    assert make_traffic(FakeClock()).wait() == math.inf
    assert ProviderRouter({}, FakeClock()).wait() == math.inf


def test_it_waits_until_the_rate_allows_a_message(clock: FakeClock) -> None:
    traffic = make_traffic(clock, rate=2)
    sent(traffic, "first", YES)
    assert traffic.wait() == pytest.approx(0.5)
    clock.advance(0.2)
    assert traffic.wait() == pytest.approx(0.3)
    clock.advance(0.31)
    assert traffic.wait() == math.inf


def test_it_waits_for_the_pause_and_then_for_the_probe(clock: FakeClock) -> None:
    traffic = make_traffic(clock)
    sent(traffic, "first", DOWN, DOWN)
    clock.advance(4)
    assert traffic.wait() == pytest.approx(6)
    clock.advance(6)
    assert traffic.wait() == math.inf
    traffic.began("first")
    assert traffic.wait() == math.inf


def test_without_a_free_slot_the_rate_is_not_waited_for(clock: FakeClock) -> None:
    traffic = make_traffic(clock, rate=0.1, slots=1)
    traffic.began("first")
    assert traffic.wait() == math.inf


def test_a_provider_can_be_added_later(clock: FakeClock) -> None:
    known: dict[str, ScriptedProvider] = {}
    traffic = ProviderRouter(known, clock)
    assert not traffic.serves(BOTH)
    assert planned(traffic.plan([BOTH])) == {}
    policy = SendingPolicy(breaker_failures=2)
    known["second"] = ScriptedProvider("second", concurrency=3, policy=policy)
    assert planned(traffic.plan([BOTH])) == {BOTH: ("second", 3)}
    assert traffic.gate("second") is traffic.gate("second") is not traffic.gate("first")
    assert traffic.may_begin("second", waited=True)
    sent(traffic, "second", DOWN, DOWN)
    assert traffic.breaker_states() == {"second": OPEN}
    assert not traffic.may_begin("second", waited=False)
    assert not traffic.may_begin("first", waited=True)
    clock.now += 10
    assert traffic.may_begin("second", waited=False)
    assert not traffic.may_begin("second", waited=True)
