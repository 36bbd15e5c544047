"""The addresses of all pages of the portal, and of lists with typical filters. Part of `lab.bench.portal`."""

from __future__ import annotations

import re

from portal.csv_files import EXPORT
from portal.live import LIVE
from portal.pages import PAGES

__all__ = ["LISTS", "addresses"]

_ACTIONS = {"deliveries": "retry", "campaigns": "pause", "webhooks": "test"}
"""An action of each page that asks before it does something."""
_NEEDS_FILTER = "/deliveries/all/"
_FILTERED = (
    "/?period=day",
    "/?period=week",
    "/?period=week&project=shop-1",
    "/deliveries?project=shop-1",
    *(
        f"/deliveries?state={state}"
        for state in ("pending", "retrying", "dead", "delivered", "suppressed", "cancelled")
    ),
    "/deliveries?state=dead&project=shop-1",
    "/deliveries?state=dead&campaign_id={campaign_id}",
    "/deliveries?state=pending&error=nothing",
    "/deliveries?campaign_id={campaign_id}",
    "/deliveries?campaign_id={campaign_id}&state=cancelled",
    "/deliveries?campaign_id={rare_id}",
    "/deliveries?campaign_id={rare_id}&state=dead",
    "/deliveries?channel=push&provider=backup",
    "/deliveries?error=certificate+expired",
    "/deliveries?error=nothing",
    "/deliveries?error_group={error_group}",
    "/deliveries?q={user}",
    "/deliveries?q=customer-0&state=dead",
    "/deliveries?q={address}",
    "/deliveries?q=unknown@example.com",
    "/deliveries?accepted_before={middle}",
    "/deliveries?accepted_since={middle}&state=dead",
    "/deliveries?accepted_since={middle}&accepted_before={middle}&error=nothing",
    "/deliveries/all/retry?error=nothing",
    "/deliveries/all/retry?project=demo",
    "/deliveries/all/retry?accepted_since=2020-01-01",
    "/deliveries/all/retry?campaign_id={campaign_id}",
    "/deliveries/all/cancel?error=nothing",
    "/deliveries/all/cancel?campaign_id={campaign_id}",
    "/deliveries/all/cancel?accepted_since=2020-01-01",
    "/dead-letters?project=shop-1",
    "/campaigns?project=shop-1",
    "/campaigns?name=nothing",
    "/campaigns?campaign_state=archived",
    "/keys?key_state=revoked&project=shop-1",
    "/webhooks?project=shop-1",
    "/webhooks/{webhook_id}/messages?failed=yes",
    "/suppressions?project=shop-1",
    "/suppressions?channel=email&provider=sandbox",
    "/suppressions?reason=nothing",
    "/suppressions?address=unknown@example.com",
    "/suppressions/remove?project=shop-1&reason=no+such+user",
    "/audit?project=shop-1",
    "/audit?actor=operator-7@example.com",
    "/audit?action=key.create",
    "/audit?resource=campaign/1007",
    "/audit?actor=unknown",
)
LISTS = (
    "/deliveries",
    "/deliveries?accepted_before={middle}",
    "/deliveries?state=dead",
    "/deliveries?state=delivered&project=shop-1",
    "/deliveries?state=suppressed",
    "/deliveries?campaign_id={campaign_id}",
    "/deliveries?error=nothing",
    "/deliveries?q=customer-0",
    "/campaigns",
    "/suppressions",
    "/suppressions?project=shop-1",
    "/webhooks/{webhook_id}/messages",
    "/keys",
    "/operations",
    "/audit",
    "/audit?action=key.create",
)
"""Lists whose next pages are requested, too."""


def addresses() -> list[str]:
    """Return the address of every page, and of lists with filters. Variables are named in braces."""
    plain = [
        re.sub(r"\{(\w+):\w+\}", r"{\1}", page.path)
        for page in PAGES
        if not page.path.startswith((LIVE, EXPORT, _NEEDS_FILTER))
    ]
    return [*(_with_action(path) for path in plain), *_FILTERED]


def _with_action(path: str) -> str:
    subject = path.split("/")[1]
    if subject == "access":
        path = path.replace("{key_id}", "{admin_key_id}")
    return path.replace("{action}", _ACTIONS.get(subject, ""))
