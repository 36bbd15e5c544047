"""Runs the portal with metrics."""

from __future__ import annotations

from portal import PortalSettings

from ..metrics import counter, histogram
from ..process.metrics_server import metrics_served
from ..process.tasks import Tasks
from .certificates import certificate_for_servers

__all__ = ["run_portal"]

_PAGES = counter(
    "clarion_portal_requests",
    "Requests for pages of the portal, by page and HTTP status.",
    ["page", "status"],
)
_PAGE_SECONDS = histogram(
    "clarion_portal_request_seconds",
    "Duration of requests for pages of the portal, except live tails.",
    ["page"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_LIVE = "/live/"
"""Paths of live tails begin so; they last as long as their reader wants."""


async def run_portal(settings: PortalSettings) -> None:
    """Run the portal until SIGTERM or SIGINT.

    Raises:
        ConfigError: `portal.metrics` or a TLS file is invalid.
    """
    from portal.run import run_portal  # noqa: PLC0415 - slow to import

    certificate = certificate_for_servers(settings)
    async with metrics_served("portal", settings.metrics, "portal.metrics"), Tasks() as tasks:
        if certificate:
            tasks.start(certificate.watch())
        await run_portal(settings, _observe, certificate)


def _observe(page: str, status: int, seconds: float) -> None:
    _PAGES.labels(page, str(status)).inc()
    if not page.startswith(_LIVE):
        _PAGE_SECONDS.labels(page).observe(seconds)
