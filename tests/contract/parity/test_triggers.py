"""The contract, row by row: the same call by REST, by gRPC through Envoy, and by gRPC to the server."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from server.store.pool import Pool
from tests.kit.cases import each_case
from tests.kit.documented_errors import fields_of, reason_of
from tests.kit.stack import Stack

from .cases import ACCEPTED, REFUSED, TYPED_ALONE
from .cases.case import Case, invalid
from .ways import Ways, the_same

STORED = """SELECT campaign_id, channel, external_id, retain, timezone, locale,
    CASE retain WHEN '' THEN (address, user_data, event)::text END AS content -- of others, it goes
FROM trigger WHERE id = ANY($1::uuid[])"""


def ids(case: Case) -> str:
    return case.name.replace(" ", "-")


def test_case_names_are_unique() -> None:
    for table in (REFUSED, ACCEPTED, TYPED_ALONE):
        names = [case.name for case in table]
        assert len(names) == len(set(names))


@each_case("case", REFUSED, ids=ids)
async def test_rejections_are_the_same(case: Case, ways: Ways) -> None:
    answer = the_same(await ways.trigger(case))
    check_refusal(case, answer.refusal)


@pytest.mark.parametrize("name", ["x", "ü" * 30, "\U0001f600" * 20, "%" * 60, "\n" * 60, "n" * 300])
async def test_violation_lists_are_truncated_the_same_way(name: str, ways: Ways) -> None:
    members = {f"{name}{number}": number for number in range(150)}
    refusal = the_same(await ways.trigger(invalid("many", {"user": {}, **members}))).refusal
    assert refusal is not None
    [bad] = [detail for detail in refusal["details"] if detail["@type"].endswith("BadRequest")]
    *listed, last = bad["field_violations"]
    assert last["description"] == f"and {len(members) + 2 - len(listed)} more violations"
    assert len(listed) > 5


@each_case("case", TYPED_ALONE, ids=ids)
async def test_typed_rejections_are_the_same_without_the_gateway(case: Case, ways: Ways) -> None:
    answer = the_same(await ways.trigger_typed(case))
    check_refusal(case, answer.refusal)


@each_case("case", ACCEPTED, ids=ids)
async def test_accepted_triggers_are_stored_the_same_way(
    case: Case, ways: Ways, stack: Stack, pool: Pool
) -> None:
    answers = await ways.trigger(case)
    triggers = [str(uuid.UUID(answer.trigger_id)) for answer in answers]
    assert len(set(triggers)) == len(triggers)
    assert len({str(dict(row)) for row in await pool.fetch(STORED, triggers)}) == 1
    channel = await pool.fetchval("SELECT channel FROM trigger WHERE id = $1::uuid", triggers[0])
    first, *others = await asyncio.gather(*(delivered(stack, channel, one) for one in triggers))
    for answer, other in zip(answers[1:], others, strict=True):
        assert other == first, answer.way


def check_refusal(case: Case, refusal: Any) -> None:
    assert refusal is not None, "it was accepted"
    assert (reason_of(refusal), fields_of(refusal)) == (case.reason, sorted(case.fields)), refusal


async def delivered(stack: Stack, channel: str, trigger_id: str) -> dict[str, object]:
    """Return what reached the sandbox's outbox, without what is a trigger's own."""
    path = await stack.delivered(channel, trigger_id)
    return mail(path) if channel == "email" else message(path)


def mail(path: Path) -> dict[str, object]:
    """Return an email's parts and headers but for its id and date."""
    read = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert not read.defects
    parts = [part.get_content() for part in read.walk() if not part.is_multipart()]
    headers = {name: str(read[name]) for name in ("from", "to", "subject")}
    return {**headers, "parts": parts}


def message(path: Path) -> dict[str, Any]:
    """Return a text message or push notification but for its id."""
    read: dict[str, Any] = json.loads(path.read_text())
    assert read.pop("trigger_id") == path.stem
    if "data" in read:
        assert read["data"].pop("trigger_id") == path.stem
    return read
