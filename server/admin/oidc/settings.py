"""The settings of sign-in by OpenID Connect: the table `[oidc]` of the configuration."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from ...domain.operator import Role

__all__ = ["Allow", "OidcSettings", "is_safe_url"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
Text = Annotated[str, msgspec.Meta(max_length=255)]
Projects = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)]


class Allow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Gives a role to a person or to a group."""

    email: Text = ""
    """A verified email address; upper and lower case are the same."""
    group: Text = ""
    """A group, exactly as the provider writes it."""
    role: Role
    projects: Projects | None = None
    """The projects for which it has the role; None for all. Not an empty list, which could mean either."""

    def __post_init__(self) -> None:
        if bool(self.email) == bool(self.group):
            raise ValueError("set either email or group")


class OidcSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The OpenID provider. With an empty `issuer`, people sign in with admin keys only."""

    issuer: Text = ""
    client_id: Text = ""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    groups_claim: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "groups"
    """The claim of the ID token that has the groups."""
    allow: Annotated[tuple[Allow, ...], msgspec.Meta(max_length=1000)] = ()
    ca_file: str = ""

    def __post_init__(self) -> None:
        if not self.issuer:
            return
        if not is_safe_url(self.issuer) or urlsplit(self.issuer).query or "#" in self.issuer:
            raise ValueError(
                "issuer: must be an https:// URL without a query; http:// only for loopback addresses"
            )
        if not self.client_id:
            raise ValueError("client_id: is missing; the provider shows it where Clarion is registered")
        if "openid" not in self.scopes:
            raise ValueError("scopes: must contain openid")
        if not self.allow:
            raise ValueError("allow: is empty; add at least one email or group")


def is_safe_url(url: str) -> bool:
    """Return whether a URL uses TLS, or does not leave this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )
