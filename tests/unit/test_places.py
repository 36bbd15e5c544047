"""Page tokens and cursors: opaque, and of one query or one log."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from dataclasses import replace

import pytest

from server.api.page_tokens import cursor_of, last_of_page, page_token, position_of
from server.domain.delivery import DeliveryFilter, DeliveryState, Position
from tests.kit.cases import each_case

ID = uuid.UUID("01a2060c-9761-7301-8fd1-e542347e86e5")
MOMENT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
LISTED = DeliveryFilter(44, "ext-1", DeliveryState.DEAD, MOMENT, MOMENT)


def test_a_page_token_leads_back_to_its_place() -> None:
    token = page_token(ID, 1, LISTED)
    assert re.fullmatch("[A-Za-z0-9_-]{32}", token)
    assert last_of_page(token, 1, LISTED) == ID


@pytest.mark.parametrize(
    ("project", "listed"),
    [
        (2, LISTED),
        (1, DeliveryFilter()),
        (1, replace(LISTED, campaign_id=45)),
        (1, replace(LISTED, external_id="ext-2")),
        (1, replace(LISTED, state=DeliveryState.PENDING)),
        (1, replace(LISTED, since=MOMENT - dt.timedelta(microseconds=1))),
        (1, replace(LISTED, before=None)),
    ],
)
def test_a_page_token_is_of_no_use_to_another_query(project: int, listed: DeliveryFilter) -> None:
    assert last_of_page(page_token(ID, 1, LISTED), project, listed) is None


@each_case("place", range(32))
def test_a_damaged_page_token_leads_nowhere(place: int) -> None:
    token = page_token(ID, 1, LISTED)
    damaged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
    assert last_of_page(damaged, 1, LISTED) is None


def test_forged_page_token_is_refused() -> None:
    assert last_of_page("A" * 32, 1, LISTED) is None
    assert last_of_page("_-" * 16, 1, LISTED) is None


@pytest.mark.parametrize("position", [Position(0), Position(2**63 - 1, ID, 2**31 - 1), Position(771, ID, 1)])
def test_a_cursor_leads_back_to_its_position(position: Position) -> None:
    cursor = cursor_of(position)
    assert re.fullmatch("[A-Za-z0-9_-]{38}", cursor)
    assert position_of(cursor) == position


@pytest.mark.parametrize(
    ("text", "can_be"),
    [
        ("A" * 38, True),
        ("_" * 38, False),
        ("AAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAA_____w", False),
        ("-a" * 19, False),
    ],
)
def test_any_text_of_the_form_of_a_cursor_is_read(text: str, *, can_be: bool) -> None:
    """Its numbers may be beyond those of PostgreSQL."""
    assert (position_of(text) is not None) is can_be
