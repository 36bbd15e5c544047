"""Which addresses webhooks may be sent to: public ones, and networks that the configuration allows.

A URL comes from a user, and could point into our network: at a database, or at the cloud's metadata service
(SSRF). Checking the host name is not enough, because its owner can change the address that it resolves to. So
the policy is applied to the IP address of each connection, just before it is opened.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from ...errors import ConfigError
from .special_networks import Address, embedded, is_public

__all__ = ["ALLOWED", "Address", "AddressPolicy"]

ALLOWED = "[webhooks] allow (CLARION_WEBHOOKS_ALLOW)"
"""How errors name the setting. It is short, because the API truncates long errors."""


class AddressPolicy:
    """Decides which addresses may be reached.

    Args:
        allowed: Networks that may be reached although they are not public, such as `10.1.0.0/16`.

    Raises:
        ConfigError: One of them is not a network.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        try:
            self._allowed = tuple(map(ipaddress.ip_network, allowed))
        except ValueError as error:
            raise ConfigError(f"webhooks.allow: {error}; give networks such as 10.1.0.0/16") from None

    def refusal(self, address: Address, *, plain: bool) -> str:
        """Return why no connection may be made to this address, or an empty string.

        The address and each IPv4 address embedded in it must be public or in an allowed network.

        Args:
            address: The address of the connection.
            plain: Whether the connection is without TLS, which is accepted only in allowed networks.
        """
        inner = tuple(embedded(address))
        for form in (address, *inner):
            if not (self._allows(form) or is_public(form)):
                named = str(form) if form is address else f"{address} contains {form}, which"
                return f"{named} is not a public address; to allow it, add its network to {ALLOWED}"
        exempt = self._allows(address) or (bool(inner) and all(map(self._allows, inner)))
        return (
            ""
            if exempt or not plain
            else f"http:// is only allowed for the networks in {ALLOWED}; use https://"
        )

    def _allows(self, address: Address) -> bool:
        return any(address in network for network in self._allowed)
