"""Each case of the contract as an item of a batch: the same status, or the same trigger, as alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from google.api import httpbody_pb2
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from clarion.v1 import trigger_pb2 as pb
from server.intake.strict_json import blank_below
from server.store.pool import Pool

from .cases import ACCEPTED, REFUSED, TYPED_ALONE
from .cases.case import Case
from .test_triggers import STORED
from .ways import Answer, Ways, call

PATH, TYPED = "/api/client/triggers:batch", "/clarion.v1.TriggerService/BatchTrigger"
GOOD = "Bearer {good}"
DETAILS = error_details_pb2.DESCRIPTOR.pool  # knows the types of the details


def as_item(case: Case) -> bytes | None:
    """Return the case's body with its campaign inside, or None if no JSON can say it."""
    content = case.content.strip()
    if case.authorization != GOOD or not isinstance(case.campaign, int):
        return None
    if not content.startswith(b"{") or b"campaign_id" in content:
        return None
    start = b'{"campaign_id": %d' % case.campaign
    return start + (b", " if content[1:].strip() != b"}" else b"") + content[1:]


def is_json(item: bytes) -> bool:
    """Return whether the text is valid JSON, except deep inside, which the outer parser does not check."""
    try:
        msgspec.json.decode(blank_below(item.decode(), 40), type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def items_of(cases: Sequence[Case]) -> list[tuple[Case, bytes]]:
    pairs = ((case, as_item(case)) for case in cases)
    return [(case, item) for case, item in pairs if item is not None and is_json(item)]


async def by_rest(ways: Ways, items: Sequence[bytes]) -> list[dict[str, Any]]:
    """Send one batch; return its outcomes."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {ways.secrets.good}"}
    body = b'{"triggers": [%s]}' % b",".join(items)
    answer = await ways.http.post(PATH, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    outcomes: list[dict[str, Any]] = answer.json()["outcomes"]
    assert [one.pop("index") for one in outcomes] == list(range(len(items)))
    return outcomes


async def by_grpc(ways: Ways, items: Sequence[pb.BatchItem]) -> list[dict[str, Any]]:
    """Send one typed batch; return its outcomes as REST would show them."""
    channel: Any = ways.channels["server"]
    method = channel.unary_unary(
        TYPED,
        request_serializer=pb.BatchTriggerRequest.SerializeToString,
        response_deserializer=pb.BatchTriggerResponse.FromString,
    )
    key = (("authorization", f"Bearer {ways.secrets.good}"),)
    answer = await method(pb.BatchTriggerRequest(triggers=items), metadata=key)
    assert [one.index for one in answer.outcomes] == list(range(len(items)))
    return [_shown(one) for one in answer.outcomes]


def _shown(outcome: pb.BatchOutcome) -> dict[str, Any]:
    shown: dict[str, Any] = json_format.MessageToDict(
        outcome, preserving_proto_field_name=True, descriptor_pool=DETAILS
    )
    del shown["index"]
    return shown


def sayable(cases: Sequence[Case]) -> list[Case]:
    """Return the cases that a typed call of the good key can state."""
    return [case for case in cases if case.twin is not None and case.authorization == GOOD]


def typed_item(case: Case) -> pb.BatchItem:
    kinds = {pb.TriggerEmailRequest: "email", pb.TriggerTextRequest: "text", pb.TriggerPushRequest: "push"}
    assert case.twin is not None
    item: Mapping[str, Any] = {kinds[type(case.twin)]: case.twin}
    return pb.BatchItem(**item)


async def alone(ways: Ways, cases: Sequence[Case], *, typed: bool) -> list[Answer]:
    """Make each case's call for itself."""
    answers = []
    for start in range(0, len(cases), 20):
        some = cases[start : start + 20]
        made = await asyncio.gather(*(_alone(ways, case, typed=typed) for case in some))
        answers += made
    return answers


async def _alone(ways: Ways, case: Case, *, typed: bool) -> Answer:
    message: Message = pb.TriggerCampaignRequest(
        campaign_id=str(case.campaign), body=httpbody_pb2.HttpBody(data=case.content)
    )
    if typed and case.twin is not None:
        message = case.twin
    name = type(message).__name__.removesuffix("Request")
    made = await call(
        ways.channels["server"],
        f"/clarion.v1.TriggerService/{name}",
        message,
        getattr(pb, f"{name}Response"),
        ways.authorization(case),
    )
    return Answer(name, **made)


def check_refusals(cases: Sequence[Case], outcomes: Sequence[Any], answers: Sequence[Answer]) -> None:
    for case, outcome, answer in zip(cases, outcomes, answers, strict=True):
        assert outcome == {"error": answer.refusal}, case.name


async def test_rejected_item_has_the_status_of_a_single_call(ways: Ways) -> None:
    cases, items = zip(*items_of(REFUSED), strict=True)
    assert len(cases) > 150
    outcomes = await by_rest(ways, items)
    check_refusals(cases, outcomes, await alone(ways, cases, typed=False))


async def test_rejected_typed_item_has_the_status_of_a_single_call(ways: Ways) -> None:
    cases = [
        case for case in (*REFUSED, *TYPED_ALONE) if case.twin is not None and case.authorization == GOOD
    ]
    assert len(cases) > 100
    outcomes = await by_grpc(ways, [typed_item(case) for case in cases])
    check_refusals(cases, outcomes, await alone(ways, cases, typed=True))


async def test_accepted_item_is_stored_like_a_single_call(ways: Ways, pool: Pool) -> None:
    pairs = items_of(ACCEPTED)
    assert len(pairs) > 60
    outcomes = await by_rest(ways, [item for _, item in pairs])
    cases = [case for case, _ in pairs]
    await check_stored(pool, cases, outcomes, await alone(ways, cases, typed=False))


async def test_accepted_typed_item_is_stored_like_a_single_call(ways: Ways, pool: Pool) -> None:
    cases = sayable(ACCEPTED)
    outcomes = await by_grpc(ways, [typed_item(case) for case in cases])
    await check_stored(pool, cases, outcomes, await alone(ways, cases, typed=True))


async def check_stored(
    pool: Pool, cases: Sequence[Case], outcomes: Sequence[Mapping[str, str]], answers: Sequence[Answer]
) -> None:
    for case, outcome, answer in zip(cases, outcomes, answers, strict=True):
        assert list(outcome) == ["trigger_id"], case.name
        rows = await pool.fetch(STORED, [outcome["trigger_id"], answer.trigger_id])
        assert len(rows) == 2
        assert len({json.dumps(dict(row)) for row in rows}) == 1, case.name
