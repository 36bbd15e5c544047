"""`clarion keys limit` and `clarion projects`, next to a running Clarion."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.commands import clarion
from tests.kit.stack import Stack, client
from tests.kit.triggers import post
from tests.kit.until import until

DEFAULT = (None, None)


async def shown(demo: Stack, *words: str) -> Any:
    """Run a command with --json; return what it shows."""
    done = await clarion(demo.folder, *words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def limit_of(shown: dict[str, Any]) -> tuple[float | None, int | None]:
    return shown.get("requests_per_second"), shown.get("burst")


async def created(demo: Stack, project: str, *words: str) -> Any:
    return await shown(demo, "keys", "create", "--project", project, "--name", "limited", *words)


async def cell(demo: Stack, group: str, row: str, column: str = "LIMIT") -> str:
    """Return a cell of a row in the table that `list` prints."""
    head, *lines = (await clarion(demo.folder, group, "list")).out.splitlines()
    line = next(line for line in lines if row in line)
    after = head.index(column)
    return line[after:].split("  ")[0]


async def test_key_limit_is_set_and_changed(demo: Stack) -> None:
    made = await created(demo, "limits", "--rate", "50", "--burst", "100")
    assert limit_of(made) == (50, 100)
    assert await cell(demo, "keys", made["key_id"]) == "50/s, burst 100"
    assert limit_of(await shown(demo, "keys", "limit", made["key_id"], "--rate", "2.5")) == (2.5, None)
    assert await cell(demo, "keys", made["key_id"]) == "2.5/s"
    plain = await clarion(demo.folder, "keys", "limit", made["key_id"], "--rate", "0")
    assert plain.out == f"limit of key {made['key_id']} (limited): none\n"
    assert limit_of(await shown(demo, "keys", "limit", made["key_id"], "--default")) == DEFAULT
    assert await cell(demo, "keys", made["key_id"]) == "default"


async def test_project_limit_is_set_by_name(demo: Stack) -> None:
    await created(demo, "crowded")
    assert await cell(demo, "projects", "crowded") == "default"
    limited = await shown(demo, "projects", "limit", "crowded", "--rate", "7", "--burst", "9")
    assert limited["project"] == "crowded"
    assert (limited["requests_per_second"], limited["burst"]) == (7, 9)
    assert limited in await shown(demo, "projects", "list")
    assert await cell(demo, "projects", "crowded") == "7/s, burst 9"
    plain = await clarion(demo.folder, "projects", "limit", "crowded", "--default")
    assert plain.out == "limit of project crowded: default\n"


async def test_list_shows_how_long_content_is_kept(demo: Stack) -> None:
    await shown(demo, "projects", "create", "keeps")
    assert await cell(demo, "projects", "keeps", "CONTENT") == "default"
    await shown(demo, "projects", "retention", "keeps", "--content-days", "email", "7")
    assert await cell(demo, "projects", "keeps", "CONTENT") == "email 7 days"


async def test_changed_limit_applies_at_once(demo: Stack) -> None:
    secret = (key := await created(demo, "demo", "--rate", "0.001", "--burst", "1"))["secret"]
    async with client(demo) as session:
        session.headers.update(demo.headers(secret))
        await answers(session, 429)
        await shown(demo, "keys", "limit", key["key_id"], "--rate", "0")
        await answers(session, 204)


async def answers(session: httpx.AsyncClient, status: int) -> None:
    async def answered() -> bool:
        return (await post(session)).status_code == status

    await until(answered, f"{status} for a trigger")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "give --rate, --burst or both; or --default alone"),
        (("--rate", "1", "--default"), "give --rate, --burst or both; or --default alone"),
        (("--rate", "-1"), "-1.0 is not in the range"),
        (("--rate", "nan"), "must be 0 or at least 0.001"),
        (("--burst", "0"), "0 is not in the range"),
    ],
)
async def test_invalid_limit_is_rejected(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    for target in (("keys", "limit", str(uuid.uuid4())), ("projects", "limit", "x")):
        done = await clarion(tmp_path, *target, *words)
        assert done.code == 2
        assert problem in done.err


async def test_unknown_key_or_project_is_named(demo: Stack) -> None:
    number = str(uuid.uuid4())
    done = await clarion(demo.folder, "keys", "limit", number, "--default")
    assert (done.code, done.err) == (
        2,
        f"clarion: key {number} is missing; `clarion keys list` shows what exists\n",
    )
    done = await clarion(demo.folder, "projects", "limit", "unknown", "--default")
    assert (done.code, done.err) == (
        2,
        "clarion: project unknown is missing; `clarion projects list` shows what exists\n",
    )
