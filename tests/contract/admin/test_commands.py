"""Every command with `--target` and an admin key, on a machine without the configuration and the database."""

from __future__ import annotations

import json
import shlex
import uuid
from pathlib import Path
from string import Template

import pytest

from server.cli import GROUPS
from tests.contract.admin.conftest import Operator
from tests.kit.command_table import COMMANDS
from tests.kit.commands import Result, clarion
from tests.kit.stack import Stack
from tests.kit.triggers import accepted

# In this order, because some change what others show. The names with $ are of what earlier commands created.
WORDS = """
projects create $project
projects list
projects show $project
projects limit $project --rate 5
projects timezone $project Europe/Berlin
projects retention $project --content-days push 7
campaigns diff campaigns.yaml
campaigns apply campaigns.yaml
campaigns list --project $project
campaigns show 1 --project $project
campaigns show 1 --version 1 --project $project
campaigns versions 1 --project $project
campaigns preview 1 --project $project
campaigns pause 1 --project $project
campaigns resume 1 --project $project
campaigns archive 1 --project $project
campaigns release 1 --project $project
campaigns rollback 1 1 --project $project
campaigns compare 1 1 2 --project $project
campaigns draft save 1 campaigns.yaml --project $project
campaigns draft show 1 --project $project
campaigns draft publish 1 --project $project
campaigns draft save 1 campaigns.yaml --project $project
campaigns draft discard 1 --project $project
campaigns test 1 device-token-of-a-test --project $project
keys create --project $project --name cli
keys list --project $project
keys show $key_id
keys limit $key_id --rate 5
keys update $key_id --name renamed --expires-in 5
keys rotate $key_id --overlap 1h
keys revoke $key_id
webhooks create --project $project --url https://8.8.8.8/hook
webhooks list --project $project
webhooks show $webhook_id
webhooks update $webhook_id --event trigger.dead
webhooks rotate $webhook_id
webhooks test $webhook_id
webhooks log $webhook_id
webhooks retry --all-failed $webhook_id
webhooks replay $webhook_id --since 2026-01-01
webhooks disable $webhook_id
webhooks enable $webhook_id
webhooks delete $webhook_id
suppressions add email a@example.com --project $project --reason cli
suppressions import suppressed.csv --project $project
suppressions list --project $project
suppressions export --project $project
suppressions remove --all --project $project
people export --project $project --external-id U-1
people erase --project $project --external-id U-1
deliveries list --limit 1
deliveries show $trigger_id
deliveries message $trigger_id
deliveries groups --project $project
deliveries backlog
deliveries retry --all --project $project
deliveries cancel --all --project $project
operations list
operations show $operation_id
operations stop $operation_id
operators create --name cli --role viewer
operators list
operators revoke $admin_key_id
operators sessions list
operators sessions end $session_id
audit list --project $project
audit export --project $project
providers
status
hold --reason cli
release
statistics --project $project
"""
REFUSED: dict[tuple[str, ...], str] = {("operations", "stop"): "The operation has ended"}
"""What a command may answer, because there is nothing for it to do."""
CAMPAIGNS = """
project: $project
campaigns:
- {id: 1, name: One, channel: push, provider: sandbox, templates: {default: {title: Hello, text: Hello}}}
"""


def _command_of(words: list[str]) -> tuple[str, ...]:
    return max((one for one in COMMANDS if one == tuple(words[: len(one)])), key=len)


def _ids(shown: object) -> dict[str, str]:
    """Return the IDs in the JSON of a command, also of an operation in it."""
    if not isinstance(shown, dict):
        return {}
    inner = shown.get("operation") or {}
    return {name: value for name, value in {**shown, **inner}.items() if name.endswith("_id") and value}


async def test_every_command_works_without_the_database(
    admin: Operator, stack: Stack, tmp_path: Path
) -> None:
    project = f"cli-{uuid.uuid4()}"
    (tmp_path / "campaigns.yaml").write_text(Template(CAMPAIGNS).substitute(project=project))
    (tmp_path / "suppressed.csv").write_text("channel,address\nemail,b@example.com\n")
    session = (await admin.call("POST", "/sessions", {})).json()["session"]
    admin.http.headers.update(stack.headers())
    sent = await accepted(admin.http)
    names = {"project": project, "session_id": session["session_id"], "trigger_id": sent}
    tested = set()
    for line in WORDS.strip().splitlines():
        words = shlex.split(Template(line).substitute(names))
        command = _command_of(words)
        tested.add(command)
        has_json = any("--json" in option.opts for option in COMMANDS[command].params)
        done = await _run(tmp_path, stack, admin, *words, *(["--json"] if has_json else []))
        if (refusal := REFUSED.get(command)) and refusal in done.err:
            continue
        assert done.code == 0, (line, done.err)
        if has_json:
            shown = json.loads(done.out)
            assert isinstance(shown, list) is (
                command[-1] in {"list", "versions", "log", "groups", "backlog"}
            ), line
            names |= _ids(shown)
    others = {"gateway", "health", "status", "trigger"}  # `status` has its own exit codes and tests
    by_target = {one for one in COMMANDS if one[0] in GROUPS and one[0] not in others}
    assert by_target - tested == set()


async def _run(folder: Path, stack: Stack, admin: Operator, *words: str) -> Result:
    return await clarion(folder, *words, "--target", stack.url, CLARION_ADMIN_KEY=admin.secret)


async def test_an_invalid_file_names_campaign_and_field(
    admin: Operator, stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "campaigns.yaml"
    file.write_text(Template(CAMPAIGNS).substitute(project="demo").replace("sandbox", "pigeon"))
    done = await _run(tmp_path, stack, admin, "campaigns", "apply", "campaigns.yaml")
    assert done.code == 2
    assert done.err.startswith(
        "clarion: campaigns.yaml: campaign 1: content.providers: no running dispatcher has"
    )


@pytest.mark.long
async def test_a_large_file_is_applied_in_parts_or_not_at_all(
    admin: Operator, stack: Stack, tmp_path: Path
) -> None:
    """The gateway accepts 1 MiB in a call."""
    project = f"large-{uuid.uuid4()}"
    entry = CAMPAIGNS.strip().splitlines()[-1].replace("text: Hello", f"text: {'x' * 15_000}")
    many = [entry.replace("id: 1", f"id: {number}") for number in range(1, 101)]
    wrong = [*many[:-1], many[-1].replace("sandbox", "pigeon")]
    head = f"project: {project}\ncampaigns:"
    file = tmp_path / "campaigns.yaml"
    file.write_text("\n".join([head, *wrong]))
    refused = await _run(tmp_path, stack, admin, "campaigns", "apply", "campaigns.yaml")
    nothing = await _run(tmp_path, stack, admin, "campaigns", "list", "--project", project, "--json")
    file.write_text("\n".join([head, *many]))
    applied = await _run(tmp_path, stack, admin, "campaigns", "apply", "campaigns.yaml", "--json")
    again = await _run(tmp_path, stack, admin, "campaigns", "diff", "campaigns.yaml", "--json")
    assert (refused.code, "campaign 100: content.providers" in refused.err) == (2, True), refused.err
    assert json.loads(nothing.out) == []
    assert json.loads(applied.out) == {str(number): "created" for number in range(1, 101)}, applied.err
    assert set(map(tuple, json.loads(again.out).values())) == {()}


@pytest.mark.parametrize(
    ("words", "listing"),
    [
        ("keys show", "keys list"),
        ("webhooks show", "webhooks list"),
        ("operators revoke", "operators list"),
        ("operators sessions end", "operators sessions list"),
        ("operations show", "operations list"),
        ("projects show", "projects list"),
    ],
)
async def test_what_is_missing_is_named_with_its_list(
    admin: Operator, stack: Stack, tmp_path: Path, words: str, listing: str
) -> None:
    missing = str(uuid.uuid4())
    by_target = await _run(tmp_path, stack, admin, *words.split(), missing)
    assert (by_target.code, missing in by_target.err) == (2, True), by_target
    assert by_target.err.endswith(f"{missing} is missing; `clarion {listing}` shows what exists\n")
    assert await stack.run(*words.split(), missing) == (2, "", by_target.err)
