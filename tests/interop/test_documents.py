"""The OpenAPI document, by other makers' linters: `make interop`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.interop.conftest import run
from tests.kit.documented_schemas import FILE

RULES = {"extends": ["spectral:oas"]}


async def test_spectral_finds_nothing(node: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(RULES))
    spectral = node / "node_modules/.bin/spectral"
    await run(spectral, "lint", FILE, "--ruleset", rules, "--fail-severity", "hint", folder=tmp_path)


async def test_redocly_finds_nothing(node: Path, tmp_path: Path) -> None:
    redocly = node / "node_modules/.bin/redocly"
    out = await run(redocly, "lint", FILE, "--extends", "recommended", "--format", "json", folder=tmp_path)
    found = json.loads(out[out.index("{") : out.rindex("}") + 1])
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, out
