"""What a scenario found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Finding", "finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The figures of one scenario, and the guarantees that failed."""

    scenario: str
    figures: Mapping[str, object]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every guarantee held."""
        return not self.failures

    def __str__(self) -> str:
        """Return the figures in one line, followed by a line for each failure."""
        figures = ", ".join(f"{name}: {_short(value)}" for name, value in self.figures.items())
        return "\n".join([f"{self.scenario}: {figures}", *(f"  FAILED: {text}" for text in self.failures)])


def finding(scenario: str, figures: Mapping[str, object], guarantees: Mapping[str, bool]) -> Finding:
    """Return what was found.

    Args:
        scenario: The name of the scenario.
        figures: What was counted or measured.
        guarantees: What must be true, and whether it was.
    """
    return Finding(scenario, figures, tuple(text for text, held in guarantees.items() if not held))


def _short(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
