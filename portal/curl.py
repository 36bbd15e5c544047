"""Calls of the API for a shell."""

from __future__ import annotations

import shlex

__all__ = ["trigger_call"]


def trigger_call(origin: str, campaign_id: str, body: str) -> str:
    """Return the call that triggers a campaign, with the key in the variable CLARION_API_KEY.

    Args:
        origin: The gateway, such as `https://clarion.example`.
        campaign_id: The campaign.
        body: The body, which is JSON.
    """
    path = f"{origin}/api/client/campaigns/{campaign_id}/trigger"
    return (
        f"curl -i {shlex.quote(path)} \\\n"
        '  -H "Authorization: Bearer $CLARION_API_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}"
    )
