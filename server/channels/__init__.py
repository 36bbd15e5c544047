"""The channels, each with its address, template parts and message.

Each channel named in `Channel` is defined by the module of the same name, as `CHANNEL`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from ..domain.campaign import Channel
from .base import ChannelSpec

__all__ = ["BY_ADDRESS_FIELD", "CHANNELS"]


def _spec(channel: Channel) -> ChannelSpec:
    spec: ChannelSpec = importlib.import_module(f".{channel}", __package__).CHANNEL
    return spec


CHANNELS: Mapping[Channel, ChannelSpec] = MappingProxyType({channel: _spec(channel) for channel in Channel})
BY_ADDRESS_FIELD: Mapping[str, ChannelSpec] = MappingProxyType(
    {spec.address.field: spec for spec in CHANNELS.values()}
)
