"""`clarion deliveries`, `suppressions` and `projects timezone`, next to a running Clarion."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import shlex
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from server.cli import cli
from server.domain.campaign import Campaign, Channel, SendWindow, Template, Undefined
from server.domain.key import Scope, new_secret
from server.domain.waiting import ProviderStatus
from server.errors import ConfigError
from server.store.admin import campaigns, keys, projects
from server.store.pool import Pool
from server.store.presence import Presence
from tests.kit.cases import each_case
from tests.kit.commands import clarion
from tests.kit.smtp_servers import MailServer
from tests.kit.stack import Stack, client
from tests.kit.triggers import delivery_in_state

GONE = "gone@lists.example"
TOKEN = "device-token-of-lists"
UNKNOWN = "550 5.1.1 no such mailbox"
USERS = {821: {"phone": "+12025550123"}, 822: {"email": GONE}, 823: {"device_token": TOKEN}}
USERS[824] = USERS[825] = USERS[823]


async def apply(pool: Pool, undefined: Undefined) -> int:
    """Write the campaigns: 821 insists on a code or not, 823 sends in two hours by UTC, 824 not at all."""
    project = await projects.ensure_project(pool, "lists")
    now = dt.datetime.now(dt.UTC)
    opens, closes = (f"{now + dt.timedelta(hours=hours):%H:%M}" for hours in (2, 3))
    default = Template(subject="A", title="A", text="B")
    code = {"default": Template(text="Your code is {{ event.code }}.")}
    found = [
        Campaign(project, 821, "Codes", Channel.TEXT, ("sandbox",), templates=code, undefined=undefined),
        Campaign(project, 822, "Letters", Channel.EMAIL, ("smtp",), sender="a@clarion.example"),
        Campaign(project, 824, "Never", Channel.PUSH, ("absent",)),
        Campaign(project, 823, "Later", Channel.PUSH, ("sandbox",), window=SendWindow(opens, closes)),
    ]
    filled = (one if one.templates else replace(one, templates={"default": default}) for one in found)
    await campaigns.apply_campaigns(pool, filled)
    return project


@pytest.fixture(scope="module")
async def rest(demo: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a separate project, once the server knows its key and campaigns."""
    secret, scopes = new_secret(), [Scope.TRIGGER, Scope.DELIVERIES_READ]
    async with demo.pool() as pool:
        project = await apply(pool, Undefined.STRICT)
        await keys.create_key(pool, secret, project_id=project, name="e2e", scopes=scopes)
    async with client(demo) as session:
        session.headers.update(demo.headers(secret))
        await demo.until_in_force()
        yield session


async def post(rest: httpx.AsyncClient, campaign: int, *, address: str = "") -> httpx.Response:
    user = {name: address or value for name, value in USERS[campaign].items()}
    body = {"user": {"external_id": f"user-{campaign}", **user}}
    return await rest.post(f"/api/client/campaigns/{campaign}/trigger", json=body)


async def attempts(rest: httpx.AsyncClient, number: str, state: str) -> int:
    """Return the number of attempts once the delivery is in a state."""
    return len((await delivery_in_state(rest, number, state)).get("attempts", []))


async def made(rest: httpx.AsyncClient, campaign: int, state: str) -> str:
    """Trigger, wait for the state, and return the trigger's id."""
    answer = await post(rest, campaign)
    assert answer.status_code == 204, answer.text
    await attempts(rest, answer.headers["x-trigger-id"], state)
    return str(answer.headers["x-trigger-id"])


async def test_dead_letters_are_listed_and_retried(demo: Stack, rest: httpx.AsyncClient) -> None:
    first, second, third = [await made(rest, 821, "dead") for _ in range(3)]
    of_project = ("deliveries", "list", "--project", "lists", "--campaign", "821")
    table, wrong = await asyncio.gather(
        clarion(
            demo.folder,
            *of_project,
            "--state",
            "DELIVERY_STATE_DEAD",
            "--error",
            "EVENT.code",
            "--limit",
            "2",
        ),
        clarion(demo.folder, "deliveries", "retry", str(uuid.uuid4()), str(uuid.uuid4())),
    )
    head, *lines = table.out.splitlines()
    assert head.split() == [
        "TRIGGER", "STATE", "CAMPAIGN", "USER", "ACCEPTED", "ATTEMPTS", "PROVIDER", "ERROR",
    ]  # fmt: skip
    assert [line.split()[:4] for line in lines] == [
        [number, "dead", "821", "user-821"] for number in (third, second)
    ]

    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.startswith("clarion: retrying 0 of 2; the others are neither dead nor suppressed")

    async with demo.pool() as pool:
        await apply(pool, Undefined.EMPTY)
    await demo.until_in_force()
    again = await clarion(demo.folder, "deliveries", "retry", first, first)
    assert (again.code, again.out) == (0, "retrying 1 delivery\n"), again.err
    assert await attempts(rest, first, "delivered") == 2
    rest_of_them = await clarion(
        demo.folder, "deliveries", "retry", "--all", "--project", "lists", "--campaign", "821"
    )
    assert rest_of_them.out == "retrying 2 deliveries\n"
    assert [await attempts(rest, number, "delivered") for number in (second, third)] == [2, 2]


async def test_a_changed_provider_delivers_what_waits(demo: Stack, rest: httpx.AsyncClient) -> None:
    async with demo.pool() as pool:
        project = await projects.ensure_project(pool, "lists")
        stranded = Campaign(
            project, 825, "Moved", Channel.PUSH, ("absent",), templates={"default": Template(text="B")}
        )
        await campaigns.apply_campaigns(pool, [stranded])
        await demo.until_in_force()
        number = await made(rest, 825, "pending")
        await campaigns.apply_campaigns(pool, [replace(stranded, providers=("sandbox",))])
    assert await attempts(rest, number, "delivered") == 1


async def test_suppression_holds_until_it_is_removed(
    demo: Stack, rest: httpx.AsyncClient, mail: MailServer
) -> None:
    mail.to_rcpt.append(UNKNOWN)
    refused = await made(rest, 822, "dead")
    taken = len(mail.mails)
    suppressed = await made(rest, 822, "suppressed")
    assert len(mail.mails) == taken
    words = ("suppressions", "list", "--project", "lists", "--channel", "CHANNEL_EMAIL", "--address", GONE)
    table, show = await asyncio.gather(
        clarion(demo.folder, *words), clarion(demo.folder, "deliveries", "show", suppressed)
    )
    [line] = table.out.splitlines()[1:]
    project, channel, address, _, provider, trigger, *reason = line.split()
    assert (project, channel, address, provider, trigger) == ("lists", "email", GONE, "smtp", refused)
    assert "no such mailbox" in " ".join(reason)
    assert show.out.startswith("suppressed: campaign 822 (email) for user-822\n")
    assert "before a provider was called: not sent after 0 ms: the recipient is suppressed: " in show.out

    by_reason = ("--all", "--project", "lists", "--provider", "smtp", "--reason", "NO SUCH mailbox")
    dry_run = await clarion(demo.folder, "suppressions", "remove", *by_reason, "--retry", "--dry-run")
    assert dry_run.out.splitlines()[1].split()[:4] == ["1", "lists", "email", "smtp"]
    assert dry_run.out.endswith("\ndry run: would remove 1 suppression and retry 2 messages\n")
    removed = await clarion(demo.folder, "suppressions", "remove", *by_reason, "--retry")
    again = await clarion(demo.folder, "suppressions", "remove", "email", GONE)
    assert (removed.code, removed.out) == (0, "removed 1 suppression; retrying 2 messages\n"), removed.err
    assert (again.code, again.err) == (
        2,
        f"clarion: {GONE} is not suppressed for email; see `clarion suppressions list`\n",
    )
    assert [await attempts(rest, number, "delivered") for number in (refused, suppressed)] == [2, 2]


@pytest.mark.usefixtures("mail")
async def test_paused_suppression_is_shown(demo: Stack, rest: httpx.AsyncClient) -> None:
    number = await made(rest, 822, "delivered")
    status = {"smtp": ProviderStatus(suppression_paused=True)}
    async with demo.pool() as pool:
        presence = Presence(pool, lambda _: None, role="dispatcher", status=lambda: status)
        await presence.beat()
        shown = await clarion(demo.folder, "deliveries", "show", number)
        await presence.leave()
    assert "smtp refuses too many recipients, so suppression is paused" in shown.out


async def test_send_windows_use_the_time_zone_of_the_project(demo: Stack, rest: httpx.AsyncClient) -> None:
    waiting = await made(rest, 823, "pending")
    backlog, shown = await asyncio.gather(
        clarion(demo.folder, "deliveries", "backlog", "--json"),
        clarion(demo.folder, "deliveries", "show", waiting),
    )
    [lane] = [one for one in json.loads(backlog.out) if one["channel"] == "push"]
    assert (lane["providers"], lane["due"], lane["later"], lane["sending"]) == ("sandbox", 0, 1, 0)
    assert re.search(r"^waiting until .*: the campaign's send window opens then", shown.out, re.MULTILINE)
    done = await clarion(demo.folder, "projects", "timezone", "lists", "Etc/GMT-2")
    await demo.until_in_force()
    assert (done.code, done.out) == (0, "time zone of project lists: Etc/GMT-2\n"), done.err
    await made(rest, 823, "delivered")
    assert await attempts(rest, waiting, "pending") == 0  # its time was settled when it was accepted

    words = ("deliveries", "cancel", "--all", "--project", "lists", "--campaign", "823")
    cancelled = await clarion(demo.folder, *words)
    assert (cancelled.code, cancelled.out) == (0, "cancelled 1 trigger\n"), cancelled.err
    assert await attempts(rest, waiting, "cancelled") == 0
    again = await clarion(demo.folder, "deliveries", "cancel", waiting)
    assert again.err.startswith("clarion: cancelled 0 of 1; the others are not waiting")
    shown = await clarion(demo.folder, "deliveries", "show", waiting)
    assert shown.out.startswith("cancelled: campaign 823 (push)")
    assert re.search(r"^cancelled 20\d\d-.*\+00:00$", shown.out, re.MULTILINE)


async def test_a_trigger_without_a_provider_says_why_it_waits(demo: Stack, rest: httpx.AsyncClient) -> None:
    waiting = await made(rest, 824, "pending")
    why = "no running dispatcher has the provider absent; configured are: sandbox, smtp"
    shown, as_json, backlog = await asyncio.gather(
        clarion(demo.folder, "deliveries", "show", waiting),
        clarion(demo.folder, "deliveries", "show", waiting, "--json"),
        clarion(demo.folder, "deliveries", "backlog"),
    )
    assert f"\nwaiting: {why}\n" in shown.out, shown.err
    assert json.loads(as_json.out)["waiting"] == {"waiting_reason": "no_provider", "detail": why}
    assert why in backlog.out
    assert (await clarion(demo.folder, "deliveries", "cancel", waiting)).code == 0
    ended = await clarion(demo.folder, "deliveries", "show", waiting, "--json")
    assert "waiting" not in json.loads(ended.out)


async def test_unknown_project_is_named(demo: Stack) -> None:
    done = await clarion(demo.folder, "projects", "timezone", "unknown", "UTC")
    assert (done.code, done.err) == (
        2,
        "clarion: project unknown is missing; `clarion projects list` shows what exists\n",
    )


@each_case(
    ("words", "problem"),
    [
        ("deliveries retry", "give either trigger IDs, or --all with options"),
        ("deliveries cancel --all", "--all alone would cancel triggers of every project; add an option"),
        ("deliveries cancel --campaign 44", "give either trigger IDs, or --all"),
        ("deliveries retry --campaign 44", "give either trigger IDs, or --all"),
        (f"deliveries retry --all {uuid.UUID(int=1)}", "give either trigger IDs, or --all"),
        ("suppressions remove", "give either CHANNEL and ADDRESS, or --all"),
        ("suppressions remove email", "give either CHANNEL and ADDRESS, or --all"),
        ("suppressions remove email a@b.example --all", "give either CHANNEL and ADDRESS, or --all"),
        ("suppressions remove email a@b.example --channel text", "give either CHANNEL and ADDRESS, or --all"),
        ("suppressions remove --reason relay", "give either CHANNEL and ADDRESS, or --all"),
        ("suppressions remove --all --retry", "--all alone would remove those of every project"),
    ],
)
def test_invalid_options_are_rejected_without_a_database(words: str, problem: str) -> None:
    result = CliRunner().invoke(cli, shlex.split(words))
    assert isinstance(result.exception, ConfigError)  # `main` makes one line and code 2 of it
    assert problem in str(result.exception)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("deliveries list --state gone", "'gone' is not one of 'pending', 'sending'"),
        ("deliveries list --channel fax", "'fax' is not one of"),
        ("deliveries list --limit 0", "0 is not in the range"),
        ("deliveries list --campaign 0", "0 is not in the range"),
        ("deliveries list --campaign 9223372036854775808", "is not in the range"),
        ("deliveries list --since yesterday", "'yesterday' does not match the format"),
        ("deliveries retry 44", "'44' is not a valid UUID"),
        ("deliveries retry --all --state dead", "No such option '--state'"),
        ("suppressions list --limit 10001", "10001 is not in the range"),
        ("suppressions remove fax +1", "'fax' is not one of"),
        ("suppressions remove --all --since yesterday", "'yesterday' does not match the format"),
        ("projects timezone lists", "Missing argument 'ZONE'"),
    ],
)
def test_invalid_argument_shows_usage(tmp_path: Path, words: str, problem: str) -> None:
    result = CliRunner().invoke(cli, ["--config", str(tmp_path / "none.toml"), *words.split()])
    assert result.exit_code == 2
    assert result.output.startswith("Usage: ")
    assert problem in result.output
