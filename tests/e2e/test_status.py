"""`clarion status` next to a running Clarion: by the database and by a gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.kit.stack import Stack, client, running_stack
from tests.kit.until import until


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="module")
async def admin_key(stack: Stack) -> str:
    code, out, err = await stack.run("operators", "create", "--name", "watcher", "--role", "viewer")
    assert code == 0, err
    [key] = re.findall(r"\bak_\S+", out)
    return str(key)


async def test_a_system_that_is_well(stack: Stack, admin_key: str) -> None:
    for words in ([], ["--target", stack.target]):
        code, out, err = await stack.run("status", *words, CLARION_ADMIN_KEY=admin_key)
        assert code == 0, out + err
        assert out.startswith("All is well.\n")
        assert re.search(
            r"^dispatcher  \S+  \S+ +\d+ s ago +([+-]\d\.\d s|-) +(\d\.\d{3} s|-)$", out, re.MULTILINE
        ), out
        assert re.search(r"^server  +\S+  \S+ +\d+ s ago  ", out, re.MULTILINE), out
        assert re.search(r"^sandbox   ok     1", out, re.MULTILINE), out
        assert re.search(r"^schema: (\d{4}), needed: \1$", out, re.MULTILINE), out
        assert re.search(r"^disk of the data folder: \S+ \wiB of \S+ \wiB free$", out, re.MULTILINE), out


async def test_json_and_rest_are_the_same(stack: Stack, admin_key: str) -> None:
    code, out, err = await stack.run("status", "--json")
    assert code == 0, err
    by_database: dict[str, Any] = json.loads(out)
    async with client(stack) as rest:
        answer = await rest.get("/api/admin/v1/system", headers={"authorization": f"Bearer {admin_key}"})
    by_rest = answer.json()["system"]
    assert {one["process_role"] for one in by_database["processes"]} == {"server", "dispatcher"}
    assert all(one["version"] and one["host"] for one in by_database["processes"])
    same = ("schema", "needed_schema")
    assert [by_database[name] for name in same] == [by_rest[name] for name in same]
    assert by_database["problems"] == by_rest.get("problems", []) == []
    assert by_rest["database"]["size_bytes"]


async def test_a_hung_dispatcher_is_a_problem(stack: Stack) -> None:
    dispatcher = stack.children()["dispatch"].pid
    os.kill(dispatcher, signal.SIGSTOP)
    try:

        async def named() -> str:
            code, out, _ = await stack.run("status")
            return out if code == 1 else ""

        out = await until(named, "the problem is named")
    finally:
        os.kill(dispatcher, signal.SIGCONT)
    assert "Not well: 1 problem.\n- no dispatcher is running\n" in out
    assert (
        "To do: start one, or read the log of the dispatcher (docs/runbooks/ClarionDispatcherAbsent.md)"
        in out
    )

    async def well() -> bool:
        return (await stack.run("status"))[0] == 0

    await until(well, "all is well again")


async def test_watch_shows_it_again(stack: Stack) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "server", "status", "--watch", "1"),
        cwd=stack.folder,
        env={**os.environ, **stack.environment},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(120):
            for _ in range(2):
                while (await process.stdout.readline()) != b"All is well.\n":
                    pass
    finally:
        process.kill()
        await process.communicate()


async def test_without_a_database_or_gateway_the_code_is_2(stack: Stack, admin_key: str) -> None:
    nowhere = "postgresql://absent@127.0.0.1:1/none"
    code, out, err = await stack.run("status", CLARION_DATABASE_URL=nowhere)
    assert (code, out) == (2, "")
    assert err.startswith("clarion: the state cannot be read: ")
    code, out, err = await stack.run("status", "--target", "127.0.0.1:1", CLARION_ADMIN_KEY=admin_key)
    assert (code, out) == (2, "")
    assert err.startswith("clarion: the state cannot be read: ")
