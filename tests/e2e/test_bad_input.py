"""Faults of users, templates and providers end in a state that `clarion deliveries show` explains."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest
import tomlkit
from click.testing import CliRunner

from server.cli import cli
from tests.kit.http_api import Api, Reply, http_api
from tests.kit.http_client import PATIENCE
from tests.kit.smtp_servers import GREETING, OK, MailServer, converse, mail_server, scripted_server
from tests.kit.stack import Stack, client, running_stack
from tests.kit.triggers import accepted
from tests.kit.until import until

# The tests of providers and templates are the short form.
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("bad input")]
SHORT = 2.0
"""Seconds until a provider that does not answer is given up: enough for a busy machine to get that far."""
IN_DOUBT = "in doubt: "
RETRY = {"max_attempts": 2, "first_delay": 0.0}
LARGE = "{% for i in (1..8000) %}{{ event.filler }}{% endfor %}"
NESTED = "{% for i in event.list %}{% for j in event.list %}x{% endfor %}{% endfor %}"
ENDLESS = "{% for i in (1..1000000000) %}x{% endfor %}"
CAMPAIGNS = {  # id: provider, text
    60: ("mail", "hello"),
    61: ("mail", LARGE),
    62: ("mail", NESTED),
    63: ("garbage", "hello"),
    64: ("babbling", "hello"),
    65: ("closing", "hello"),
    66: ("silent", "hello"),
    67: ("twilio", "hello"),
    68: ("mail", ENDLESS),
}


@dataclass(frozen=True, slots=True)
class System:
    """A stack, its providers, and a caller."""

    stack: Stack
    mail: MailServer
    twilio: Api
    rest: httpx.AsyncClient

    async def outcome(self, campaign: int, channel: str = "email", **body: object) -> list[str]:
        """Trigger; return what `clarion deliveries show` says once it has come to an end."""
        number = await accepted(self.rest, channel, campaign=campaign, **body)
        return await self.end_of(number)

    async def end_of(self, number: str) -> list[str]:
        async with self.stack.pool() as pool:

            async def ended() -> bool:
                return not await pool.fetchval("SELECT 1 FROM queue WHERE trigger_id = $1", number)

            await until(ended, f"delivery {number} has ended")
        return (await run(self.stack, "deliveries", "show", number)).splitlines()


async def run(stack: Stack, *words: str) -> str:
    """Run a command as `clarion` does, but in this process, and return what it says."""
    whole = ["--config", str(stack.config), *words]
    env = {"CLARION_DATA_DIR": str(stack.data)}
    done = await asyncio.to_thread(CliRunner().invoke, cli, whole, env=env)
    assert done.exit_code == 0, done.output
    return done.output


async def _says_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\x00\xff\r\n")
    await reader.read()


async def _babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await converse(reader, writer, b"RCPT")
    writer.write(b"\x00\xfe\xff no such thing as an answer\r\n")
    await reader.read()


async def _closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await converse(reader, writer, b"DATA")
    writer.write(b"354 Send the content\r\n")
    await reader.readline()


async def _is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GREETING)
    await reader.readline()
    writer.write(OK)
    await reader.read()


SCRIPTS = {"garbage": _says_garbage, "babbling": _babbles, "closing": _closes, "silent": _is_silent}


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with AsyncExitStack() as rest:
        mail = await rest.enter_async_context(mail_server())
        twilio = await rest.enter_async_context(http_api())
        ports = {
            name: await rest.enter_async_context(scripted_server(script)) for name, script in SCRIPTS.items()
        }
        account = {"account_sid": f"AC{'0' * 32}", "auth_token": "token", "from_number": "+12025550100"}
        providers = {
            "sandbox": {"type": "sandbox"},
            "twilio": {
                "type": "twilio",
                "url": twilio.url,
                "timeout": SHORT,
                "breaker_failures": 0,
                "in_doubt": "repeat",
                **account,
            },
            **{name: {**_smtp(port, PATIENCE), "in_doubt": "repeat"} for name, port in ports.items()},
            "silent": {**_smtp(ports["silent"], SHORT), "in_doubt": "repeat"},
            "mail": _smtp(mail.port, PATIENCE),
        }
        settings: dict[str, object] = {"providers": providers, "dispatch": {"poll_interval": 0.1}}
        folder = tmp_path_factory.mktemp("bad")
        stack = await rest.enter_async_context(running_stack(folder, settings))
        (folder / "campaigns.toml").write_text(tomlkit.dumps(_campaigns()))
        await run(stack, "campaigns", "apply", str(folder / "campaigns.toml"))
        session = await rest.enter_async_context(client(stack))
        session.headers.update(stack.headers())
        await stack.until_in_force()
        yield System(stack, mail, twilio, session)


def _smtp(port: int, timeout: float) -> dict[str, object]:
    return {"type": "smtp", "host": "127.0.0.1", "port": port, "security": "none", "timeout": timeout}


def _campaigns() -> dict[str, object]:
    return {"project": "demo", "campaigns": [_campaign(number) for number in CAMPAIGNS]}


def _campaign(number: int) -> dict[str, object]:
    provider, text = CAMPAIGNS[number]
    by_text = provider == "twilio"
    own = {"channel": "text"} if by_text else {"channel": "email", "sender": "a@clarion.example"}
    template = {"text": text} if by_text else {"subject": "s", "text": text}
    return {
        "id": number,
        "name": provider,
        "provider": provider,
        "retry": RETRY,
        "templates": {"default": template},
        **own,
    }


def ended(words: str, otherwise: str) -> str:
    """Return how an attempt's line ends: in doubt if the words say so."""
    return words if words.startswith(IN_DOUBT) else f"{otherwise}: {words}"


NOT_CALLED = "before a provider was called"


def attempt(line: str) -> str:
    """Return an attempt's line without times: `1 mail: delivered: …`."""
    version = "(?:, version 1 of the campaign)?"  # of what was rendered
    found = re.fullmatch(rf"attempt (\d+): \S+ (.+?){version}(: .*?) after \d+ ms(: .*)?", line)
    assert found, line
    return f"{found[1]} {found[2]}{found[3]}{found[4] or ''}"


async def test_rejected_address_is_suppressed(system: System) -> None:
    user = {"external_id": "gone", "email": "gone@e2e.example"}
    system.mail.to_rcpt.append("550 5.1.1 No such user here")
    head, _, only = await system.outcome(60, user=user)
    assert head == "dead: campaign 60 (email) for gone"
    assert attempt(only) == "1 mail: failed permanently: SMTP 550 5.1.1 No such user here (at RCPT TO)"

    head, _, only = await system.outcome(60, user=user)
    assert head == "suppressed: campaign 60 (email) for gone"
    assert attempt(only).startswith(f"1 {NOT_CALLED}: not sent: the recipient is suppressed: SMTP 550 5.1.1")
    listed = await run(system.stack, "suppressions", "list", "--address", "gone@e2e.example")
    assert "SMTP 550 5.1.1 No such user here" in listed
    assert "gone@e2e.example" not in system.mail.recipients


async def test_body_of_one_megabyte_arrives(system: System) -> None:
    filler = "z" * 130
    head, _, only = await system.outcome(61, event={"filler": filler})
    assert head.startswith("delivered: ")
    assert attempt(only).startswith("1 mail: delivered")
    (mail,) = (one for one in system.mail.mails if len(one.get_payload()) > 1_000_000)
    assert mail.get_content().strip() == filler * 8000  # type: ignore[attr-defined]


async def test_body_above_the_limit_is_dead(system: System) -> None:
    head, _, only = await system.outcome(61, event={"filler": "z" * 140})
    assert head.startswith("dead: ")
    assert (
        attempt(only)
        == f"1 {NOT_CALLED}: failed permanently: default text, line 1, column 4: longer than 1 MiB"
    )


async def test_body_too_large_for_the_provider_is_dead(system: System) -> None:
    system.mail.to_data.append("552 5.3.4 Message size exceeds fixed limit")
    head, _, only = await system.outcome(61, event={"filler": "z" * 130})
    assert head.startswith("dead: ")
    assert "SMTP 552 5.3.4 Message size exceeds fixed limit" in only


@pytest.mark.parametrize(
    ("campaign", "words"),
    [(62, "more than 10000 loop iterations"), (68, "a range longer than 10000")],
    ids=["over what a caller gave", "always"],
)
async def test_looping_template_is_dead_at_once(system: System, campaign: int, words: str) -> None:
    head, _, only = await system.outcome(campaign, event={"list": list(range(500))})
    assert head.startswith("dead: ")
    assert attempt(only).startswith(f"1 {NOT_CALLED}: failed permanently: default text, line 1, column ")
    assert only.endswith(words)


@pytest.mark.parametrize(
    ("campaign", "words"),
    [
        (63, "Malformed SMTP response line: HTTP/1.1 400 Bad Request (connecting)"),
        (64, "the server's reply is not SMTP: "),
        (65, IN_DOUBT + "the server closed the connection (sending the content)"),
        (66, "no reply within 2 s (at MAIL FROM)"),
    ],
    ids=["garbage", "garbage in the middle", "closes in the middle", "never answers"],
)
async def test_broken_mail_server_is_retried_then_dead(system: System, campaign: int, words: str) -> None:
    head, _, *attempts = await system.outcome(campaign)
    name = CAMPAIGNS[campaign][0]
    assert head.startswith(f"dead: campaign {campaign} (email)")
    first, second = map(attempt, attempts)
    assert first.startswith(f"1 {name}: {ended(words, 'failed, will be retried,')}")
    assert second.startswith(f"2 {name}: {ended(words, 'failed permanently')}")
    assert (first + second).isprintable()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(raw=b"\x00\xff nonsense\r\n\r\n"), IN_DOUBT + "twilio gave no answer"),
        (Reply(503, b"<html>no JSON", close=True), "Twilio HTTP 503: no readable error"),
        (Reply(201, {"sid": "SM1"}, cut=30), IN_DOUBT + "twilio gave no answer"),
        (Reply(after=PATIENCE), IN_DOUBT + "twilio: the request was sent, but no answer arrived in time"),
    ],
    ids=["garbage", "no JSON", "closes in the middle", "never answers"],
)
async def test_broken_api_is_retried_then_dead(system: System, reply: Reply, words: str) -> None:
    system.twilio.script[:] = [reply, reply]
    head, _, *attempts = await system.outcome(67, "text")
    assert head.startswith("dead: campaign 67 (text)")
    first, second = map(attempt, attempts)
    assert first.startswith(f"1 twilio: {ended(words, 'failed, will be retried,')}")
    assert second.startswith(f"2 twilio: {ended(words, 'failed permanently')}")
