"""Pauses suppression while a provider refuses too many recipients for its replies to be credible.

After a wrong setting or a fault of the provider, it may reply to every message that the recipient does not
exist. On 15 December 2020, for example, Gmail replied `550 5.1.1` to mail for existing accounts for hours.
Each dispatcher counts only the answers that it receives itself, and only while it runs.
"""

from __future__ import annotations

from collections import deque

import structlog

from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery_errors import ProviderError, Verdict
from . import metrics
from .providers.base import Provider

__all__ = ["PERIOD", "WINDOW", "SuppressionGuard", "SuppressionGuards"]

WINDOW = 200
"""How many of a provider's last answers count."""
PERIOD = 3600.0
"""Seconds after which an answer no longer counts."""


class SuppressionGuard:
    """Counts the refused recipients among one provider's last answers. It does no I/O and reads no clock.

    Args:
        limit: Refused recipients that are still normal. More of them pause suppression, until at most half as
            many remain among the last answers. 0: suppression never pauses.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._answers: deque[tuple[float, bool]] = deque()
        self._refused = 0
        self._paused = False

    def record(self, now: float, *, refused: bool) -> None:
        """Record an answer of the provider: a refused recipient, or any other."""
        if len(self._answers) == WINDOW:
            self._forget_oldest()
        self._answers.append((now, refused))
        self._refused += refused

    def is_paused(self, now: float) -> bool:
        """Return whether no recipient may be suppressed at `now`."""
        refused = self.refused(now)
        self._paused = 0 < self._limit < refused or (self._paused and refused > self._limit // 2)
        return self._paused

    def refused(self, now: float) -> int:
        """Return the number of refused recipients among the answers that count at `now`."""
        while self._answers and self._answers[0][0] <= now - PERIOD:
            self._forget_oldest()
        return self._refused

    def _forget_oldest(self) -> None:
        _, refused = self._answers.popleft()
        self._refused -= refused


class SuppressionGuards:
    """The guards of all providers. Logs and counts when they pause and resume suppression."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._guards: dict[str, SuppressionGuard] = {}
        self._paused: set[str] = set()
        self._log = structlog.get_logger("clarion.dispatch").bind()

    def paused(self) -> set[str]:
        """Return the names of the providers for which suppression is paused now."""
        now = self._clock.monotonic()
        return {name for name, guard in self._guards.items() if guard.is_paused(now)}

    def sent(self, provider: Provider) -> None:
        """Record that the provider accepted a message."""
        self._record(provider, refused=False)

    def judge(self, provider: Provider, error: ProviderError) -> ProviderError:
        """Record an answer and return it, with the verdict NEVER if its recipient must not be suppressed.

        Failures of the provider do not count, and neither do messages that Clarion rejected before sending,
        unless it rejected the recipient: a wrong setting could be the reason.
        """
        refused = error.verdict is Verdict.RECIPIENT_REFUSED
        if not refused and (not error.reached_provider or error.verdict.blames_provider):
            return error
        paused = self._record(provider, refused=refused)
        if refused:
            metrics.suppressed(provider.name, withheld=paused)
        if not (refused and paused):
            return error
        reason = "the recipient is not suppressed, because the provider refuses too many"
        text = f"{reason}: {error}"
        return ProviderError(Verdict.NEVER, text, reached_provider=error.reached_provider)

    def _record(self, provider: Provider, *, refused: bool) -> bool:
        """Record an answer, log a change, and return whether suppression is paused."""
        now, name = self._clock.monotonic(), provider.name
        guard = self._guard(provider)
        guard.record(now, refused=refused)
        paused = guard.is_paused(now)
        if paused and name not in self._paused:
            self._paused.add(name)
            self._log.error(
                "suppression_paused",
                provider=name,
                refused=guard.refused(now),
                undo=f"clarion suppressions remove --all --provider {name} --since TIME",
            )
        elif not paused and name in self._paused:
            self._paused.discard(name)
            self._log.warning("suppression_resumed", provider=name)
        return paused

    def _guard(self, provider: Provider) -> SuppressionGuard:
        guard = self._guards.get(provider.name)
        if guard is None:
            guard = self._guards[provider.name] = SuppressionGuard(provider.policy.suppression_limit)
            metrics.watch_suppression(provider.name, lambda: guard.is_paused(self._clock.monotonic()))
        return guard
