"""Defines providers, which deliver the messages of campaigns, and the settings that they share."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import msgspec

from ...channels.base import Message
from ...domain.campaign import Channel, RetryPolicy

__all__ = ["Destination", "Provider", "ProviderRetryPolicy", "SendingPolicy"]


class ProviderRetryPolicy(RetryPolicy, frozen=True, forbid_unknown_fields=True):
    """A retry policy in the configuration. Unlike in the domain, an unknown field is an error."""


class SendingPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings that all providers have in common. Times are in seconds."""

    rate: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 0.0
    """Messages per second, for all dispatchers together; 0 means no limit."""
    breaker_failures: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 5
    """Consecutive failures of the provider that open its circuit breaker; 0 disables the breaker."""
    breaker_pause: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    """How long a breaker stays open before it lets one message through. Doubles with each failure."""

    suppression_limit: Annotated[int, msgspec.Meta(ge=0, le=200)] = 25
    """Refused recipients among its last 200 answers within an hour, above which no more are suppressed; 0
    means no limit. Usually fewer than one in twenty addresses does not exist."""
    in_doubt: Literal["repeat", "hold", "give_up"] = "hold"
    """What to do with a message that may have arrived: repeat it like any other failure, hold it for
    `in_doubt_hold` before it is repeated once, or give it up."""
    in_doubt_hold: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 1800.0
    """The least time between two attempts that RFC 5321 section 4.5.4.1 recommends."""
    retry: ProviderRetryPolicy | None = None
    """The retry policy of campaigns that do not have one."""

    def repr_fields(self) -> list[tuple[str, Any]]:
        """Return the settings that `repr` shows. Settings with secrets override this to leave them out."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        """Show what `repr_fields` returns, because a repr may be logged."""
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.repr_fields())})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that rich shows, such as in tracebacks."""
        return self.repr_fields()


class Destination(Protocol):
    """A provider or a webhook endpoint, as far as the router is concerned: its limits."""

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
    """Delivers messages of one or more channels.

    The caller cancels each `send` that takes longer than `timeout`, and runs at most `concurrency` at once.
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
