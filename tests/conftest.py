"""For all tests."""

from __future__ import annotations

import os

import pytest
import structlog

# Tests start processes while gRPC's threads are at work: a child in which gRPC sees to itself may die before
# it is another program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> None:
    """Undo what an earlier test in this process configured: a command run in-process logs errors only."""
    structlog.reset_defaults()
