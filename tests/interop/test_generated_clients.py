"""Clients that other makers' tools generate from the OpenAPI document: they compile, and they call."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import pytest

from tests.interop.conftest import HERE, run
from tests.kit.documented_schemas import FILE
from tests.kit.stack import Stack


def check(out: str) -> None:
    """Check what each caller prints: the results of the same four calls."""
    shown = json.loads(out.splitlines()[-1])
    assert uuid.UUID(shown.pop("trigger_id"))
    assert shown == {"external_id": "u-1", "fields": ["user.email"], "index": 0}


def keys(stack: Stack) -> dict[str, str]:
    return {"CLARION_TARGET": stack.url, "CLARION_API_KEY": stack.key}


@pytest.fixture(scope="module")
async def built(node: Path, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with generated and compiled TypeScript."""
    folder = shutil.copytree(HERE / "typescript", tmp_path_factory.mktemp("typescript") / "callers")
    shutil.copy(HERE / "package.json", folder)
    (folder / "node_modules").symlink_to(node / "node_modules")
    tool = node / "node_modules/.bin"
    await run(tool / "openapi-typescript", FILE, "-o", "openapi.ts", folder=folder)
    output = {"target": "generated.ts", "client": "fetch", "baseUrl": stack.url}
    settings = {"clarion": {"input": str(FILE), "output": output}}
    (folder / "orval.config.cjs").write_text(f"module.exports = {json.dumps(settings)};")
    await run(tool / "orval", "--config", "orval.config.cjs", folder=folder)
    await run(tool / "tsc", "-p", ".", folder=folder)
    return folder / "built"


@pytest.mark.parametrize("caller", ["fetch.js", "orval.js"])
async def test_typescript(built: Path, stack: Stack, caller: str) -> None:
    check(await run("node", caller, folder=built, env=keys(stack)))


async def test_openapi_python_client(tools: Path, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"package_name_override": "generated"}))
    words = ("generate", "--meta", "none", "--path", FILE, "--config", "settings.json")
    generator = tools / "openapi-python-client"
    path = f"{tools}:/usr/bin:/bin"  # it formats with ruff
    out = await run(generator, *words, "--fail-on-warning", folder=tmp_path, env={"PATH": path})
    assert "WARNING" not in out.upper()
    shutil.copy(HERE / "python/client.py", tmp_path)
    check(await run(tools / "python", "client.py", folder=tmp_path, env=keys(stack)))


async def test_datamodel_codegen(tools: Path, stack: Stack, tmp_path: Path) -> None:
    kinds = ("--input-file-type", "openapi", "--output-model-type", "pydantic_v2.BaseModel")
    generator = tools / "datamodel-codegen"
    await run(generator, "--input", FILE, *kinds, "--output", "generated_models.py", folder=tmp_path)
    shutil.copy(HERE / "python/models.py", tmp_path)
    check(await run(tools / "python", "models.py", folder=tmp_path, env=keys(stack)))
