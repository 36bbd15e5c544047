from __future__ import annotations

import email
import email.policy
import json
import os
import resource
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from server.channels.base import Message
from server.channels.email_message import Email
from server.channels.push import Push
from server.channels.text import Text
from server.dispatcher.providers import build
from server.dispatcher.providers.base import Provider
from server.domain.campaign import Channel
from server.domain.delivery_errors import Verdict
from server.errors import ConfigError
from tests.kit.verdicts import raises

ID = uuid.UUID("0197a1b2-0000-7000-8000-000000000001")
EMAIL = Email(
    ID, f"<{ID}@clarion.example.com>", "Shop <shop@example.com>", "z@example.org", "Grüße", "Hallo", ""
)
TEXT = Text(ID, "+15550000000", "+15551234567", "Grüße 🎉")
PUSH = Push(ID, "device-1", "Grüße", "Hallo", {"campaign_id": "5"})


def sandbox(data_dir: Path, **settings: object) -> Provider:
    return build("box", {"type": "sandbox", **settings}, data_dir=data_dir)


async def test_an_email_becomes_an_eml_file(tmp_path: Path) -> None:
    message_id = await sandbox(tmp_path).send(EMAIL)
    file = tmp_path / "outbox" / "email" / f"{ID}.eml"
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert (mail["Subject"], mail["To"]) == ("Grüße", "z@example.org")
    assert message_id == file.name


@pytest.mark.parametrize("message", [EMAIL, TEXT, PUSH], ids=["email", "text", "push"])
async def test_no_copy_of_a_secret_is_written(tmp_path: Path, message: Message) -> None:
    await sandbox(tmp_path).send(replace(message, retain="none"))
    [file] = (tmp_path / "outbox" / message.channel).iterdir()
    if message is EMAIL:
        assert file.read_text("utf-8") == f"X-Trigger-ID: {ID}\nX-Retain: none\n\n"
    else:
        assert json.loads(file.read_text("utf-8")) == {"trigger_id": str(ID), "retain": "none"}


async def test_text_and_push_become_json(tmp_path: Path) -> None:
    provider = sandbox(tmp_path)
    for message in (TEXT, PUSH):
        await provider.send(message)
    text = json.loads((tmp_path / "outbox" / "text" / f"{ID}.json").read_text("utf-8"))
    push = json.loads((tmp_path / "outbox" / "push" / f"{ID}.json").read_text("utf-8"))
    assert text == {"trigger_id": str(ID), "sender": "+15550000000", "to": "+15551234567", "body": "Grüße 🎉"}
    assert (push["device_token"], push["title"], push["body"]) == ("device-1", "Grüße", "Hallo")
    assert push["data"] == {"campaign_id": "5"}


async def test_old_files_are_deleted(tmp_path: Path) -> None:
    provider = sandbox(tmp_path, keep=3600)
    old, new, other = (tmp_path / "outbox" / "email" / f"{name}.eml" for name in ("old", "new", "folder"))
    other.mkdir(parents=True)
    for path, age in ((old, 3700), (new, 3500)):
        path.write_bytes(b"")
        os.utime(path, (time.time() - age,) * 2)
    os.utime(other, (0, 0))
    await provider.send(EMAIL)
    await provider.aclose()
    assert sorted(path.name for path in other.parent.iterdir()) == sorted([f"{ID}.eml", new.name, other.name])


async def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    provider = sandbox(tmp_path, outbox="deep/er")
    for message in (EMAIL, TEXT, PUSH):
        await provider.send(message)
    made = list((tmp_path / "deep").rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}
    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700


async def test_a_duplicate_replaces_the_file(tmp_path: Path) -> None:
    provider = sandbox(tmp_path)
    await provider.send(TEXT)
    await provider.send(Text(ID, "", "+15551234567", "again"))
    (file,) = (tmp_path / "outbox" / "text").iterdir()
    assert json.loads(file.read_text())["body"] == "again"


async def test_a_deleted_folder_is_recreated(tmp_path: Path) -> None:
    provider = sandbox(tmp_path)
    await provider.send(TEXT)
    (tmp_path / "outbox").rename(tmp_path / "elsewhere")
    await provider.send(TEXT)
    assert (tmp_path / "outbox" / "text" / f"{ID}.json").is_file()


@pytest.mark.parametrize("message", [EMAIL, TEXT, PUSH])
async def test_an_unwritable_outbox_is_transient(tmp_path: Path, message: Message) -> None:
    (tmp_path / "outbox").write_text("a file, no folder")
    with raises(Verdict.PROVIDER_DOWN, match=r"cannot write to the outbox .*: Not a directory"):
        await sandbox(tmp_path).send(message)


async def test_a_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    provider = sandbox(tmp_path)
    await provider.send(TEXT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with raises(Verdict.PROVIDER_DOWN, match=r"cannot write to the outbox .*: File too large"):
            await provider.send(Text(uuid.uuid4(), "", "+15551234567", "longer than ten bytes"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(list((tmp_path / "outbox" / "text").iterdir())) == 1


async def test_a_header_injection_is_rejected(tmp_path: Path) -> None:
    bad = Email(ID, EMAIL.message_id, EMAIL.sender, "z@example.org\r\nBcc: x@example.net", "s", "t", "")
    with raises(Verdict.NEVER):
        await sandbox(tmp_path).send(bad)


def test_the_sandbox_delivers_all_channels(tmp_path: Path) -> None:
    provider = sandbox(tmp_path, concurrency=3)
    assert provider.channels == frozenset(Channel)
    assert (provider.name, provider.concurrency) == ("box", 3)


def test_an_invalid_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"providers\.box\.folder: is not a setting"):
        sandbox(tmp_path, folder="x")
