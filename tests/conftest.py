"""For all tests."""

from __future__ import annotations

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> None:
    """Undo what an earlier test in this process configured: a command run in-process logs errors only."""
    structlog.reset_defaults()
