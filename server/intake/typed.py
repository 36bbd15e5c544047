"""The typed requests, one for each channel, as the proto descriptors name them.

`BatchItem` has one member for each channel, named after it, whose type is the request that triggers it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from google.protobuf.message_factory import GetMessageClass

from clarion.v1 import trigger_pb2 as pb

from ..domain.campaign import Channel

__all__ = ["TYPED", "TriggerRequest", "TypedCall", "channel_of"]

TriggerRequest: TypeAlias = Any
"""A message of one of the types in `TYPED`. They differ only in the address field of their user."""


@dataclass(frozen=True, slots=True)
class TypedCall:
    """The gRPC method that triggers campaigns of one channel."""

    method: str
    request: type[Any]
    response: type[Any]


def _call(request: Any) -> TypedCall:
    """Return the call whose request is of this type, given as a descriptor."""
    method = next(method for method in _SERVICE.methods if method.input_type.full_name == request.full_name)
    return TypedCall(method.name, GetMessageClass(method.input_type), GetMessageClass(method.output_type))


_SERVICE = pb.DESCRIPTOR.services_by_name["TriggerService"]
_MEMBERS = pb.BatchItem.DESCRIPTOR.oneofs_by_name["trigger"].fields

TYPED: Mapping[Channel, TypedCall] = MappingProxyType(
    {Channel(field.name): _call(field.message_type) for field in _MEMBERS}
)
_CHANNELS = {call.request.DESCRIPTOR.full_name: channel for channel, call in TYPED.items()}


def channel_of(request: TriggerRequest) -> Channel:
    """Return the channel that a typed request is for."""
    return _CHANNELS[request.DESCRIPTOR.full_name]
