"""Log lines are JSON in ASCII."""

from __future__ import annotations

import json
from typing import Any

from server.process.logs import to_json
from tests.kit.cases import each_case

VALUES: dict[str, Any] = {
    "an escape sequence": "\x1b[2J\x9b2J\u202e",
    "half a surrogate pair": "file \udc80",
    "another script": "Zoë",
    "a large integer": 2**80,
    "a number": 0.1,
    "nothing": None,
    "a list": ["a", {"b": 1}],
}


@each_case("name", VALUES)
def test_log_lines_are_ascii_json(name: str) -> None:
    event = {"value": VALUES[name], "event": "attempt"}
    line = to_json(event, default=repr)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == event
    assert line.endswith(',"event":"attempt"}')


@each_case("text", ["plain", "Zoë"])
def test_log_lines_show_other_values_as_repr(text: str) -> None:
    line = to_json({"error": ValueError(text)}, default=repr)
    assert json.loads(line) == {"error": f"ValueError('{text}')"}
