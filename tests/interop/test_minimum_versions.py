"""The client's wheel with the lowest versions that its metadata allows."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.interop.conftest import INSTALLING, UV, run
from tests.kit.stack import Stack

ROOT = Path(__file__).parents[2]
CALL = """
import os
from clarion_client import Client
with Client(os.environ["CLARION_TARGET"], os.environ["CLARION_API_KEY"], timeout=30) as clarion:
    print(clarion.trigger_email(44, external_id="u-1", email="ada@example.com").trigger_id)
"""


def wheel_in(folder: Path) -> Path:
    [wheel] = folder.glob("*.whl")
    return wheel


async def test_client_runs_with_minimum_versions(stack: Stack, tmp_path: Path) -> None:
    build = ("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    await run(sys.executable, *build, folder=ROOT / "client")
    await run(UV, "venv", "--quiet", "--python", sys.executable, "venv", folder=tmp_path)
    install = ("pip", "install", "--quiet", "--python", "venv/bin/python", "--resolution", "lowest-direct")
    await run(UV, *install, wheel_in(tmp_path), folder=tmp_path, seconds=INSTALLING)
    env = {"CLARION_TARGET": stack.url, "CLARION_API_KEY": stack.key}
    call = (tmp_path / "venv/bin/python", "-W", "error::UserWarning", "-c", CALL)
    out = await run(*call, folder=tmp_path, env=env)
    await stack.delivered("email", out.strip())
