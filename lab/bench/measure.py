"""Measures the variants of `lab.bench` alternately, so that a busy machine affects all of them alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..command import log
from ..cpu import CpuMeter
from ..load import Load, make_loader
from ..product import Deployment, Product

__all__ = ["ALONE", "CEILING", "DISPATCHING", "VARIANTS", "Plan", "Sample", "measure"]

CEILING = "ceiling"
ALONE = "clarion, API alone"
DISPATCHING = "clarion, with dispatcher"
VARIANTS = (CEILING, ALONE, DISPATCHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of a run."""

    seconds: float
    """How long each variant is measured in each round."""
    rounds: int
    warmup: float
    """Seconds for each variant before the first round."""
    connections: int
    processes: int
    """Server processes, both of Clarion and of the ceiling."""
    envoy_threads: int
    loader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One variant in one round."""

    variant: str
    load: Load
    cpu: dict[str, float]
    """CPU seconds by role."""
    delivered: int
    """Triggers delivered while the load ran."""
    queued: int
    """Triggers in the queue when the load ended."""

    @property
    def rate(self) -> float:
        """Triggers per second."""
        return self.load.answers / self.load.seconds

    @property
    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds per answer by role, including the load generator."""
        used = {**self.cpu, "loader": self.load.loader_cpu}
        return {role: seconds * 1e6 / max(1, self.load.answers) for role, seconds in used.items()}


async def measure(plan: Plan, empty: Deployment, core: Product, deployment: Deployment) -> list[Sample]:
    """Measure every variant in every round.

    Args:
        plan: the options.
        empty: the ceiling.
        core: Clarion without a dispatcher.
        deployment: Clarion's servers and gateway.

    Raises:
        LabError: something failed.
    """
    loader = make_loader(plan.loader, core.run.data, core.key, plan.connections)

    async def sample(variant: str, seconds: float) -> Sample:
        if variant != CEILING:
            await core.clear()
        async with _chosen(variant, empty, core, deployment) as chosen:
            meter = CpuMeter(chosen.pids)
            load = await loader.run(chosen.port, seconds)
            cpu = meter.used()
            if variant == CEILING:
                return Sample(variant=variant, load=load, cpu=cpu, delivered=0, queued=0)
            delivered, queued = await core.delivered(), await core.queued()
        return Sample(variant=variant, load=load, cpu=cpu, delivered=delivered, queued=queued)

    log(f"warming up each variant for {plan.warmup:g} s")
    for variant in VARIANTS if plan.warmup else ():
        await sample(variant, plan.warmup)
    samples = []
    for number in range(plan.rounds):
        for variant in VARIANTS:
            samples.append(await sample(variant, plan.seconds))
            log(f"round {number + 1}/{plan.rounds}  {variant:<25} {samples[-1].rate:7.0f}/s")
    return samples


@asynccontextmanager
async def _chosen(
    variant: str, empty: Deployment, core: Product, deployment: Deployment
) -> AsyncIterator[Deployment]:
    if variant == DISPATCHING:
        async with core.dispatching() as dispatcher:
            yield deployment.with_dispatcher(dispatcher)
    else:
        yield empty if variant == CEILING else deployment
