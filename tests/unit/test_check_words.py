"""The check of wording that `make lint` runs."""

from __future__ import annotations

import pytest

from tools.check_words import findings


@pytest.mark.parametrize(
    "line",
    [
        "# a port that is no number",  # check-words: example
        "Nobody may call it.",  # check-words: example
        "It goes on after that.",  # check-words: example
    ],
)
def test_habit_is_found(line: str) -> None:
    [found] = findings("a.py", line)
    assert found.startswith("a.py:1: ")
    assert "write: " in found


@pytest.mark.parametrize(
    "line",
    [
        "# a port that is not a number",
        "There is no key.",
        "PostgreSQL runs as the user nobody.",
        "file.tell()",
    ],
)
def test_plain_line_is_not_found(line: str) -> None:
    assert not [*findings("a.py", line)]
