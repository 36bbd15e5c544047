"""What a provider is: the one door through which messages leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...domain.campaign import Channel
from ..message import Message

__all__ = ["Provider", "Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider's yes, with its own id of the message (empty if it gives none)."""

    provider_message_id: str = ""


class Provider(Protocol):
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

    @property
    def timeout(self) -> float:
        """Seconds that one `send` may take."""
        ...

    @property
    def concurrency(self) -> int:
        """How many messages may be under way at once."""
        ...

    async def send(self, message: Message) -> Receipt:
        """Hand a message over.

        Raises:
            Transient: The provider cannot take it now.
            Permanent: The provider will never take it.
            RecipientRefused: The provider will never take anything for this recipient.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
