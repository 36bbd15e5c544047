"""Webhooks from the command to the receiver: the how-to's example, run exactly as printed."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from clarion.admin.v1 import webhook_pb2 as pb
from server.cli import cli
from server.commands.webhook_log import next_attempt
from server.dispatcher.webhooks.signing import signed_headers
from server.errors import ConfigError
from tests.kit.commands import clarion
from tests.kit.http_client import http_client
from tests.kit.processes import is_listened_on
from tests.kit.stack import Stack, free_port
from tests.kit.triggers import accepted
from tests.kit.until import TIMEOUT, until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "receive-webhooks.md"


def on_page(pattern: str) -> str:
    """Return the only match on the page."""
    [found] = re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def saved(folder: Path) -> Path:
    """Save the page's receiver."""
    path = folder / "receiver.py"
    path.write_text(on_page(r"```python\n(.*?)```"), encoding="utf-8")
    return path


@asynccontextmanager
async def receiver(folder: Path, port: int, secret: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run the page's receiver during the block, next to a silent connection; yield what it prints."""
    saved(folder)
    env = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "receiver.py",
        cwd=folder,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=(folder / "errors").open("wb"),
    )
    try:
        await until(lambda: is_listened_on(port), "the receiver listens")
        assert process.stdout
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        yield process.stdout
        silent.close()
    finally:
        process.kill()
        await process.wait()


async def status_of(port: int, request: str) -> str:
    """Send this; return the answer's status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    async with asyncio.timeout(60):
        status = (await reader.readline()).decode().split()[1]
    writer.close()
    return status


@pytest.mark.parametrize("secret", [None, "", "whsec_", "whsec_…", "whsec_c2hvcnQ=", "not base64"])
def test_example_receiver_rejects_an_invalid_secret(tmp_path: Path, secret: str | None) -> None:
    env = {} if secret is None else {"WEBHOOK_SECRET": secret}
    done = subprocess.run(
        [sys.executable, "-S", str(saved(tmp_path))], env=env, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch("WEBHOOK_SECRET: set it to .*\n", done.stderr.decode())


def invoked(demo: Stack, *words: str) -> Result:
    """Run a command in this process, on the stack's database: that takes a tenth of the time."""
    env = {"CLARION_DATA_DIR": str(demo.data), "CLARION_WEBHOOKS_ALLOW": "127.0.0.0/8"}
    return CliRunner().invoke(cli, ["webhooks", *words], env=env)


async def shown(demo: Stack, *words: str) -> Any:
    """Run a command with --json; return what it shows."""
    done = await asyncio.to_thread(invoked, demo, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def until_said(printed: asyncio.StreamReader, line: str) -> list[str]:
    """Return the lines until this one. Messages of earlier tests may arrive in between."""
    lines: list[str] = []
    async with asyncio.timeout(TIMEOUT):
        while line not in lines:
            lines.append((await printed.readline()).decode().strip())
    return lines


async def test_example_receiver_accepts_only_signed_messages(
    demo: Stack, rest: httpx.AsyncClient, tmp_path: Path
) -> None:
    port = free_port()
    command = on_page(r"\$\(\.venv/bin/clarion (.*?)\)").replace(":9000/events", f":{port}/events?token=hush")
    url = command.split()[-1]
    created = await clarion(demo.folder, *command.split(), "--json", CLARION_WEBHOOKS_ALLOW="127.0.0.0/8")
    assert created.code == 0, created.err
    made = json.loads(created.out)
    async with (
        receiver(tmp_path, port, made["secret"]) as printed,
        http_client() as other,
    ):
        number = await accepted(rest)
        await until_said(printed, f"trigger.delivered {number}")

        async def deliver(body: bytes, at: float, secret: str = made["secret"], message: str = "m-1") -> int:
            headers = signed_headers(message, int(at), body, [secret])
            return (await other.post(url, headers=dict(headers), content=body)).status_code

        body, now = b'{"type": "trigger.dead", "data": {"trigger_id": "t-1"}}', time.time()
        assert await deliver(body, now, "whsec_Zm9yZ2Vk") == 401
        assert await deliver(body, now - 310) == 401
        assert await deliver(body, now + 400) == 401  # on a busy machine, some seconds pass until it is read
        assert (await other.post(url, content=body)).status_code == 401
        for length in ("abc", "-1", "9" * 5000, "1048577"):
            assert await status_of(port, f"POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n") == "400"
        assert [await deliver(body, now) for _ in range(3)] == [204] * 3
        assert await deliver(body, now, message="m-2") == 204
        last = b'{"type": "trigger.dead", "data": {"trigger_id": "t-2"}}'
        assert await deliver(last, now, message="m-3") == 204
        # One line for each of the two messages: rejected and repeated messages printed none.
        assert (await until_said(printed, "trigger.dead t-2")).count("trigger.dead t-1") == 2

        rotated = await shown(demo, "rotate", made["webhook_id"])
        await asyncio.to_thread(invoked, demo, "test", made["webhook_id"])
        await until_said(printed, "webhook.test None")  # the old secret still signs
    assert rotated["secret"] != made["secret"]
    await check_lists(demo, made, number)
    assert (
        await asyncio.to_thread(invoked, demo, "delete", made["webhook_id"])
    ).output == f"deleted {made['webhook_id']}\n"


async def check_lists(demo: Stack, made: dict[str, Any], number: str) -> None:
    """Check what the log and the list say of the endpoint, and that nothing says its secrets."""
    logged = await shown(demo, "log", made["webhook_id"])
    found = {one["trigger_id"]: one for one in logged}
    assert (found[number]["type"], found[""]["type"]) == ("trigger.delivered", "webhook.test")
    for one in (found[number], found[""]):
        [attempt] = one["webhook_attempts"]
        assert (one["message_state"], attempt["status"], attempt["number"]) == ("delivered", 204, 1)
    [listed] = [
        one
        for one in await shown(demo, "list", "--project", "demo")
        if one["webhook_id"] == made["webhook_id"]
    ]
    assert (listed["url"], listed["state"], len(listed["events"])) == (made["url"], "active", 4)
    assert "whsec" not in json.dumps([listed, logged])
    for text in (demo.log("dispatcher"), demo.log("server-0")):
        assert "hush" not in text
        assert "whsec" not in text


@pytest.mark.parametrize(
    ("project", "url", "problem"),
    [
        (
            "demo",
            "ftp://user:pw@8.8.8.8/#x",
            r"url: must start with https:// .*; must not contain a user name .*; must not have a",
        ),
        (
            "demo",
            "https://10.1.2.3/",
            r"url: 10\.1\.2\.3 is not a public address; to allow it, .* \(CLARION_WEBHOOKS_ALLOW",
        ),
        (
            "unknown",
            "https://8.8.8.8/",
            r"project unknown is missing; `clarion projects list` shows what exists",
        ),
    ],
)
def test_invalid_endpoint_is_rejected(demo: Stack, project: str, url: str, problem: str) -> None:
    done = invoked(demo, "create", "--project", project, "--url", url)
    assert isinstance(done.exception, ConfigError)
    assert re.match(problem, str(done.exception))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ("rotate", "ID", "--overlap", "soon"),
            "'soon' is not a duration; use a form such as 90s, 30m, 24h or 7d",
        ),
        (("rotate", "ID", "--overlap", "31d"), "'31d' is too long; the maximum is 30d"),
        (("create", "--project", "p", "--url", "u", "--event", "x"), "'x' is not one of 'trigger.delivered'"),
        (("log", "x"), "'x' is not a valid UUID"),
    ],
)
def test_invalid_option_is_rejected(words: tuple[str, ...], problem: str) -> None:
    given = [str(uuid.uuid4()) if word == "ID" else word for word in words]
    done = CliRunner().invoke(cli, ["webhooks", *given])
    assert done.exit_code == 2
    assert problem in done.output


@pytest.mark.parametrize("words", [(), (str(uuid.uuid4()), "--all-failed", str(uuid.uuid4()))])
def test_retry_needs_messages_or_an_endpoint(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, ["webhooks", "retry", *words])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("give either message IDs, or --all-failed")


@pytest.mark.parametrize(
    "words",
    ["rotate", "disable", "enable", "delete", "test", "log", "log --failed", "retry --all-failed"],
)
def test_unknown_endpoint_is_named(demo: Stack, words: str) -> None:
    number = str(uuid.uuid4())
    done = invoked(demo, *words.split(), number)
    assert isinstance(done.exception, ConfigError)
    assert f"endpoint {number} is missing; `clarion webhooks list` shows what exists" in str(done.exception)


def test_message_that_cannot_be_retried_is_named(demo: Stack) -> None:
    number = str(uuid.uuid4())
    done = invoked(demo, "retry", number)
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith(f"message {number} is not retried; only failed messages")


def test_disabled_endpoint_suggests_enabling_it(demo: Stack) -> None:
    made = json.loads(
        invoked(demo, "create", "--project", "demo", "--url", "http://127.0.0.1:1/", "--json").stdout
    )
    invoked(demo, "disable", made["webhook_id"])
    said = f"Endpoint {made['webhook_id']} is disabled (by hand); enable it first."
    assert str(invoked(demo, "test", made["webhook_id"]).exception) == said
    assert str(invoked(demo, "retry", "--all-failed", made["webhook_id"]).exception) == said
    assert invoked(demo, "log", made["webhook_id"]).output == "No webhook messages found.\n"
    invoked(demo, "delete", made["webhook_id"])


def test_log_shows_the_next_attempt() -> None:
    one = pb.WebhookMessage()
    assert next_attempt(one) is None
    one.next_attempt_time.FromDatetime(dt.datetime.now(dt.UTC))
    assert next_attempt(one) == "due"
    one.next_attempt_time.FromDatetime(dt.datetime(9999, 1, 1, tzinfo=dt.UTC))
    assert next_attempt(one) == "9999-01-01T00:00:00+00:00"
