"""Values of callers on a terminal."""

from __future__ import annotations

import pytest

from server.commands.common import table
from server.domain.wording import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, tab\tand\nline break", "plain text, tab\tand\nline break"),
        ("Grüße\u00a0\u202f👩\u200d👧", "Grüße\u00a0\u202f👩\u200d👧"),
        ("\x1b]0;title\x07", "\\u001b]0;title\\u0007"),
        ("\x9b2J", "\\u009b2J"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("a\rb\u2028c", "a\\u000db\\u2028c"),
    ],
)
def test_harmful_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_cell_of_a_table_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"id": "a\nb\x1b[2J", "state": None}], "things")
    assert capsys.readouterr().out.splitlines() == ["id             state", "a\\nb\\u001b[2J  -"]
