"""Bounds on the work of a function, for input that is meant to make it slow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

__all__ = ["little_cpu"]

SECONDS = 2.0
"""Far above what any of the tests needs on a slow machine, and far below what a quadratic algorithm takes."""


@contextlib.contextmanager
def little_cpu(seconds: float = SECONDS) -> Iterator[None]:
    """Check that the block takes less than this processor time of this process; waiting does not count."""
    begin = time.process_time()
    yield
    used = time.process_time() - begin
    assert used < seconds, f"took {used:.1f} s of processor time"
