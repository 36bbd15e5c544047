"""Checks the providers of campaigns against those that the running dispatchers have."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..domain.campaign import Campaign, Channel
from ..errors import Violation

__all__ = ["ConfiguredProviders", "provider_problems"]

ConfiguredProviders = Mapping[str, Collection[str]]
"""The channels of each configured provider; empty if its dispatcher does not report them."""


def provider_problems(campaign: Campaign, providers: ConfiguredProviders) -> list[Violation]:
    """Return the violations of providers that no dispatcher has, or that do not deliver the channel."""
    suitable = sorted(name for name, channels in providers.items() if _delivers(channels, campaign.channel))
    unknown = sorted(set(campaign.providers) - set(providers))
    unsuitable = sorted(set(campaign.providers) & set(providers) - set(suitable))
    choice = f"configured for {campaign.channel} are: {', '.join(suitable) or 'none'}"
    found = []
    if unknown:
        text = f"no running dispatcher has {', '.join(unknown)}; {choice}"
        found.append(Violation("content.providers", text, "UNKNOWN_VALUE"))
    if unsuitable:
        text = f"{', '.join(unsuitable)} does not deliver {campaign.channel}; {choice}"
        found.append(Violation("content.providers", text, "UNKNOWN_VALUE"))
    return found


def _delivers(channels: Collection[str], channel: Channel) -> bool:
    """Return whether a provider delivers a channel; older dispatchers do not report what theirs deliver."""
    return not channels or channel in channels
