"""The benchmarks of delivery, in their short forms: every figure is there, and nothing stays behind."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from tests.kit.until import until

from .test_bench import ROOT, commands_naming, finish

SHORT = {
    "delivery": (
        *("--messages", "800", "--rounds", "1", "--triggers", "3", "--idle-seconds", "1"),
        *("--variant", "email by SMTP", "--variant", "push by FCM"),
    ),
    "claims": ("--history", "2000", "--held", "3", "--rate", "400"),
    "isolation": (
        *("--messages", "100", "--rounds", "1", "--timeout", "0.5", "--pause", "0.3"),
        *("--hang", "1.5", "--rate", "40"),
    ),
}


async def start(name: str, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"lab.bench.{name}", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def short_form(name: str, data: Path) -> str:
    """Run a benchmark, see that it ended well and left nothing, and return what it printed."""
    process = await start(name, *SHORT[name], "--data", str(data))
    code, out, err = await finish(process)
    assert code == 0, err
    assert_nothing_left(data)
    return out


def assert_nothing_left(data: Path) -> None:
    assert not list(data.iterdir())
    assert not commands_naming(str(data))


def rows(out: str) -> dict[str, list[str]]:
    """Return the rows of all tables, by their first cell."""
    lines = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines if line[0] != "---"}


async def test_delivery_reports_each_channel_beside_the_bare_loop(tmp_path: Path) -> None:
    out = await short_form("delivery", tmp_path / "data")

    found = rows(out)
    for variant in ("bare aiosmtplib", "email by SMTP", "push by FCM"):
        rate, _, ratio, *_ = found[variant]
        assert float(rate) > 0, variant
        assert float(ratio) > 0, variant
    assert [float(figure) > 0 for figure in found["POST to DATA"]] == [True] * 4
    assert len(found["204 to DATA"]) == 4
    assert found["% of a core"] == ["envoy", "server", "postgres", "dispatcher"]
    assert "of the bare loop; target 0.7" in out


async def test_claims_reports_both_databases_over_time_and_claims_without_floors(tmp_path: Path) -> None:
    out = await short_form("claims", tmp_path / "data")

    assert [float(figure) > 0 for figure in rows(out)["2-3"][1:]] == [True] * 6
    for look in ("from the floor", "without floors"):
        assert f"| {look} | 64 |" in out
    assert "of what it takes in an empty database; target 1.2" in out
    assert "2000 rows of history" in out


async def test_isolation_reports_the_others_throughput_and_how_traffic_moves(tmp_path: Path) -> None:
    out = await short_form("isolation", tmp_path / "data")

    found = rows(out)
    for variant in ("B and C alone", "B and C while A hangs"):
        assert float(found[variant][0]) > 0
    assert "of what they do alone; target 0.9" in out
    for moment in (
        "from the hang to the first message through B",
        "longest wait of a trigger until its delivery began",
    ):
        assert float(found[moment][0].removesuffix(" s")) > 0
    assert int(found["attempts that failed"][0]) > 0


async def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = await start("isolation", "--data", str(data))  # the one with most processes
    await until(lambda: len(commands_naming(str(data))) >= 2, "it has started another process")
    process.send_signal(signal.SIGINT)
    code, _, err = await finish(process)

    assert code == 130, err
    assert_nothing_left(data)
