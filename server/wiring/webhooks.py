"""Builds what webhooks need: the client that posts to endpoints, and the check of their URLs."""

from __future__ import annotations

from ..config import Settings
from ..dispatcher.resolver import SHARED
from ..dispatcher.webhooks.address_policy import AddressPolicy
from ..dispatcher.webhooks.client import Poster
from ..dispatcher.webhooks.url_check import problems_of

__all__ = ["build_poster", "url_problems"]


def build_poster(settings: Settings) -> Poster:
    """Return the client that posts to endpoints; it must be closed.

    Raises:
        ConfigError: A setting of webhooks is invalid.
    """
    webhooks = settings.webhooks
    return Poster(AddressPolicy(webhooks.allow), timeout=webhooks.timeout, ca_file=webhooks.ca_file)


async def url_problems(settings: Settings, url: str) -> list[str]:
    """Return every problem of a URL to which messages would be sent; an empty list if there is none."""
    return await problems_of(url, AddressPolicy(settings.webhooks.allow), SHARED)
