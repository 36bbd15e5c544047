"""Adding a channel: the steps in CONTRIBUTING.md, taken in a copy that then delivers its triggers."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.kit.stack import Stack, free_port

ROOT = Path(__file__).parents[2]
PARTS = ("server", "gateway", "protos", "client", "docs")
MAX_FILES = 7

CHANNEL_MODULE = '''
"""Chat messages: their address is a handle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from ..domain.campaign import Campaign, Channel
from ..domain.trigger import Trigger
from .base import Address, ChannelSpec, Message

_HANDLE = re.compile("[a-z_]{3,32}")


@dataclass(frozen=True, slots=True, repr=False)
class Chat(Message):
    """A chat message."""

    channel: ClassVar[Channel] = Channel.CHAT

    handle: str
    body: str

    @classmethod
    def build(cls, campaign: Campaign, trigger: Trigger, parts: Mapping[str, str]) -> Self:
        return cls(trigger.id, trigger.address, parts["text"].strip())


CHANNEL = ChannelSpec(
    name=Channel.CHAT,
    noun="chat message",
    address=Address(
        field="handle",
        sample="ada_lovelace",
        is_plain=lambda handle: _HANDLE.fullmatch(handle) is not None,
        problem=lambda handle: None if _HANDLE.fullmatch(handle) else "is not a handle",
    ),
    parts=("text",),
    message=Chat,
)
'''
CAMPAIGN = """
  - id: 47
    name: News by chat
    channel: chat
    provider: sandbox
    templates:
      default:
        text: "Hello {{ user.handle }}."
"""
CLIENT_MESSAGE = '''
@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(Message):
    """A chat message."""

    handle: str = field(repr=False)


class Options('''

pytestmark = pytest.mark.timeout(180)


class Scratch:
    """A copy of the product that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed: set[str] = set()
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)

    def replace(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        self.changed.add(name)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")
        self.changed.add(name)

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(str(self.folder / part) for part in ("", "protos", "client"))
        return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def build(self) -> None:
        """Do what `make proto` does."""
        for words, folder in ((["protos/build.py"], ""), (["-m", "generate"], "protos")):
            at = self.folder / folder
            subprocess.run([sys.executable, *words], cwd=at, env=self.environment, check=True)

    def python(self, code: str) -> str:
        words = [sys.executable, "-c", code]
        run = subprocess.run(words, env=self.environment, cwd=self.folder, capture_output=True, check=True)
        return run.stdout.decode()


@dataclasses.dataclass
class ScratchStack(Stack):
    """A `clarion up` of the copy."""

    python_path: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "PYTHONPATH": self.python_path}


def add_chat(scratch: Scratch) -> None:
    """Add the channel `chat` by the steps in CONTRIBUTING.md."""
    scratch.replace(
        "server/domain/campaign.py", '    PUSH = "push"\n', '    PUSH = "push"\n    CHAT = "chat"\n'
    )
    scratch.write("server/channels/chat.py", CHANNEL_MODULE)
    value = "  CHANNEL_PUSH = 3;\n"
    scratch.replace(
        "protos/clarion/v1/campaign.proto",
        value,
        f"{value}  // CHANNEL_CHAT sends chat messages to `user.handle`.\n  CHANNEL_CHAT = 4;\n",
    )
    protos = "protos/clarion/v1/trigger.proto"
    text = scratch.text(protos)
    rpc = "  rpc TriggerPush(TriggerPushRequest) returns (TriggerPushResponse) {}\n"
    scratch.replace(
        protos, rpc, f"{rpc}\n  // TriggerChat sends a chat campaign to one user.\n{_as_chat(rpc)}"
    )
    start, end = text.index("// TriggerPushRequest"), text.index("// TriggerCampaignRequest")
    scratch.replace(protos, text[start:end], text[start:end] + _as_chat(text[start:end]))
    member = "    TriggerPushRequest push = 3;\n"
    scratch.replace(
        protos, member, f"{member}    // chat is one chat message.\n    TriggerChatRequest chat = 4;\n"
    )
    campaigns = "server/up/demo/campaigns.yaml"
    scratch.write(campaigns, scratch.text(campaigns).rstrip() + "\n" + CAMPAIGN)
    scratch.replace("client/clarion_client/messages.py", "\nclass Options(", CLIENT_MESSAGE)


def _as_chat(text: str) -> str:
    """Return the protos of push notifications as those of chat messages."""
    return (
        text.replace("Push", "Chat").replace("device_token", "handle").replace("DEVICE_TOKEN", "ada_lovelace")
    )


async def test_adding_a_channel_takes_few_files(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    add_chat(scratch)
    assert len(scratch.changed) <= MAX_FILES
    scratch.build()
    stack = ScratchStack(
        tmp_path / "stack",
        free_port(),
        campaigns=scratch.folder / "server/up/demo/campaigns.yaml",
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
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers()) as http:
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
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers()) as http:
        for address in ({"handle": "NOT A HANDLE"}, {"phone": "+12345678900"}):
            user = {"external_id": "u-1", **address}
            answer = await http.post("/api/client/campaigns/47/trigger", json={"user": user})
            assert answer.status_code == 422
            assert "user.handle" in answer.text
