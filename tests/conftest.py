"""Settings and fixtures for all tests."""

from __future__ import annotations

import os

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Tests start processes while gRPC's threads run: with its fork handlers, a child may die before its exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# Hypothesis' own limits on time fail tests on a busy machine; pytest's timeout bounds them all the same.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# The kit's assertions explain themselves like those of test files.
pytest.register_assert_rewrite("tests.kit")


@pytest.fixture(autouse=True)
def _default_logging() -> None:
    """Undo the logging that an earlier test configured: a command run in-process logs errors only."""
    structlog.reset_defaults()
