"""Generated bodies: every protocol gives the same response, and never an internal error."""

from __future__ import annotations

import json

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, note, settings

from tests.kit.documented_errors import reason_of

from .cases.case import Case, accepted
from .cases.twins import CAMPAIGN_OF, EMAIL, PHONE, TOKEN
from .ways import Ways, the_same

# The one fixture that is made anew for a test sets up logging: examples need none of it.
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
bounded = settings(
    max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=FIXTURES
)

FAULTS = {"INVALID_REQUEST", "BODY_TOO_LARGE", "CAMPAIGN_NOT_FOUND"}

text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
integers = st.integers() | st.integers(min_value=2**53, max_value=2**64)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=12)
objects = st.dictionaries(text, values, max_size=4)

# Good more often than not, so that one example is seldom wrong everywhere.
goodish = {
    "external_id": st.just("some user") | text,
    "email": st.just(EMAIL) | st.emails(),
    "phone": st.just(PHONE) | st.from_regex(r"\+[1-9][0-9]{5,15}", fullmatch=True),
    "device_token": st.just(TOKEN) | st.from_regex(r"[A-Za-z0-9_:-]{8,40}", fullmatch=True),
    "timezone": st.sampled_from(["UTC", "America/Chicago", "US/Pacific", "Etc/GMT+5", ""]) | text,
    "locale": st.sampled_from(["en", "pt-BR", "en_US", "zh-Hant", ""]) | text,
    "data": objects,
}
wrongish = {name: strategy | values for name, strategy in goodish.items()}
users = {
    name: st.fixed_dictionaries(
        {"external_id": goodish["external_id"], name: goodish[name]},
        optional={other: goodish[other] for other in ("timezone", "locale", "data")},
    )
    for name in CAMPAIGN_OF
}


def is_one_segment(campaign: str) -> bool:
    """Return whether REST can name this campaign: dots and slashes would change the path."""
    return bool(campaign.strip(".")) and not set("/\\") & set(campaign)


@st.composite
def good_cases(draw: st.DrawFn) -> Case:
    """Draw a body of the right shape, for a typed call too."""
    name = draw(st.sampled_from(sorted(CAMPAIGN_OF)))
    body = {"user": draw(users[name]), "event": draw(objects)}
    return accepted("generated", body, campaign=CAMPAIGN_OF[name])


@st.composite
def wrong_cases(draw: st.DrawFn) -> Case:
    """Draw a body of nearly the right shape."""
    user = st.fixed_dictionaries({}, optional=wrongish) | values
    body = draw(st.fixed_dictionaries({}, optional={"user": user, "event": objects | values, "evnt": values}))
    number = draw(st.sampled_from([*CAMPAIGN_OF.values(), "44.0", 0]))
    return accepted("generated", body, campaign=number)


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a good body with one piece replaced."""
    whole = json.dumps({"user": draw(users["email"]), "event": draw(objects)}, ensure_ascii=False).encode()
    start = draw(st.integers(min_value=0, max_value=len(whole)))
    end = draw(st.integers(min_value=start, max_value=min(len(whole), start + 8)))
    pieces = st.sampled_from(
        [*(bytes([one]) for one in b'{}[]",:\\ntf-0.e \t\x00\xff'), b"\\ud800", b",}", b"NaN"]
    )
    return whole[:start] + draw(pieces | st.binary(max_size=4)) + whole[end:]


@bounded
@given(case=good_cases())
async def test_generated_bodies_get_the_same_answer(case: Case, ways: Ways) -> None:
    assert case.twin is not None
    await check(case, ways)


@bounded
@given(case=wrong_cases())
async def test_slightly_wrong_bodies_get_the_same_answer(case: Case, ways: Ways) -> None:
    await check(case, ways)


@bounded
@given(content=mutilated() | st.binary(max_size=60) | text.map(str.encode))
async def test_broken_bytes_get_the_same_answer(content: bytes, ways: Ways) -> None:
    await check(Case("generated", content), ways)


@bounded
@given(campaign=(text | st.integers().map(str)).filter(is_one_segment))
async def test_generated_campaign_ids_get_the_same_answer(campaign: str, ways: Ways) -> None:
    await check(accepted("generated", campaign=campaign), ways)


async def check(case: Case, ways: Ways) -> None:
    """Check that a case is accepted by every way in, or refused by all as the caller's fault."""
    note(f"campaign {case.campaign}: {case.content!r}")
    answer = the_same(await ways.trigger(case))
    assert answer.refusal is None or reason_of(answer.refusal) in FAULTS
