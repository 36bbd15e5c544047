"""Defines providers, the only way in which messages leave Clarion."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec

from ...channels.base import Message
from ...domain.campaign import Channel, RetryPolicy

__all__ = ["Destination", "Provider", "ProviderRetryPolicy", "SendingPolicy"]


class ProviderRetryPolicy(RetryPolicy, frozen=True, forbid_unknown_fields=True):
    """The domain's retry policy, for configuration files: an unknown field is an error."""


class SendingPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings that all providers have; a provider's settings inherit from it. Times are in seconds."""

    rate: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 0.0
    """Messages per second, for all dispatchers together; 0: unlimited."""
    breaker_failures: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 5
    """Consecutive failures of the provider that open its circuit breaker; 0: it has none."""
    breaker_pause: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    """How long an open breaker waits before it lets one message through; doubles with each failure."""

    retry: ProviderRetryPolicy | None = None
    """The policy of campaigns that do not set one."""

    def repr_fields(self) -> list[tuple[str, Any]]:
        """Return the settings that `repr` shows; a provider with secrets overrides this to leave them out."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        """Show what `repr_fields` returns, because a repr may be logged."""
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.repr_fields())})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that rich shows, for the same reason."""
        return self.repr_fields()


class Destination(Protocol):
    """The limits for sending to a provider or a webhook endpoint."""

    @property
    def timeout(self) -> float:
        """Seconds that one `send` may take."""
        ...

    @property
    def concurrency(self) -> int:
        """How many messages may be in flight at once."""
        ...

    @property
    def policy(self) -> SendingPolicy:
        """Its rate, circuit breaker and retry policy."""
        ...


class Provider(Destination, Protocol):
    """Delivers messages of some channels.

    The caller cancels a `send` that takes longer than `timeout`, and has at most `concurrency` in flight.
    """

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        ...

    @property
    def channels(self) -> frozenset[Channel]:
        """The channels that it delivers."""
        ...

    async def send(self, message: Message) -> str:
        """Send a message and return the provider's ID for it, or an empty string.

        Raises:
            ProviderError: The provider did not accept it; the error's verdict says what to do next.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
