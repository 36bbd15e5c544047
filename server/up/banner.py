"""Formats what `clarion up` prints once everything is running."""

from __future__ import annotations

import sys
from pathlib import Path

from ..domain.campaign import Campaign

__all__ = ["DEMO_ADMIN_KEY_FILE", "demo_text", "in_url", "next_steps", "waiting_text"]

DEMO_ADMIN_KEY_FILE = "demo-admin-key"
"""The file in the data folder with the admin key of the demo."""


def waiting_text(project: str, campaign: Campaign) -> str:
    """Return the warning about a campaign without a configured provider."""
    names = ", ".join(campaign.providers)
    return (
        f"triggers of campaign {campaign.id} of project {project} will wait: its provider {names} is not "
        "configured; add [providers.NAME] to the configuration, or apply the campaign with another provider"
    )


def in_url(host: str) -> str:
    """Return a host as it is written in a URL."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - for display only
    return f"[{shown}]" if ":" in shown else shown


def next_steps(url: str) -> str:
    """Return what to do after the first start without the demo."""
    return f"""
  Next, in another terminal in this folder:
    clarion operators create --name me --role admin        # prints the admin key that signs in to the portal
    clarion campaigns apply campaigns.yaml                 # in the format of server/up/demo/campaigns.yaml
    clarion keys create --project NAME --name my-service   # prints the API key
    export CLARION_API_KEY=sk_…                            # that key
    clarion trigger 44 --email test@test.com --target {url}
"""


def demo_text(url: str, secret: str, data: Path) -> str:
    """Return how to try the demo."""
    body = (
        '{"user": {"external_id": "EXTERNAL_ID", "email": "test@test.com", "timezone": "America/Chicago",'
        ' "locale": "en"}, "event": {"random_field": "value"}}'
    )
    return f"""
  To sign in to the portal, enter the admin key {_admin_key(data / DEMO_ADMIN_KEY_FILE)}
  API key: {secret}

  Try it (the answer is 204 with an x-trigger-id):

    curl -i {url}/api/client/campaigns/44/trigger \\
      -H 'Authorization: Bearer {secret}' \\
      -H 'Content-Type: application/json' \\
      -d '{body}'

  The email is then written to {data / "outbox" / "email"} as an .eml file.
  Campaign 45 sends text messages ("phone"), campaign 46 push notifications ("device_token").
"""


def _admin_key(file: Path) -> str:
    """Return the admin key, or where it is if the output is not a terminal and may be kept in logs."""
    return file.read_text().strip() if sys.stdout.isatty() else f"in {file}"
