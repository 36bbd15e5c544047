"""Channels and addresses in requests of the admin API."""

from __future__ import annotations

from clarion.v1 import campaign_pb2

from ..channels import CHANNELS
from ..domain.campaign import Channel
from ..errors import InvalidRequest, Violation

__all__ = ["as_stored", "channel_named", "channel_of", "masked"]


def channel_of(value: int) -> Channel | None:
    """Return the channel of an enum value of the API, or None if it is not set."""
    if not value:
        return None
    name = campaign_pb2.Channel.Name(campaign_pb2.Channel.ValueType(value))
    return Channel(name.removeprefix("CHANNEL_").lower())


def channel_named(word: str, field: str) -> Channel | None:
    """Return the channel that a word names, or None if the word is empty.

    Args:
        word: The word.
        field: The field that holds it, for the error.

    Raises:
        InvalidRequest: No channel has this name.
    """
    try:
        return Channel(word) if word else None
    except ValueError:
        description = f"must be one of {', '.join(Channel)}"
        raise InvalidRequest([Violation(field, description, "UNKNOWN_VALUE")]) from None


def as_stored(channel: Channel | None, address: str) -> str:
    """Return an address in the form in which triggers store it: internationalised domains in ASCII.

    Args:
        channel: The channel of the address; None if the request does not state it.
        address: The address.
    """
    if channel is None and "@" in address:
        channel = Channel.EMAIL
    try:
        return CHANNELS[channel].address.as_sent(address) if channel else address
    except ValueError:  # not an address of the channel, so it will match nothing
        return address


def masked(address: str) -> str:
    """Return what the audit log keeps of an address: `z…@example.com`, or the last four characters."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}" if at else f"…{address[-4:]}"
