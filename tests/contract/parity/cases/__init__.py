"""The contract as a table: requests, and the response expected from every protocol."""

from __future__ import annotations

from . import bodies, campaigns, credentials, events, members, moments

__all__ = ["ACCEPTED", "REFUSED", "TYPED_ALONE"]

THEMES = (members, moments, events, bodies, campaigns, credentials)

REFUSED = [case for theme in THEMES for case in theme.REFUSED]
ACCEPTED = [case for theme in THEMES for case in theme.ACCEPTED]
TYPED_ALONE = events.TYPED_ALONE
