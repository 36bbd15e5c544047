"""Smoke tests of the benchmarks: each starts once, with the smallest settings. Speed is not asserted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from lab.bench import (
    backlog,
    batch,
    claims,
    client,
    history,
    idle,
    isolation,
    overload,
    portal,
    portal_store,
    schedule,
    validation,
    viewers,
)
from lab.command import temporary_run
from lab.h2load import MISSING as H2LOAD_MISSING
from lab.load import BUILTIN, WRK_MISSING, make_loader
from lab.product import Deployment, Product, product
from server.postgres.embedded import EmbeddedPostgres
from tests.kit.until import until

pytestmark = pytest.mark.xdist_group("bench")

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0
"""Seconds for a command of the benchmarks on a busy machine; quiet ones take up to 30."""
SHORT = ("--seconds", "1", "--rounds", "1", "--connections", "4", "--warmup", "0", "--loader", BUILTIN)
# Accepts every call at once: h2load's log has start (µs), status and duration (µs) in each line.
H2LOAD = """#!/bin/sh
for option; do case "$option" in --log-file=*) log="${option#*=}";; esac; done
for second in 0 1 2; do printf '%s000000\\t204\\t1000\\n' "$second" >> "$log"; done
"""


async def start(*words: str, module: str = "lab.bench", **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *words),
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def commands_naming(text: str) -> list[str]:
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if text in line]


def rows(report: str) -> dict[str, list[str]]:
    """Return the rows of all tables by their first cell."""
    lines = [line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines if line[0] != "---"}


@pytest.fixture(scope="module")
async def core(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    with temporary_run(tmp_path_factory.mktemp("bench")) as run:
        async with product(run) as running:
            yield running


@pytest.fixture(scope="module")
async def deployment(core: Product) -> AsyncIterator[Deployment]:
    async with core.serving() as running:
        yield running


@pytest.mark.long
async def test_bench_reports_every_variant(tmp_path: Path) -> None:
    as_json, as_markdown, data = tmp_path / "report.json", tmp_path / "report.md", tmp_path / "data"
    files = ("--data", str(data), "--json", str(as_json), "--markdown", str(as_markdown))
    code, out, err = await finish(await start(*SHORT, *files))

    assert code == 0, err
    report = json.loads(as_json.read_text())
    assert report["valid"]
    found = {row["variant"]: row for row in report["rows"]}
    assert {name: {role for role, cpu in row["cpu_us"].items() if cpu} for name, row in found.items()} == {
        "ceiling": {"envoy", "server"},
        "clarion, API alone": {"envoy", "server", "postgres"},
        "clarion, with dispatcher": {"envoy", "server", "postgres", "dispatcher"},
    }
    assert all(row["rate"] > 0 and row["p99_ms"] > 0 and not row["bad"] for row in found.values())
    assert found["clarion, API alone"]["queued"] > 0
    assert found["clarion, with dispatcher"]["delivered_rate"] > 0
    for text in (out, as_markdown.read_text()):
        assert "of the ceiling; target 0.8" in text
    assert not list(data.iterdir())
    await until(lambda: not commands_naming(str(tmp_path)), "all processes have ended")


@pytest.mark.long
async def test_ctrl_c_stops_all_processes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = await start("--history", "0", "--data", str(data), module="lab.bench.claims")
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b"warming up" not in await process.stderr.readline():
            pass
    assert commands_naming(str(tmp_path))
    process.send_signal(signal.SIGINT)
    code, _, err = await finish(process)

    assert code == 130, err
    assert not list(data.iterdir())
    await until(lambda: not commands_naming(str(tmp_path)), "all processes have ended")


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        pytest.param("lab.bench", WRK_MISSING, id="wrk"),
        pytest.param("lab.bench.overload", H2LOAD_MISSING, id="h2load", marks=pytest.mark.long),
    ],
)
async def test_missing_load_generator(module: str, missing: str, tmp_path: Path) -> None:
    process = await start("--data", str(tmp_path), module=module, PATH=str(tmp_path))
    code, out, err = await finish(process)
    assert (code, out, err) == (2, "", f"bench: {missing}\n")


@pytest.mark.long
async def test_batch(core: Product, deployment: Deployment) -> None:
    report = rows(batch.as_text(await batch.measure(core, deployment, 1, 0.1, BUILTIN)))
    assert list(report)[1:] == list(batch.VARIANTS)


@pytest.mark.long
async def test_client(core: Product, deployment: Deployment) -> None:
    samples, single = await client.measure(core, deployment, seconds=0.3, rounds=1)
    report = rows(client.as_text(samples, single))
    assert set(client.VARIANTS) < set(report)
    assert all(float(report[variant][0]) > 0 for variant in client.VARIANTS)
    assert float(report["coalesced"][0]) > 0


@pytest.mark.long
async def test_overload(
    core: Product, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "h2load"
    program.write_text(H2LOAD)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    capacity, samples = await overload.measure(core, deployment, seconds=1, rounds=1, connections=1)
    assert capacity == 2
    assert rows(overload.as_text(samples))["twice the capacity"][:6] == ["2", "2", "0", "0", "1.0", "1.0"]


@pytest.mark.long
async def test_schedule(core: Product, deployment: Deployment) -> None:
    delays = await schedule.measure(core, deployment, 3, 1, 10)
    assert len(delays) == 3


@pytest.mark.long
@pytest.mark.long
def test_history_is_measured_and_dropped(tmp_path: Path) -> None:
    chart = tmp_path / "chart.svg"
    sizes = ["--large=1", "--rows=1000", "--few=1000", "--rounds=3", "--seconds=3", "--rate=20"]
    result = CliRunner().invoke(
        history.main, [*sizes, "--data", str(tmp_path / "data"), "--plot", str(chart)]
    )
    assert result.exit_code == 0, result.output
    assert "The p99 with a drop is" in result.output
    assert "The highest ratio of CPU is" in result.stderr
    assert chart.read_text().count("<polyline") == 9


async def test_claims(core: Product) -> None:
    server = EmbeddedPostgres(core.run.data, core.run.sockets)
    report = await claims.measure(server, 100, 1, 400, warmup=0.1)
    assert "times as long as in an empty database; target 1.2" in report
    assert "| from the floor | 1 |" in report


@pytest.mark.long
async def test_delivery_backlog(core: Product) -> None:
    report = rows(backlog.as_table(await backlog.measure(core, 300, 5, 1, [backlog.EMAIL])))
    for variant in (backlog.BARE, backlog.EMAIL):
        assert float(report[variant][0]) > 0, variant


@pytest.mark.long
async def test_delivery_idle(core: Product, deployment: Deployment) -> None:
    report = rows(idle.as_table(await idle.measure(core, deployment, 2, 0.2)))
    assert all(float(figure) > 0 for figure in report["POST to DATA"])
    assert report["% of a core"] == ["envoy", "server", "postgres", "dispatcher"]


@pytest.mark.long
async def test_isolation(core: Product) -> None:
    settings = {"connections": 5, "timeout": 0.3, "breaker_pause": 0.2}
    samples, move = await isolation.measure(core, 100, 1, hang=0.6, rate=40, settle=0.5, **settings)
    report = rows(isolation.as_text(samples, move, 0.6, 40))
    assert float(report[isolation.ALONE][0]) > 0
    assert int(report["failed attempts"][0]) > 0


@pytest.mark.long
async def test_portal(tmp_path: Path) -> None:
    with temporary_run(tmp_path) as run:
        async with product(run) as filled:
            size = portal_store.Size(deliveries=2000, dead_letters=200, campaigns=100, others=120)
            await portal_store.fill(filled.database_url, size)
            [row] = await filled.rows(
                "SELECT (SELECT count(*) FROM trigger), (SELECT count(*) FROM dead_letter)"
            )
            figures = await portal.measure(filled, rounds=1, depth=1)
            load = make_loader(BUILTIN, run.data, filled.key, 2)
            watched = rows(viewers.as_text(await viewers.measure(filled, load, 2, rounds=1, seconds=0.5)))
    assert tuple(row) == (2000, 198)  # the last percent waits
    report = rows(portal.as_text(figures))
    assert float(report["`/deliveries?state=dead and next pages`"][1]) > 0
    assert [address for address, taken in figures.items() if taken.failed] == []
    assert all(float(watched[variant][0]) > 0 for variant in viewers.VARIANTS)


@pytest.mark.long
def test_validation() -> None:
    result = CliRunner().invoke(validation.main, ["--rounds", "1"])
    assert "µs for each trigger; target" in result.output
    assert result.exit_code in {0, 1}  # 1: above the target
