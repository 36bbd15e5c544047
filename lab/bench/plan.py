"""What is asked of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["BODY", "PATH", "TARGET", "BenchError", "Plan"]

TARGET = 0.80
"""Clarion's triggers/s, API alone, as a share of the ceiling's."""
PATH = "/api/client/campaigns/44/trigger"
BODY = (
    '{"user": {"external_id": "EXTERNAL_ID", "email": "test@test.com", "timezone": "America/Chicago",'
    ' "locale": "en"}, "event": {"random_field": "value"}}'
)
"""The documented example."""


class BenchError(Exception):
    """The run cannot go on; one line says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of a run; times in seconds."""

    seconds: float
    """How long one variant is measured in one round."""
    rounds: int
    warmup: float
    connections: int
    processes: int
    """Server processes, of Clarion and of the ceiling alike."""
    envoy_threads: int
    loader: str
    """`wrk`, or `builtin`: a small one of our own, for trying the harness out."""
    data: Path
    """Where the database lives for the run; its disk decides what fsync costs."""

    def __post_init__(self) -> None:
        """Check every number.

        Raises:
            BenchError: one is out of its range.
        """
        limits = {"seconds": 600, "rounds": 100, "connections": 1000, "processes": 64, "envoy_threads": 64}
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                option = f"--{name.replace('_', '-')}"
                raise BenchError(f"{option} must be from 1 to {most}, not {getattr(self, name)}")
