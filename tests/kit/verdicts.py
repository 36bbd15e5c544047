"""Expect a provider error with a given verdict."""

from __future__ import annotations

import pytest

from server.domain.delivery_errors import ProviderError, Verdict

__all__ = ["raises"]


def raises(verdict: Verdict, match: str | None = None) -> pytest.RaisesExc[ProviderError]:
    """Expect a `ProviderError` with this verdict, whose text matches the pattern if one is given."""
    return pytest.raises(ProviderError, match=match, check=lambda error: error.verdict is verdict)
