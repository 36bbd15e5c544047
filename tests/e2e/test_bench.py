"""The benchmark's harness, in its short form: every figure is there, and nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.bench.calling import BEGIN, END, WAYS
from lab.bench.load import MISSING
from lab.product.process import bench_module, with_bench
from tests.kit.stack import Stack

ROOT = Path(__file__).parents[2]
SHORT = ("--seconds", "1", "--rounds", "1", "--connections", "4")
LOADER = "wrk" if shutil.which("wrk") else "builtin"


async def start(*words: str, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lab.bench", *words),
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def commands_naming(text: str) -> list[str]:
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if text in line]


async def test_a_short_run_reports_every_figure_of_every_variant(tmp_path: Path) -> None:
    as_json, as_markdown = tmp_path / "report.json", tmp_path / "report.md"
    files = ("--json", str(as_json), "--markdown", str(as_markdown))
    process = await start(
        *SHORT, "--warmup", "0", "--loader", LOADER, "--data", str(tmp_path / "data"), *files
    )
    code, out, err = await finish(process)

    assert code == 0, err
    report: dict[str, Any] = json.loads(as_json.read_text())
    assert report["valid"]
    assert 0 < report["ratio"] < 2
    rows = {row["variant"]: row for row in report["rows"]}
    assert list(rows) == ["ceiling", "clarion, API alone", "clarion, with dispatcher"]
    for row in rows.values():
        for figure in ("rate", "ratio", "total_cpu_us", "p50_ms", "p99_ms"):
            assert row[figure] > 0, (row["variant"], figure)
        assert row["bad"] == 0
    with_cpu = {
        name: {role for role, used in row["cpu_us"].items() if used > 0} for name, row in rows.items()
    }
    assert with_cpu == {
        "ceiling": {"envoy", "server"},
        "clarion, API alone": {"envoy", "server", "postgres"},
        "clarion, with dispatcher": {"envoy", "server", "postgres", "dispatcher"},
    }
    assert rows["clarion, API alone"]["waiting"] > 0
    assert rows["clarion, with dispatcher"]["delivered_rate"] > 0
    for text in (out, as_markdown.read_text()):
        assert "of the ceiling; target 0.80" in text
    assert not list((tmp_path / "data").iterdir())
    assert not commands_naming(str(tmp_path))


async def test_ctrl_c_ends_everything_that_was_started(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = await start(*SHORT, "--loader", "builtin", "--data", str(data))
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"warming up" not in await process.stderr.readline():
            pass
    assert commands_naming(str(tmp_path))
    process.send_signal(signal.SIGINT)
    code, _, err = await finish(process)

    assert code == 130, err
    assert not list(data.iterdir())
    assert not commands_naming(str(tmp_path))


@pytest.mark.parametrize("way", WAYS)
async def test_the_caller_of_the_clients_benchmark_reports_what_it_saw(way: str, demo: Stack) -> None:
    process = await asyncio.create_subprocess_exec(
        *bench_module("calling", way, demo.target, 4, 0.1),
        env={**os.environ, **with_bench(), "CLARION_API_KEY": demo.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, out, err = await finish(process)

    assert code == 0, err
    begin, end, report = out.splitlines()
    assert (begin, end) == (BEGIN, END)
    seen = json.loads(report)
    assert all(seen[figure] > 0 for figure in ("calls", "seconds", "cpu", "p50", "p99"))


async def test_a_missing_wrk_is_told_in_one_line(tmp_path: Path) -> None:
    code, out, err = await finish(await start(*SHORT, PATH=str(tmp_path)))

    assert code == 2
    assert err == f"bench: {MISSING}\n"
    assert not out
