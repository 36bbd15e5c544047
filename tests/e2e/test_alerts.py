"""Drills with a real Prometheus: an alert fires while its cause lasts, and clears afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from lab.process import free_port
from tests.kit.http_client import http_client
from tests.kit.prometheus import program
from tests.kit.stack import Stack, running_stack
from tests.kit.until import until
from tests.unit.test_observability import FOLDER

pytestmark = pytest.mark.long

SECONDS = 120.0


@contextlib.asynccontextmanager
async def prometheus(folder: Path, targets: list[str]) -> AsyncIterator[str]:
    """Run Prometheus with the rules, whose waits are a second; return its URL."""
    rules = re.sub(r"for: \d+[mh]", "for: 1s", (FOLDER / "alerts.yml").read_text())
    (folder / "alerts.yml").write_text(rules)
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "7s", "evaluation_interval": "1s", "scrape_timeout": "7s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    listen = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={listen}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://{listen}"
    finally:
        process.terminate()
        await process.wait()


async def firing(url: str) -> set[str]:
    async with http_client() as client:
        alerts = (await client.get(f"{url}/api/v1/alerts")).json()["data"]["alerts"]
    return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}


async def until_reached(url: str, count: int) -> None:
    """Return when Prometheus has read the metrics of all targets."""

    async def reached() -> bool:
        async with http_client() as client:
            with contextlib.suppress(httpx.HTTPError):  # it is still starting
                answer = await client.get(f"{url}/api/v1/targets")
                answer.raise_for_status()
                found = answer.json()["data"]["activeTargets"]
                return len(found) == count and all(one["health"] == "up" for one in found)
        return False

    await until(reached, "Prometheus reads all metrics", SECONDS)


async def until_firing(url: str, *names: str) -> None:
    async def fires() -> bool:
        return {*names} <= await firing(url)

    await until(fires, f"{names} fire", SECONDS)


async def until_clear(url: str, *names: str) -> None:
    async def is_clear() -> bool:
        return not {*names} & await firing(url)

    await until(is_clear, f"{names} clear", SECONDS)


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Stop processes for the block, as if they hung."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    settings: dict[str, object] = {
        section: {"metrics": f"127.0.0.1:{free_port()}"} for section in ("server", "dispatch", "gateway")
    }
    async with running_stack(tmp_path / "stack", settings) as running:
        yield running


@pytest.fixture
async def url(stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    tables = [table for table in stack.settings.values() if isinstance(table, dict)]
    targets = [table["metrics"] for table in tables if "metrics" in table]
    folder = tmp_path / "prometheus"
    folder.mkdir()
    async with prometheus(folder, targets) as address:
        await until_reached(address, len(targets))
        yield address


async def test_a_hung_dispatcher(stack: Stack, url: str) -> None:
    names = ("ClarionProcessDown", "ClarionDispatcherAbsent")
    with stopped(stack.children()["dispatch"].pid):
        await until_firing(url, *names)
    await until_clear(url, *names)


async def test_a_hung_database(stack: Stack, url: str) -> None:
    names = ("ClarionDatabaseUnreachable", "ClarionCatalogStale")
    database = stack.children()["postgres"]
    with stopped(database.pid, *(child.pid for child in database.children(recursive=True))):
        await until_firing(url, *names)
    await until_clear(url, *names)


async def test_a_hung_envoy(stack: Stack, url: str) -> None:
    gateway = stack.children()["gateway"]
    with stopped(*(child.pid for child in gateway.children(recursive=True))):
        await until_firing(url, "ClarionGatewayDown")
    await until_clear(url, "ClarionGatewayDown")
