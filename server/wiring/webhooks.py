"""The part of the composition root that is about webhooks: a second dispatcher, beside that of triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from ..config import Settings
from ..dispatcher.webhooks.address_policy import AddressPolicy
from ..dispatcher.webhooks.client import Poster
from ..dispatcher.webhooks.resolver import Resolver
from ..dispatcher.webhooks.url_check import problems_of
from ..domain.webhook import WebhookClaim
from ..errors import ConfigError
from ..store.catalog import Catalog
from ..store.queue.webhooks import WebhookQueue

if TYPE_CHECKING:
    from ..dispatcher.dispatcher import Dispatcher

__all__ = ["check_url", "poster", "webhook_dispatcher"]


def poster(settings: Settings) -> Poster:
    """Return what posts to endpoints. It must be closed.

    Raises:
        ConfigError: a setting of webhooks is wrong.
    """
    webhooks = settings.webhooks
    return Poster(AddressPolicy(webhooks.allow), timeout=webhooks.timeout, ca_file=webhooks.ca_file)


def webhook_dispatcher(
    queue: WebhookQueue, catalog: Catalog, posts: Poster, settings: Settings
) -> Dispatcher[WebhookClaim]:
    """Return the dispatcher of messages to endpoints; those that the catalog has now and later."""
    from ..dispatcher.dispatcher import Dispatcher  # noqa: PLC0415
    from ..dispatcher.router import ProviderRouter  # noqa: PLC0415 - see app.py
    from ..dispatcher.webhooks.endpoints import Endpoints  # noqa: PLC0415
    from ..dispatcher.webhooks.sender import WebhookSender  # noqa: PLC0415

    bounds = settings.webhooks
    pace = structs.replace(
        settings.dispatch, lease=max(settings.dispatch.lease, 2 * bounds.timeout)
    )  # no send outlasts its lease
    endpoints = Endpoints(lambda: catalog.webhooks, timeout=bounds.timeout, concurrency=bounds.concurrency)
    return Dispatcher(queue, endpoints, WebhookSender(endpoints, posts), ProviderRouter(endpoints), pace)


async def check_url(settings: Settings, url: str) -> None:
    """Refuse a URL to which no message could be sent from here.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    if problems := await problems_of(url, AddressPolicy(settings.webhooks.allow), Resolver()):
        raise ConfigError(f"the URL: {'; '.join(problems)}")
