"""Adding a channel: the steps of docs/how-to/add-a-channel.md in a copy that then delivers its triggers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.http_client import http_client
from tests.kit.scratch import Scratch, ScratchStack
from tests.kit.stack import Stack, free_port

PAGE = "docs/how-to/add-a-channel.md"
MAX_FILES = 7


@pytest.mark.long
async def test_adding_a_channel_takes_few_files(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    changed = scratch.follow(PAGE, "## Steps")
    assert len(changed) <= MAX_FILES, changed
    scratch.build()
    stack = ScratchStack(
        tmp_path / "stack",
        free_port(),
        python_path=scratch.environment["PYTHONPATH"],
    )
    try:
        await stack.start()
        await _is_delivered(stack)
        await _is_explained(stack)
    finally:
        await stack.stop()
    client = "from clarion_client.messages import Chat; print(Chat(47, external_id='u', handle='ada'))"
    assert "Chat(campaign_id=47" in scratch.python(client)


async def _is_delivered(stack: Stack) -> None:
    """Trigger over REST, in a batch and over gRPC; each is written to the outbox."""
    user = {"external_id": "u-1", "handle": "ada_lovelace"}
    async with http_client(stack.url, headers=stack.headers()) as http:
        answer = await http.post("/api/client/campaigns/47/trigger", json={"user": user})
        assert answer.status_code == 204, answer.text
        items = {"triggers": [{"campaign_id": 47, "user": user}]}
        batch = (await http.post("/api/client/triggers:batch", json=items)).json()
    options = ("--handle", "ada_lovelace", "--target", stack.target)
    code, typed, problem = await stack.run("trigger", "47", *options)
    assert code == 0, problem
    for trigger_id in (answer.headers["x-trigger-id"], batch["outcomes"][0]["trigger_id"], typed.strip()):
        message = json.loads((await stack.delivered("chat", trigger_id)).read_bytes())
        assert (message["handle"], message["body"]) == ("ada_lovelace", "Hello ada_lovelace.")


async def _is_explained(stack: Stack) -> None:
    """A wrong address, and one of another channel, get their violations."""
    async with http_client(stack.url, headers=stack.headers()) as http:
        for address in ({"handle": "NOT A HANDLE"}, {"phone": "+12345678900"}):
            user = {"external_id": "u-1", **address}
            answer = await http.post("/api/client/campaigns/47/trigger", json={"user": user})
            assert answer.status_code == 422
            assert "user.handle" in answer.text
