"""The run: rounds in which the variants take turns, so that noise of the machine meets all alike."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from server.up.data_folder import RunDir

from ..product.bench_stand import Clarion, Stand, ceiling, clarion
from .cpu import cpu_seconds
from .load import Load, Loader, Wrk, make_loader
from .plan import Plan

__all__ = ["ALONE", "CEILING", "DISPATCHING", "VARIANTS", "Sample", "cpu_of_stand", "measure"]

CEILING = "ceiling"
ALONE = "clarion, API alone"
DISPATCHING = "clarion, with dispatcher"
VARIANTS = (CEILING, ALONE, DISPATCHING)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One variant in one round."""

    variant: str
    load: Load
    cpu: dict[str, float]
    """CPU seconds by role."""
    delivered: int
    """Delivered while the load ran."""
    waiting: int
    """In the queue when it ended."""

    @property
    def rate(self) -> float:
        """Triggers a second."""
        return self.load.answers / self.load.seconds

    @property
    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds for each answer, by role, the loader's too."""
        used = {**self.cpu, "loader": self.load.loader_cpu}
        return {role: seconds * 1e6 / max(1, self.load.answers) for role, seconds in used.items()}


async def measure(plan: Plan, say: Say) -> list[Sample]:
    """Run the plan; everything that it starts has ended when it returns.

    Raises:
        BenchError: something does not work; one line.
    """
    plan.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=plan.data) as name, RunDir(Path(name)) as run:
        say("starting PostgreSQL, servers and Envoy")
        async with ceiling(plan, run) as empty, clarion(plan, run) as product:
            loader = make_loader(plan, run.data, product.key)
            rounds = _Rounds(plan, loader, empty, product)
            say(f"warming up: {plan.warmup:g} s each")
            for variant in VARIANTS if plan.warmup else ():
                await rounds.sample(variant, plan.warmup)
            samples = []
            for number in range(plan.rounds):
                for variant in VARIANTS:
                    samples.append(await rounds.sample(variant, plan.seconds))
                    say(f"round {number + 1}/{plan.rounds}  {variant:<25} {samples[-1].rate:7.0f}/s")
            return samples


class _Rounds:
    def __init__(self, plan: Plan, loader: Wrk | Loader, empty: Stand, product: Clarion) -> None:
        self._plan = plan
        self._loader = loader
        self._empty = empty
        self._product = product

    async def sample(self, variant: str, seconds: float) -> Sample:
        """Measure one variant once. Tables are emptied before it, outside the measured time."""
        if variant != CEILING:
            await self._product.clear()
        async with self._stand(variant) as stand:
            before = cpu_of_stand(stand)
            load = await self._loader.run(stand.port, seconds)
            used = {role: now - before[role] for role, now in cpu_of_stand(stand).items()}
            delivered, waiting = (0, 0) if variant == CEILING else await self._product.counts()
        return Sample(variant=variant, load=load, cpu=used, delivered=delivered, waiting=waiting)

    def _stand(self, variant: str) -> AbstractAsyncContextManager[Stand]:
        if variant == DISPATCHING:
            return self._product.dispatching()
        return _as_it_is(self._empty if variant == CEILING else self._product)


@asynccontextmanager
async def _as_it_is(stand: Stand) -> AsyncIterator[Stand]:
    yield stand


def cpu_of_stand(stand: Stand) -> dict[str, float]:
    """Return the CPU seconds that each role has used so far."""
    return {role: cpu_seconds(pids) for role, pids in stand.pids.items()}
