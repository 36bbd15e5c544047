"""Builds what the admin API works with."""

from __future__ import annotations

from functools import partial

from ..admin.services import Backend
from ..config import Settings
from ..store.pool import Pool
from .webhooks import url_problems

__all__ = ["build_backend"]


def build_backend(settings: Settings, pool: Pool) -> Backend:
    """Return what the services of the admin API work with."""
    return Backend(pool, partial(url_problems, settings))
