"""Drills with a real Prometheus: an alert fires while its cause lasts, and clears afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab.process import free_port
from lab.prometheus import Prometheus, prometheus
from tests.kit.prometheus import program
from tests.kit.stack import Stack, client, running_stack
from tests.kit.triggers import accepted
from tests.kit.until import until
from tests.unit.test_observability import DASHBOARDS

pytestmark = pytest.mark.long

SECONDS = 120.0


async def until_firing(watching: Prometheus, *names: str) -> None:
    async def fires() -> bool:
        return {*names} <= {one.name for one in await watching.firing()}

    await until(fires, f"{names} fire", SECONDS)


async def until_clear(watching: Prometheus, *names: str) -> None:
    async def is_clear() -> bool:
        return not {*names} & {one.name for one in await watching.firing()}

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
        section: {"metrics": f"127.0.0.1:{free_port()}"}
        for section in ("server", "dispatch", "gateway", "portal")
    }
    settings["portal"] = {"enabled": True, "metrics": f"127.0.0.1:{free_port()}"}
    async with running_stack(tmp_path / "stack", settings) as running:
        yield running


@pytest.fixture
async def watching(stack: Stack, tmp_path: Path) -> AsyncIterator[Prometheus]:
    program("prometheus")
    tables = [table for table in stack.settings.values() if isinstance(table, dict)]
    targets = [table["metrics"] for table in tables if "metrics" in table]
    folder = tmp_path / "prometheus"
    folder.mkdir()
    async with prometheus(folder, targets) as running:
        await running.until_reached(len(targets))
        yield running


async def test_a_hung_dispatcher(stack: Stack, watching: Prometheus) -> None:
    names = ("ClarionProcessDown", "ClarionDispatcherAbsent")
    with stopped(stack.children()["dispatch"].pid):
        await until_firing(watching, *names)
    await until_clear(watching, *names)


async def test_a_hung_database(stack: Stack, watching: Prometheus) -> None:
    names = ("ClarionDatabaseUnreachable", "ClarionCatalogStale")
    database = stack.children()["postgres"]
    with stopped(database.pid, *(child.pid for child in database.children(recursive=True))):
        await until_firing(watching, *names)
    await until_clear(watching, *names)


async def test_a_hung_envoy(stack: Stack, watching: Prometheus) -> None:
    gateway = stack.children()["gateway"]
    with stopped(*(child.pid for child in gateway.children(recursive=True))):
        await until_firing(watching, "ClarionGatewayDown")
    await until_clear(watching, "ClarionGatewayDown")


EMPTY = {
    "By campaign (with dispatch.metrics_by_campaign)": "the setting is off",
    "Projects that delay others": "no project delays others",
    "Share of attempts that are not delivered": "each was delivered",
    "Suppressed recipients": "no recipient was refused",
    "Webhook messages": "no webhook exists",
}
"""Panels with a query that has no series in this system, and why."""


async def test_each_panel_shows_something(stack: Stack, watching: Prometheus) -> None:
    """Each query of the dashboards is valid, and has a result, except for what did not happen here."""
    async with client(stack) as http:
        http.headers.update(stack.headers())
        trigger = await accepted(http)
        await http.post("/api/client/campaigns/44/trigger", json={})
        await http.get("/portal/sign-in")
    await stack.delivered("email", trigger)
    wanted = [one for dashboard in DASHBOARDS for one in queries(dashboard)]
    for _, query in wanted:
        await watching.get("query", query=query)  # raises LabError if it is not valid

    async def missing() -> list[tuple[str, str]]:
        return [one for one in wanted if one[0] not in EMPTY and not await result(watching, one[1])]

    async def is_complete() -> bool:
        return not await missing()

    with contextlib.suppress(AssertionError):  # the next line says which are missing
        await until(is_complete, "each panel shows something", SECONDS)
    assert await missing() == []


def queries(dashboard: Path) -> list[tuple[str, str]]:
    """Return the title of each panel and its queries, as Grafana would send them."""
    panels = json.loads(dashboard.read_text())["panels"]
    pairs = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    return [(title, re.sub(r"\$__\w+", "1m", query)) for title, query in pairs]


async def result(watching: Prometheus, query: str) -> list[object]:
    found: list[object] = (await watching.get("query", query=query))["result"]
    return found
