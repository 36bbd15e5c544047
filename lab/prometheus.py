"""Runs a real Prometheus with Clarion's rules, which fire after a second instead of minutes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from .errors import LabError
from .process import free_port

__all__ = ["RULES", "Alert", "Prometheus", "prometheus"]

RULES = Path(__file__).parents[1] / "deploy" / "observability" / "alerts.yml"
_CONFIG = """
global: {{scrape_interval: {scrape}, scrape_timeout: {scrape}, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: clarion
    file_sd_configs: [{{files: [targets.json]}}]
"""
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires."""

    name: str
    summary: str


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    url: str
    _folder: Path

    def watch(self, targets: Iterable[str]) -> None:
        """Set the addresses whose metrics it reads, instead of the former ones."""
        new = self._folder / "new.json"
        new.write_text(json.dumps([{"targets": sorted(targets)}]))
        new.rename(self._folder / "targets.json")  # it may read the file at any time

    async def until_reached(self, count: int) -> None:
        """Wait until it has read the metrics of this number of processes.

        Raises:
            LabError: It has not within two minutes.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                while not await self._reaches(count):  # noqa: ASYNC110 - another process changes it
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise LabError(f"Prometheus did not read the metrics of {count} processes") from None

    async def firing(self) -> list[Alert]:
        """Return the alerts that fire."""
        alerts = (await self.get("alerts"))["alerts"]
        return [
            Alert(one["labels"]["alertname"], one["annotations"]["summary"])
            for one in alerts
            if one["state"] == "firing"
        ]

    async def get(self, path: str, **parameters: str) -> Any:
        """Return the data that a path of its API returns.

        Raises:
            LabError: It rejected the request.
        """
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            answer = await http.get(f"{self.url}/api/v1/{path}", params=parameters)
        found = answer.json()
        if found["status"] != "success":
            raise LabError(f"Prometheus: {found['error']}: {parameters}")
        return found["data"]

    async def _reaches(self, count: int) -> bool:
        with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError):  # it is still starting
            found = (await self.get("targets"))["activeTargets"]
            return len(found) == count and all(one["health"] == "up" for one in found)
        return False


@asynccontextmanager
async def prometheus(
    folder: Path, targets: Iterable[str], *, scrape: str = "7s"
) -> AsyncIterator[Prometheus]:
    """Run Prometheus for the block.

    Args:
        folder: An existing folder for its files.
        targets: The addresses whose metrics it reads.
        scrape: How often it reads them, and how long that may take.

    Raises:
        LabError: It is not installed.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise LabError("Prometheus is not installed: apt-get install prometheus")
    (folder / "alerts.yml").write_text(re.sub(r"for: \d+[mh]", "for: 1s", RULES.read_text()))
    (folder / "prometheus.yml").write_text(_CONFIG.format(scrape=scrape))
    listen = f"127.0.0.1:{free_port()}"
    running = Prometheus(f"http://{listen}", folder)
    running.watch(targets)
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={listen}",
            stdout=log,
            stderr=log,
        )
    try:
        yield running
    finally:
        process.terminate()
        await process.wait()
