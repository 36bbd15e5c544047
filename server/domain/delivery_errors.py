"""Errors of failed attempts.

DeliveryError          an attempt failed
├── RenderError        the template could not be rendered
└── ProviderError      the provider refused the message or did not answer; `verdict` says which
"""

from __future__ import annotations

import enum

from ..errors import ClarionError

__all__ = ["DeliveryError", "ProviderError", "RenderError", "Verdict"]


class Verdict(enum.StrEnum):
    """What a provider decided about a message. Retries, breakers and routing depend only on this."""

    SENT = "sent"
    """The provider accepted the message."""
    LATER = "later"
    """Retry: the provider works, but cannot deliver this message or reach this recipient now."""
    NEVER = "never"
    """Give up: the provider will never accept this message."""
    RECIPIENT_REFUSED = "recipient_refused"
    """Give up and suppress the recipient: no message to this address can ever arrive, regardless of
    settings, sender and campaign."""
    OPTED_OUT = "opted_out"
    """Give up: the recipient has opted out of this sender's messages, and the provider enforces that."""
    PROVIDER_DOWN = "provider_down"
    """Retry: no message can be sent now (no connection, login refused, throttled); counts for the breaker."""
    IN_DOUBT = "in_doubt"
    """The whole message was sent, but the provider's reply is missing: the message may have arrived. The
    provider's policy decides whether to retry; counts for the breaker."""

    @property
    def blames_provider(self) -> bool:
        """Whether it counts as a failure of the provider."""
        return self in {Verdict.PROVIDER_DOWN, Verdict.IN_DOUBT}


class DeliveryError(ClarionError):
    """An attempt failed.

    The text never contains the recipient's address. `reached_provider` is false if the message was rejected
    before the provider saw it, so that the error says nothing about the provider.
    """

    verdict = Verdict.NEVER
    retry_after: float | None = None
    reached_provider = False


class RenderError(DeliveryError):
    """The template could not be rendered."""


class ProviderError(DeliveryError):
    """The provider did not accept the message."""

    def __init__(
        self,
        verdict: Verdict,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        reached_provider: bool = True,
    ) -> None:
        """Create an error.

        Args:
            verdict: What the provider decided; anything but `SENT`.
            message: The provider's message, or Clarion's own if it sent none.
            retry_after: Minimum seconds before the next attempt, if the provider specified them.
            reached_provider: False if Clarion rejected the message itself.
        """
        if verdict is Verdict.SENT:
            raise ValueError("an error cannot have the verdict SENT")
        super().__init__(message)
        self.verdict = verdict
        self.retry_after = retry_after
        self.reached_provider = reached_provider
