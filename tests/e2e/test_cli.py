"""The command line next to a running Clarion: help, keys, campaigns, triggers, the gateway."""

from __future__ import annotations

import datetime as dt
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

from server.cli import cli, main
from server.errors import ConfigError
from tests.kit.commands import clarion
from tests.kit.stack import Stack, client
from tests.kit.triggers import ADDRESSES, accepted, post
from tests.kit.until import until

PAGE = 45  # lines


def _commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, (*words, name))


async def test_help_of_every_command_is_short(tmp_path: Path) -> None:
    group: tuple[str, ...] = ("deliveries", "list")
    for words in ((), group):
        done = await clarion(tmp_path, *words, "--help")
        assert (done.code, done.err) == (0, ""), words
        _check_page(words, done.out)
    for words in _commands(cli):  # without a start of Python for each
        result = CliRunner().invoke(cli, [*words, "--help"], prog_name="clarion")
        assert result.exit_code == 0, words
        _check_page(words, result.output)


def _check_page(words: tuple[str, ...], page: str) -> None:
    assert page.startswith(f"Usage: {' '.join(('clarion', *words))}")
    assert page.count("\n") < PAGE
    assert max(map(len, page.splitlines())) <= 100


def test_command_summaries_are_not_truncated() -> None:
    groups = {words[:-1] for words in _commands(cli) if words}
    assert () in groups
    assert ("campaigns", "draft") in groups
    for words in groups:
        result = CliRunner().invoke(cli, [*words, "--help"], prog_name="clarion")
        _, _, summaries = result.output.partition("Commands:\n")
        assert summaries
        assert "..." not in summaries, words


async def test_invalid_argument_shows_usage(tmp_path: Path) -> None:
    done = await clarion(tmp_path, "trigger", "forty-four")

    assert done.code == 2
    assert "'forty-four' is not a valid integer" in done.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("keys create --project x --name a --campaign 99999999999999999999", "is not in the range"),
        ("keys create --project x --name a --expires-in 99999999999", "is not in the range"),
        ("deliveries list --since 9999-12-31T23:59:59-0100", "is not between the years 1 and 9999 in UTC"),
        ("suppressions list --since 0001-01-01T00:00:00+0100", "is not between the years 1 and 9999 in UTC"),
    ],
)
def test_options_out_of_range_are_named(words: str, problem: str) -> None:
    result = CliRunner().invoke(cli, words.split(" "))
    assert (result.exit_code, problem in result.output) == (2, True), result.output


@pytest.mark.parametrize("words", [["projects", "create", "a\udcff"], ["campaigns", "apply", "\udcff.yaml"]])
def test_arguments_must_be_utf_8(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["clarion", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2


async def _key(stack: Stack, project: str, *words: str) -> tuple[str, str]:
    """Create a key; return its id and secret."""
    done = await clarion(
        stack.folder, "keys", "create", "--project", project, "--name", "e2e", *words, "--json"
    )
    assert done.code == 0, done.err
    made = json.loads(done.out)
    return made["key_id"], made["secret"]


async def _answers(session: httpx.AsyncClient, status: int, campaign: int = 44) -> None:
    """Return when triggers are answered by this status."""

    async def answered() -> bool:
        answer = await post(session, campaign=campaign)
        assert answer.status_code in {204, 401, status}, answer.text
        return answer.status_code == status

    await until(answered, f"{status} for a trigger")


async def test_key_is_shown_once_listed_and_revoked(demo: Stack) -> None:
    number, secret = await _key(demo, "demo")
    async with client(demo) as session:
        session.headers.update(demo.headers(secret))
        await _answers(session, 204)
        listed = await clarion(demo.folder, "keys", "list")
        as_json = await clarion(demo.folder, "keys", "list", "--json")

        revoked = await clarion(demo.folder, "keys", "revoke", number)
        await _answers(session, 401)
        again = await clarion(demo.folder, "keys", "list")

    assert secret.startswith("sk_")
    assert "active" in _row(listed.out, number)
    assert secret not in listed.out + as_json.out + revoked.out
    assert number in [one["key_id"] for one in json.loads(as_json.out)]
    assert revoked.out == f"revoked {number} (e2e)\n"
    assert "revoked" in _row(again.out, number)


def _row(table: str, number: str) -> str:
    return next(line for line in table.splitlines() if line.startswith(number))


async def test_created_key_prints_only_the_secret_on_stdout(demo: Stack) -> None:
    done = await clarion(demo.folder, "keys", "create", "--project", "alone", "--name", "e2e")

    uuid.UUID(done.out.removeprefix("sk_").strip())
    assert "cannot show it again" in done.err


async def test_key_for_one_campaign_cannot_trigger_another(demo: Stack) -> None:
    _, secret = await _key(demo, "demo", "--campaign", "45", "--expires-in", "1")
    async with client(demo) as session:
        session.headers.update(demo.headers(secret))
        await demo.until_in_force()

        assert (await post(session)).status_code == 403
        assert (await post(session, "text")).status_code == 204


async def test_unknown_key_id_is_named(demo: Stack) -> None:
    number = str(uuid.uuid4())

    done = await clarion(demo.folder, "keys", "revoke", number)

    assert (done.code, done.err) == (
        2,
        f"clarion: key {number} is missing; `clarion keys list` shows what exists\n",
    )


async def test_paused_campaign_is_rejected(demo: Stack) -> None:
    file = demo.folder / "pause.yaml"
    file.write_text(_PAUSE.format(state="active"))
    await clarion(demo.folder, "campaigns", "apply", "pause.yaml")
    _, secret = await _key(demo, "pause")
    async with client(demo) as session:
        session.headers.update(demo.headers(secret))
        await _answers(session, 204, 701)
        file.write_text(_PAUSE.format(state="paused"))

        await clarion(demo.folder, "campaigns", "apply", "pause.yaml")

        await _answers(session, 422, 701)
        reason = (await post(session, campaign=701)).json()["details"][0]["reason"]
    assert reason == "CAMPAIGN_PAUSED"


_PAUSE = """
project: pause
campaigns:
  - {{id: 701, name: Pause, channel: email, provider: sandbox, sender: a@clarion.example, state: {state},
      templates: {{default: {{subject: A, text: B}}}}}}
"""


async def test_rejected_trigger_lists_every_violation(demo: Stack) -> None:
    done = await clarion(
        demo.folder, "trigger", "44", "--email", "no address", "--timezone", "Mars/Base", "--locale", "?"
    )

    assert (done.code, done.out) == (1, "")
    first, *rest = done.err.splitlines()
    assert first.startswith("clarion: INVALID_ARGUMENT: 3 violations: ")
    assert [line.split(":")[0].strip() for line in sorted(rest)] == [
        "user.email",
        "user.locale",
        "user.timezone",
    ]


async def test_trigger_with_wrong_key_or_target_is_one_line(demo: Stack) -> None:
    unknown = await clarion(demo.folder, "trigger", "44", "--email", "a@e2e.example", CLARION_API_KEY="sk_no")
    unreachable = await clarion(
        demo.folder, "trigger", "44", "--email", "a@e2e.example", "--target", "127.0.0.1:9"
    )
    nothing = await clarion(demo.folder, "trigger", "44")
    no_key = await clarion(demo.folder, "trigger", "44", "--email", "a@e2e.example", "--key-file", "none")

    assert (unknown.code, unknown.err.split(":")[1]) == (1, " UNAUTHENTICATED")
    assert (unreachable.code, unreachable.err.split(":")[1]) == (1, " cannot connect to 127.0.0.1")
    assert (nothing.code, nothing.err) == (2, "clarion: give one of --email, --phone, --device-token\n")
    assert (no_key.code, no_key.err.count("\n")) == (2, 1)


async def test_scheduled_trigger_can_be_repeated_by_request_id(demo: Stack) -> None:
    words = ("trigger", "44", "--email", "a@e2e.example", "--request-id", str(uuid.uuid4()), "--send-at")
    late = await clarion(demo.folder, *words, "2026-01-01T08:00:00Z")
    assert late.code == 1
    assert "send_at: has passed; leave it out to send at once" in late.err
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    first, again = [await clarion(demo.folder, *words, soon) for _ in range(2)]
    assert (first.code, first.out) == (0, again.out), first.err
    shown = await demo.json("deliveries", "show", first.out.strip(), "--json")
    assert isinstance(shown, dict)
    assert shown["summary"]["state"] == "pending"


def test_invalid_send_at_is_rejected_before_sending() -> None:
    words = ["trigger", "44", "--email", "a@e2e.example", "--send-at", "tomorrow"]
    result = CliRunner().invoke(cli, words, env={"CLARION_API_KEY": "sk_no"})
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("--send-at: must be a date and time of RFC 3339")


async def test_unknown_delivery_is_named(demo: Stack) -> None:
    done = await clarion(demo.folder, "deliveries", "show", str(uuid.uuid4()))

    assert done.code == 2
    assert "is missing; its ID is in" in done.err


async def test_printed_configuration_is_accepted_by_envoy(demo: Stack) -> None:
    printed = await clarion(demo.folder, "gateway", "print")
    checked = await clarion(demo.folder, "gateway", "check")

    assert {"static_resources", "admin"} & json.loads(printed.out).keys()
    assert (checked.code, checked.out) == (0, "Envoy accepts the configuration\n"), checked.err


async def test_logs_contain_no_keys_addresses_or_content(demo: Stack, rest: httpx.AsyncClient) -> None:
    number, secret = await _key(demo, "demo")
    unknown = f"sk_{uuid.uuid4()}"
    for channel in ADDRESSES:
        await demo.delivered(channel, await accepted(rest, channel, event={"code": "word-of-the-event"}))
        await post(rest, channel, campaign=404)
    await rest.post(
        "/api/client/campaigns/44/trigger", json={"user": {"email": "wrong address@e2e.example", "x": 1}}
    )
    for key in (secret, unknown):
        await rest.get(f"/api/client/campaigns?key={key}", headers=demo.headers(key))
    await clarion(demo.folder, "keys", "revoke", number)
    await clarion(demo.folder, "trigger", "44", "--email", "logged@e2e.example")

    logs = {path.name: path.read_text() for path in (demo.data / "log").iterdir()}

    private = {demo.key, secret, unknown, "@e2e.example", "word-of-the-event"}
    private |= {address for one in ADDRESSES.values() for address in one.values()}
    assert set(logs) >= {"postgres.log", "server-0.log", "dispatcher.log"}
    assert not [(name, word) for name, text in logs.items() for word in private if word in text]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (demo.data / "log").iterdir())
