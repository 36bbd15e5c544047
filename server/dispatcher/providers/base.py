"""What a provider is: the one door through which messages leave."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec

from ...channels.base import Message
from ...domain.campaign import Channel, RetryPolicy

__all__ = ["Destination", "Provider", "ProviderRetryPolicy", "SendingPolicy"]


class ProviderRetryPolicy(RetryPolicy, frozen=True, forbid_unknown_fields=True):
    """As in the domain, but a misspelt member is an error here, where people write."""


class SendingPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings that every provider has; a provider's own settings inherit from it. Times in seconds."""

    rate: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 0.0
    """Messages a second, all dispatchers together; 0 means as fast as it goes."""
    breaker_failures: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 5
    """So many failures of the provider in a row open its circuit breaker; 0: it has none."""
    breaker_pause: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    """How long an open breaker keeps messages away before one tries again; it doubles with each failure."""

    retry: ProviderRetryPolicy | None = None
    """For campaigns that have no policy of their own."""

    def repr_fields(self) -> list[tuple[str, Any]]:
        """Return what a repr may show: a provider with secrets names its harmless settings here."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        """Show what `repr_fields` returns: a repr ends in logs."""
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.repr_fields())})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show the same here."""
        return self.repr_fields()


class Destination(Protocol):
    """What bounds the use of something that is sent to."""

    @property
    def timeout(self) -> float:
        """Seconds that one `send` may take."""
        ...

    @property
    def concurrency(self) -> int:
        """How many messages may be under way at once."""
        ...

    @property
    def policy(self) -> SendingPolicy:
        """How fast it may be used, and when it is left alone."""
        ...


class Provider(Destination, Protocol):
    """Something that takes messages of some channels.

    The caller ends a `send` that takes longer than `timeout` by cancelling it, and has at most
    `concurrency` of them under way.
    """

    @property
    def name(self) -> str:
        """The name under which it is configured."""
        ...

    @property
    def channels(self) -> frozenset[Channel]:
        """The channels that it delivers."""
        ...

    async def send(self, message: Message) -> str:
        """Send a message and return the provider's ID for it, empty if it gives none.

        Raises:
            ProviderError: The provider did not accept it; the error's verdict says what to do next.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
