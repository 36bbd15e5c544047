"""The documented shell script, run with bash and curl against a running stack."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.kit.commands import Result, run_program
from tests.kit.stack import Stack
from tests.kit.triggers import CHANNELS

pytestmark = [
    pytest.mark.xdist_group("demo"),
    pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed"),
    pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed"),
]

SCRIPT = Path(__file__).parents[1] / "clients/trigger.sh"
TOOLS = ("bash", "cat", "curl", "mktemp", "rm", "sed", "tr")


async def script(stack: Stack, *words: str, **env: str) -> Result:
    """Run the script against a stack."""
    known = {"PATH": os.environ["PATH"], "CLARION_TARGET": stack.url, "CLARION_API_KEY": stack.key}
    return await run_program(SCRIPT, *words, folder=SCRIPT.parent, env={**known, **env})


async def test_script_triggers_all_channels(demo: Stack) -> None:
    done = await script(demo)

    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) == 3
    for line, channel in zip(lines, CHANNELS, strict=True):
        status, number = line.split()
        assert status == "204"
        await demo.delivered(channel, number)


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
async def test_script_shows_each_violation(demo: Stack) -> None:
    done = await script(demo, "44", '{"user": {"email": "x", "timezone": "Mars/Base"}}')

    assert (done.code, done.err) == (1, "")
    first, *violations = done.out.splitlines()
    assert first == "422 INVALID_REQUEST"
    found = [re.fullmatch(r"  (\S+): .+ \(([A-Z_]+)\)", line) for line in violations]
    assert sorted(one.groups() for one in found if one) == [
        ("user.email", "INVALID_FORMAT"),
        ("user.external_id", "REQUIRED"),
        ("user.timezone", "UNKNOWN_VALUE"),
    ]


async def test_script_without_jq_shows_the_raw_response(demo: Stack, tmp_path: Path) -> None:
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)

    done = await script(demo, "999", '{"user": {}}', PATH=str(tmp_path))

    assert (done.code, done.err) == (1, "")
    status, body = done.out.split(" ", 1)
    assert status == "404"
    assert json.loads(body)["details"][0]["reason"] == "CAMPAIGN_NOT_FOUND"


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
async def test_script_does_not_show_an_invalid_key(demo: Stack) -> None:
    key = "sk_00000000-0000-4000-8000-000000000000"

    done = await script(demo, CLARION_API_KEY=key)

    assert (done.code, done.out, done.err) == (1, "401 CREDENTIALS_INVALID\n", "")


async def test_script_needs_a_key(demo: Stack) -> None:
    done = await script(demo, CLARION_API_KEY="")

    assert done.code != 0
    assert "CLARION_API_KEY" in done.err
