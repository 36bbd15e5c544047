"""Builds what webhooks need: the client that posts to endpoints, and the check of their URLs."""

from __future__ import annotations

from ..config import Settings
from ..dispatcher.resolver import SHARED
from ..dispatcher.webhooks.address_policy import AddressPolicy
from ..dispatcher.webhooks.client import Poster
from ..dispatcher.webhooks.url_check import problems_of
from ..errors import ConfigError

__all__ = ["build_poster", "check_url"]


def build_poster(settings: Settings) -> Poster:
    """Return the client that posts to endpoints; it must be closed.

    Raises:
        ConfigError: A setting of webhooks is invalid.
    """
    webhooks = settings.webhooks
    return Poster(AddressPolicy(webhooks.allow), timeout=webhooks.timeout, ca_file=webhooks.ca_file)


async def check_url(settings: Settings, url: str) -> None:
    """Reject a URL to which no message could be sent from this machine.

    Raises:
        ConfigError: The URL is invalid. The text lists every problem.
    """
    if problems := await problems_of(url, AddressPolicy(settings.webhooks.allow), SHARED):
        raise ConfigError(f"the URL: {'; '.join(problems)}")
