"""A client in another language: Node.js with @grpc/grpc-js against a running stack."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.commands import run_program
from tests.kit.documented_errors import check_rest
from tests.kit.stack import EXAMPLE, Stack, client, running_stack

pytestmark = [
    pytest.mark.long,  # test_client_package.py and test_curl_client.py are the short forms
    pytest.mark.xdist_group("clients"),
    pytest.mark.skipif(not shutil.which("node"), reason="node is not installed"),
    pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed"),
]

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests/clients/node"
FILES = ("package.json", "package-lock.json", "client.mjs")
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
TRIGGER, DELIVERY = "/api/client/campaigns/{}/trigger", "/api/client/deliveries/{}"
MAIL: dict[str, Any] = dict(EXAMPLE["user"])
RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"

# The client's gRPC calls as REST calls: path, body (None: a GET), and the key ("key": the valid one).
TWINS: dict[str, tuple[str, dict[str, Any] | None, str | None]] = {
    "missing fields": (TRIGGER.format(44), {"user": {"timezone": "Mars/Base"}}, "key"),
    "no user": (TRIGGER.format(44), {}, "key"),
    "a wrong address": (TRIGGER.format(44), {"user": {**MAIL, "email": "test@"}}, "key"),
    "an unknown campaign": (TRIGGER.format(999), {"user": MAIL}, "key"),
    "a campaign of another channel": (TRIGGER.format(45), {"user": MAIL}, "key"),
    "no key": (TRIGGER.format(44), {"user": MAIL}, None),
    "a malformed key": (TRIGGER.format(44), {"user": MAIL}, "nonsense"),
    "an unknown key": (TRIGGER.format(44), {"user": MAIL}, f"sk_{UNKNOWN_ID}"),
    "an unknown delivery": (DELIVERY.format(UNKNOWN_ID), None, "key"),
    "a malformed delivery id": (DELIVERY.format("7"), None, "key"),
}


@pytest.fixture(scope="module")
async def limited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Return a stack with a rate limit that the client exceeds."""
    settings: dict[str, object] = {"limits": {"per_key": 5, "per_key_burst": 60}}
    async with running_stack(tmp_path_factory.mktemp("node"), settings) as stack:
        yield stack


@pytest.fixture(scope="module")
async def installed(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the client and its locked packages, which is cached until the lock changes."""
    lock = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:16]
    cache, name = pytestconfig.cache, f"node-client-{lock}"
    folder = cache.mkdir(name) if cache else tmp_path_factory.mktemp(name)
    for file in FILES:
        shutil.copy(SOURCE / file, folder)
    if not (folder / "installed").exists():
        await run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder, seconds=300)
        (folder / "installed").touch()
    return folder


@pytest.fixture(scope="module")
async def printed(installed: Path, limited: Stack) -> dict[str, dict[str, Any]]:
    """Return the client's output by case."""
    env = {
        "CLARION_TARGET": limited.target,
        "CLARION_API_KEY": limited.key,
        "CLARION_DESCRIPTORS": str(ROOT / "protos/clarion/v1/clarion.binpb"),
    }
    out = await run("node", "client.mjs", "--until-limited", folder=installed, seconds=120, **env)
    lines = [json.loads(line) for line in out.splitlines()]
    return {line.pop("case"): line for line in lines}


async def run(*words: str, folder: Path, seconds: float, **env: str) -> str:
    """Run a command and return its output."""
    done = await run_program(*words, folder=folder, env={**os.environ, **env}, seconds=seconds)
    assert done.code == 0, done.err
    return done.out


@pytest.mark.parametrize(
    ("channel", "shown"),
    [("email", "9007199254740993123"), ("text", "9007199254740993123"), ("push", "From Node")],
)
async def test_typed_call_from_node_is_delivered(
    channel: str, shown: str, printed: dict[str, dict[str, Any]], limited: Stack
) -> None:
    path = await limited.delivered(channel, printed[channel]["trigger_id"])

    assert shown in path.read_text()


@pytest.mark.parametrize("case", TWINS)
async def test_node_reads_the_same_error_as_rest(
    case: str, printed: dict[str, dict[str, Any]], limited: Stack
) -> None:
    path, body, key = TWINS[case]
    headers = {} if key is None else {"authorization": f"Bearer {limited.key if key == 'key' else key}"}
    async with client(limited) as rest:
        response = await until_not_limited(rest, path, body, headers)

    assert printed[case] == check_rest(response)


async def until_not_limited(
    rest: httpx.AsyncClient, path: str, body: dict[str, Any] | None, headers: dict[str, str]
) -> httpx.Response:
    """Return the response once the rate limit permits the call: the client has just exceeded it."""
    async with asyncio.timeout(60):
        while True:
            method = "GET" if body is None else "POST"
            response = await rest.request(method, path, json=body, headers=headers)
            if response.status_code != 429:
                return response
            await asyncio.sleep(float(response.headers["retry-after"]))


async def test_node_reads_when_to_retry(printed: dict[str, dict[str, Any]]) -> None:
    error = printed["too many calls"]

    assert error["code"] == 8
    assert error["details"][0]["reason"] == "RATE_LIMITED"
    waits = [detail["retry_delay"] for detail in error["details"] if detail["@type"] == RETRY_INFO]
    assert len(waits) == 1
    assert int(waits[0].get("seconds", 0)) or waits[0]["nanos"]
    assert int(error["retry_after"]) >= 1


def test_lock_names_no_package_registry() -> None:
    lock = json.loads((SOURCE / "package-lock.json").read_text())

    packages = [package for path, package in lock["packages"].items() if path]
    assert all("resolved" not in package for package in packages)
    assert all(package["integrity"].startswith("sha512-") for package in packages)
