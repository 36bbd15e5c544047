"""Both OpenAPI documents, by other makers' linters: `make interop`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.interop.conftest import run
from tests.kit.documented_schemas import ADMIN_API, CLIENT_API

FILES = [CLIENT_API.file, ADMIN_API.file]
RULES = {"extends": ["spectral:oas"]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_spectral_finds_nothing(node: Path, tmp_path: Path, file: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(RULES))
    spectral = node / "node_modules/.bin/spectral"
    await run(spectral, "lint", file, "--ruleset", rules, "--fail-severity", "hint", folder=tmp_path)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_redocly_finds_nothing(node: Path, tmp_path: Path, file: Path) -> None:
    redocly = node / "node_modules/.bin/redocly"
    out = await run(redocly, "lint", file, "--extends", "recommended", "--format", "json", folder=tmp_path)
    found = json.loads(out[out.index("{") : out.rindex("}") + 1])
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, out
