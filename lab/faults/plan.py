"""What is asked of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["VICTIMS", "FaultsError", "Plan"]

VICTIMS: dict[str, tuple[str, ...]] = {
    "dispatcher": ("dispatcher",),
    "server": ("server",),
    "both": ("server", "dispatcher"),
    "postgres": ("postgres",),
    "all": ("postgres", "server", "dispatcher"),
}
"""What can be killed in a round, in the order in which it starts again."""


class FaultsError(Exception):
    """The run cannot go on; one line says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of a run; times in seconds."""

    seed: int
    rounds: int = 50
    """How often something is killed."""
    stops: int = 10
    """How often the dispatcher is ended by SIGTERM."""
    victims: tuple[str, ...] = ("dispatcher", "server", "both")
    callers: int = 6
    pause: float = 0.04
    """Between two calls of a caller."""
    longest: float = 4.0
    """The random time under load before a kill is at most this."""
    data: Path = Path(".clarion")
    """Where the database lives for the run."""
