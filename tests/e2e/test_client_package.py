"""The client's own package in an environment without the server, and the examples in its docs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from clarion_client import AsyncClient
from tests.kit.commands import run_program
from tests.kit.stack import Stack

pytestmark = pytest.mark.xdist_group("demo")

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to/call-from-python.md"
README = ROOT / "client/README.md"
ALONE = """
import importlib.util, sys, clarion_client
from clarion_client import AsyncClient, Client
for name in ("server", "gateway"):
    assert importlib.util.find_spec(name) is None, name
print(clarion_client.__file__)
"""


async def run(*words: str, cwd: Path, **env: str) -> str:
    """Run a command and return its output."""
    done = await run_program(*words, folder=cwd, env={"PATH": os.environ["PATH"], **env})
    assert done.code == 0, done.err
    return done.out


class Environment:
    """A Python environment with the client's wheel and its dependencies, but without the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.installed = folder / "installed"

    async def prepare(self) -> None:
        await run(
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "-t",
            "wheel",
            "-d",
            str(self.folder),
            cwd=ROOT / "client",
        )
        [wheel] = self.folder.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(self.installed)
        venv.create(self.folder / "venv", with_pip=False)

    async def python(self, code: str, **env: str) -> str:
        """Run code and return its output."""
        return await run(*self._script(code), cwd=self.folder, PYTHONPATH=self._path, **env)

    async def lines_until(self, wanted: str, code: str, **env: str) -> list[str]:
        """Run code that does not end until it prints a line; return the lines before it."""
        process = await asyncio.create_subprocess_exec(
            *self._script(code),
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": self._path, **env},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        before = []
        try:
            async with asyncio.timeout(60):
                while (line := (await process.stdout.readline()).decode()) != wanted:
                    assert line, f"ended without {wanted!r}"
                    before.append(line)
                return before
        finally:
            process.kill()
            await process.wait()

    @property
    def _path(self) -> str:
        # PYTHONPATH does not process .pth files, such as that of an editable server.
        return os.pathsep.join([str(self.installed), sysconfig.get_path("purelib")])

    def _script(self, code: str) -> tuple[str, str, str]:
        script = self.folder / "script.py"
        script.write_text(code)
        return str(self.folder / "venv/bin/python"), "-P", str(script)


@pytest.fixture(scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("alone"))
    await environment.prepare()
    return environment


def examples(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


async def test_client_needs_no_server(alone: Environment) -> None:
    where = Path((await alone.python(ALONE)).strip())
    assert where.is_relative_to(alone.installed)


async def test_examples_of_the_how_to_run(alone: Environment, demo: Stack) -> None:
    service, threads, reading, resuming = examples(HOW_TO)
    env = {"CLARION_TARGET": demo.url, "CLARION_API_KEY": demo.key}
    for _ in range(2):
        assert await alone.python(service, **env) == "100 confirmed, 1 rejected\nthe reminder is cancelled\n"
    accepted, rejected = (await alone.python(threads, **env)).splitlines()
    assert rejected == "0 rejected"
    trigger_id = re.findall(r"trigger_id='([0-9a-f-]{36})'", accepted)[0]
    assert "1234" in (await demo.delivered("text", trigger_id)).read_text()
    *states, found = (await alone.python(reading, **env)).splitlines()
    assert states[-1] == "delivered"
    assert found.split()[1] == f"{found.split()[0]}.eml"
    async with AsyncClient(demo.url, demo.key) as clarion:
        first = await clarion.trigger_email(44, external_id="first", email="first@example.com")
        *_, last = [change async for change in clarion.watch(trigger_ids=[first.trigger_id])]
        await clarion.trigger_email(44, external_id="second", email="second@example.com")
    (alone.folder / "cursor").write_text(last.cursor)
    # A change around the break may come twice, as the page says.
    repeated = await alone.lines_until("second delivered\n", resuming, **env)
    assert set(repeated) <= {"first delivered\n"}


async def test_example_of_the_readme_runs(alone: Environment, demo: Stack) -> None:
    [example] = examples(README)
    output = await alone.python(example.replace("http://127.0.0.1:8080", demo.url), CLARION_API_KEY=demo.key)
    assert "9007199254740993123" in (await demo.delivered("email", output.strip())).read_text()
