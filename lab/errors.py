"""Defines the error that ends a run."""

from __future__ import annotations

__all__ = ["LabError"]


class LabError(Exception):
    """The run cannot continue. The message is one line."""
