"""Fixtures for unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.kit.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """Keep log events out of the output of a test."""
    with capture_logs():
        yield
