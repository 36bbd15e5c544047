"""`clarion up --demo`: every way in, every channel, and a clean end."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import os
import re
import shlex
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import pytest

from clarion.v1 import delivery_pb2, delivery_pb2_grpc, trigger_pb2_grpc
from clarion.v1 import trigger_pb2 as pb
from lab.errors import LabError
from tests.kit.commands import clarion
from tests.kit.http_client import http_client
from tests.kit.processes import assert_nothing_left, process_tree
from tests.kit.smtp_servers import MailServer
from tests.kit.stack import PORTAL, Stack, client, free_port, stub
from tests.kit.triggers import accepted, delivery_in_state, post, trigger_id
from tests.kit.until import until

SNOWFLAKE = 9007199254740993123  # 19 digits; a double would make another number of it


@pytest.fixture(scope="module")
async def typed(demo: Stack) -> AsyncIterator[trigger_pb2_grpc.TriggerServiceStub]:
    channel, service = stub(demo.target)
    async with channel:
        yield service


async def test_rest_trigger_becomes_an_exact_email(demo: Stack, rest: httpx.AsyncClient) -> None:
    number = await accepted(rest, event={"order_id": SNOWFLAKE, "random_field": "grüße"})
    content = (await demo.delivered("email", number)).read_bytes()

    mail = email.message_from_bytes(content, policy=email.policy.default)

    assert mail["to"] == "someone@e2e.example"
    assert mail["from"] == "Clarion Demo <hello@clarion.example>"
    assert mail["subject"].startswith("Welcome, user-")
    assert number in mail["message-id"]
    assert mail["date"].datetime.tzinfo is not None
    assert mail["mime-version"] == "1.0"
    assert not mail.defects
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        assert str(SNOWFLAKE) in part.get_content()
        assert "grüße" in part.get_content()


async def test_rest_trigger_becomes_a_text_message(demo: Stack, rest: httpx.AsyncClient) -> None:
    number = await accepted(rest, "text", event={"code": SNOWFLAKE})

    message = json.loads((await demo.delivered("text", number)).read_text())

    assert message["to"] == "+12025550123"
    assert message["body"] == f"Your code is {SNOWFLAKE}."


async def test_rest_trigger_becomes_a_push_notification(demo: Stack, rest: httpx.AsyncClient) -> None:
    number = await accepted(rest, "push", event={"headline": "It works"})

    message = json.loads((await demo.delivered("push", number)).read_text())

    assert message["device_token"] == "device-token-of-e2e"
    assert message["body"] == "It works"
    assert message["title"].startswith("News for user-")


async def test_typed_calls_reach_every_channel(
    demo: Stack, typed: trigger_pb2_grpc.TriggerServiceStub
) -> None:
    event, key = json.dumps({"order_id": SNOWFLAKE}), demo.metadata()
    to_mail = pb.EmailUser(external_id="typed", email="typed@e2e.example")
    to_phone = pb.TextUser(external_id="typed", phone="+12025550124")
    to_device = pb.PushUser(external_id="typed", device_token="typed-token")

    mail = await typed.TriggerEmail(
        pb.TriggerEmailRequest(campaign_id=44, user=to_mail, event=event), metadata=key, timeout=60
    )
    text = await typed.TriggerText(
        pb.TriggerTextRequest(campaign_id=45, user=to_phone, event=event), metadata=key, timeout=60
    )
    push = await typed.TriggerPush(
        pb.TriggerPushRequest(campaign_id=46, user=to_device, event=event), metadata=key, timeout=60
    )

    assert str(SNOWFLAKE) in (await demo.delivered("email", mail.trigger_id)).read_text()
    assert "+12025550124" in (await demo.delivered("text", text.trigger_id)).read_text()
    assert "typed-token" in (await demo.delivered("push", push.trigger_id)).read_text()


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ("email", ("44", "--email", "cli@e2e.example", "--event", f'{{"order_id": {SNOWFLAKE}}}')),
        ("text", ("45", "--phone", "+12025550125", "--locale", "es")),
        ("push", ("46", "--device-token", "cli-token", "--external-id", "by-hand")),
    ],
)
async def test_trigger_command_reaches_every_channel(
    demo: Stack, channel: str, words: tuple[str, ...]
) -> None:
    done = await clarion(demo.folder, "trigger", *words)

    assert (done.code, done.err) == (0, "")
    content = (await demo.delivered(channel, done.out.strip())).read_text()
    assert {"email": str(SNOWFLAKE), "text": "Tu código", "push": "by-hand"}[channel] in content


async def test_printed_curl_command_works(demo: Stack) -> None:
    said_all = "".join(demo.output)
    start = said_all.index("curl ")
    line = said_all[start : said_all.index("\n\n", start)]
    assert demo.key in line

    if shutil.which("curl"):
        shell = await asyncio.create_subprocess_exec("bash", "-c", line, stdout=asyncio.subprocess.PIPE)
        out, _ = await asyncio.wait_for(shell.communicate(), 60)
        head = out.decode()
        assert head.startswith("HTTP/1.1 204 ")
        found = re.search(r"^x-trigger-id: (\S+)\r?$", head, re.MULTILINE)
        assert found
        number = found[1]
    else:
        number = trigger_id(await _by_httpx(shlex.split(line)))
    assert "Subject: Welcome, EXTERNAL_ID!" in (await demo.delivered("email", number)).read_text()


async def _by_httpx(words: list[str]) -> httpx.Response:
    url = next(word for word in words if word.startswith("http"))
    headers = dict(words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H")
    async with http_client() as session:
        return await session.post(url, headers=headers, content=words[words.index("-d") + 1])


async def test_delivery_is_shown_by_command_rest_and_grpc(demo: Stack, rest: httpx.AsyncClient) -> None:
    number = await accepted(rest, "text")
    await demo.delivered("text", number)

    by_rest = await delivery_in_state(rest, number)
    shown = await clarion(demo.folder, "deliveries", "show", number)
    as_json = json.loads((await clarion(demo.folder, "deliveries", "show", number, "--json")).out)
    async with grpc.aio.insecure_channel(demo.target) as channel:
        service = delivery_pb2_grpc.DeliveryServiceStub(channel)
        request = delivery_pb2.GetDeliveryRequest(trigger_id=number)
        by_grpc = await service.GetDelivery(request, metadata=demo.metadata(), timeout=60)

    assert by_rest["state"] == "delivered"
    assert [one["outcome"] for one in by_rest["attempts"]] == ["delivered"]
    assert by_grpc.delivery.state == delivery_pb2.DELIVERY_STATE_DELIVERED
    assert (as_json["summary"]["state"], as_json["summary"]["campaign_id"], len(as_json["attempts"])) == (
        "delivered",
        45,
        1,
    )
    assert shown.out.startswith("delivered: campaign 45 (text) for user-")
    assert "attempt 1: " in shown.out


async def test_smtp_needs_only_configuration(demo: Stack, mail: MailServer) -> None:
    file = demo.folder / "letters.yaml"
    file.write_text(_LETTERS.format(provider="sandbox"))
    assert "created" in (await clarion(demo.folder, "campaigns", "apply", file.name)).out
    made = await clarion(demo.folder, "keys", "create", "--project", "letters", "--name", "e2e")
    file.write_text(_LETTERS.format(provider="smtp"))
    applied = await clarion(demo.folder, "campaigns", "apply", file.name)
    assert "changed" in applied.out, applied.err

    async with client(demo) as session:
        session.headers.update(demo.headers(made.out.strip()))
        await demo.until_in_force()
        number = await accepted(session, campaign=7, event={"order_id": SNOWFLAKE})
    await until(lambda: any(number in m["message-id"] for m in mail.mails), "a mail over SMTP")

    letter = next(m for m in mail.mails if number in m["message-id"])
    assert letter["to"] == "someone@e2e.example"
    assert f"Order {SNOWFLAKE}" in letter.as_string()
    assert "someone@e2e.example" in mail.recipients
    assert "letters@clarion.example" in mail.senders
    assert not (demo.data / "outbox" / "email" / f"{number}.eml").exists()


_LETTERS = """
project: letters
campaigns:
  - id: 7
    name: Letters
    channel: email
    provider: {provider}
    sender: Letters <letters@clarion.example>
    templates:
      default:
        subject: A letter
        text: Order {{{{ event.order_id }}}}
"""


@pytest.mark.long
async def test_signals_stop_everything_and_data_stays(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "again", free_port(), PORTAL, first_start=True)
    try:
        await stack.start()
        key, number = stack.key, await _trigger_one(stack)
        paused = stack.campaigns.read_text().replace("state: active", "state: paused", 1)
        (stack.folder / "campaigns.yaml").write_text(paused)
        applied = await clarion(stack.folder, "campaigns", "apply", "campaigns.yaml", "--json")
        assert json.loads(applied.out)["44"] == "changed"
        await _interrupt(stack)

        await stack.start()

        assert stack.key == key
        assert any(key in line for line in stack.output)
        async with client(stack) as session:
            session.headers.update(stack.headers(key))
            found = (await session.get(f"/api/client/deliveries/{number}")).json()
            assert found["delivery"]["state"] == "delivered"
            assert (await post(session)).status_code == 422  # still paused: --demo overwrites nothing
            await stack.delivered("text", await accepted(session, "text"))
        await _terminate_under_load(stack)
    finally:
        await stack.stop()


async def _interrupt(stack: Stack) -> None:
    """Stop a stack as Ctrl-C in a terminal does, which reaches the whole group; check that all ends."""
    processes = process_tree(stack)
    assert stack.process is not None
    os.killpg(stack.process.pid, signal.SIGINT)
    assert await stack.stop(signal.SIGCONT) == 0
    await assert_nothing_left(stack, processes)


async def _terminate_under_load(stack: Stack) -> None:
    """Stop a stack by SIGTERM while it is called; check that all ends."""
    processes = process_tree(stack)
    assert len(processes) > 5
    async with client(stack) as session:
        session.headers.update(stack.headers())
        load = [asyncio.create_task(post(session, "text")) for _ in range(50)]
        await accepted(session, "text")
        assert await stack.stop(signal.SIGTERM) == 0
        await asyncio.gather(*load, return_exceptions=True)
    await assert_nothing_left(stack, processes)


async def _trigger_one(stack: Stack) -> str:
    async with client(stack) as session:
        session.headers.update(stack.headers())
        number = await accepted(session)
        await stack.delivered("email", number)
        await delivery_in_state(session, number)
    return number


async def test_ctrl_c_during_the_first_start_stops_everything(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "early", free_port(), PORTAL, first_start=True)
    starting = asyncio.create_task(stack.start())
    try:
        await stack.until_printed("creating the database cluster")
        processes = process_tree(stack)
        code = await stack.stop(signal.SIGINT)
    finally:
        with pytest.raises(LabError, match="ended without printing"):
            await starting

    assert code == 0
    await assert_nothing_left(stack, processes)


@pytest.mark.long
async def test_folder_name_may_be_long_with_spaces_and_quotes(tmp_path: Path) -> None:
    stack = Stack(tmp_path / 'it\'s "quoted" & spaced; $HOME %41,ü' / ("long-" * 40), free_port(), PORTAL)
    try:
        await stack.start()
        processes = process_tree(stack)
        await _trigger_one(stack)
        listed = await clarion(stack.folder, "campaigns", "list")
        assert "Welcome by email" in listed.out, listed.err
    finally:
        await stack.stop()
    await assert_nothing_left(stack, processes)
