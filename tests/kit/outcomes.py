"""The outcomes of attempts by their short names."""

from __future__ import annotations

from server.domain.delivery import AttemptOutcome

__all__ = ["DEAD", "DELIVERED", "IN_DOUBT", "LOST", "RETRY", "SUPPRESSED"]

DELIVERED, RETRY, DEAD, LOST, SUPPRESSED, IN_DOUBT = AttemptOutcome
