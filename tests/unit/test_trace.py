"""The W3C trace context."""

from __future__ import annotations

import pytest

from server.domain.trace import trace_context, trace_id

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_good_context_is_kept_with_its_trace_id() -> None:
    assert trace_context(GOOD) == GOOD
    assert trace_context(f" {GOOD} ") == GOOD
    assert trace_id(GOOD) == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_what_a_later_version_says_more_is_not_kept() -> None:
    assert trace_context(GOOD.replace("00-", "01-", 1) + "-more") == GOOD.replace("00-", "01-", 1)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        GOOD.upper(),
        GOOD.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        f"{GOOD}, {GOOD}",
        GOOD + "1",
        GOOD + "-more",
    ],
)
def test_a_malformed_context_counts_as_absent(header: str) -> None:
    assert trace_context(header) == ""
