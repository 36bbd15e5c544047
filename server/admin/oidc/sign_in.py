"""Signing in by OpenID Connect: limits the calls without credentials, and decides the roles of a person."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ...domain.identity import Identity
from ...domain.network import network_of
from ...domain.operator import Grant
from ...domain.token_bucket import TokenBucket
from ...errors import Overloaded
from ..errors import WrongState
from .allow import grants_of
from .settings import OidcSettings

if TYPE_CHECKING:
    from .provider import Provider, ProviderData

__all__ = ["SignIn", "token_hash"]

_PER_SECOND, _BURST = 10.0, 100
"""Attempts of everyone together; each may cost a millisecond for the signature."""
_OWN_PER_SECOND, _OWN_BURST = 1.0, 25
"""Attempts of one address, so that one stranger cannot keep everyone from signing in."""
_MAX_ADDRESSES = 10_000


class SignIn:
    """Identifies people by ID tokens.

    Args:
        settings: The settings.
        clock: Returns seconds.
    """

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._bucket = TokenBucket(_PER_SECOND, _BURST, clock())
        self._own: OrderedDict[str, TokenBucket] = OrderedDict()
        self._provider: Provider | None = None

    @property
    def is_configured(self) -> bool:
        """Whether there is a provider."""
        return bool(self.settings.issuer)

    async def provider(self) -> ProviderData:
        """Return what the provider publishes.

        Raises:
            SignInUnavailable: The provider cannot be used.
        """
        return await self._provider_client().data()

    async def identify(self, token: str, verifier: str, address: str) -> Identity:
        """Return the person in an ID token.

        Args:
            token: The ID token.
            verifier: The secret of which the token has the hash.
            address: Where the person signs in.

        Raises:
            CredentialsInvalid: The token is invalid.
            Overloaded: Too many try to sign in.
            SignInUnavailable: The provider cannot be used.
            WrongState: No provider is configured.
        """
        from .tokens import verify  # noqa: PLC0415 - see server/cli.py: commands do not need cryptography

        if not self.is_configured:
            raise WrongState(
                "No OpenID provider is configured; set [oidc] issuer, or sign in with an admin key."
            )
        self._count(network_of(address))
        return await verify(token, verifier, self.settings, self._provider_client())

    def grants(self, identity: Identity, projects: Mapping[int, str]) -> tuple[Grant, ...]:
        """Return what the person may do now; nothing if they were identified by another provider."""
        if identity.issuer != self.settings.issuer:
            return ()
        return grants_of(identity, self.settings.allow, {name: one for one, name in projects.items()})

    def _count(self, network: str) -> None:
        """Count an attempt.

        Raises:
            Overloaded: Too many try to sign in.
        """
        now = self._clock()
        own = self._own.setdefault(network, TokenBucket(_OWN_PER_SECOND, _OWN_BURST, now))
        self._own.move_to_end(network)
        if len(self._own) > _MAX_ADDRESSES:
            self._own.popitem(last=False)
        if not own.tokens(now, 1) or not self._bucket.tokens(now, 1):
            raise Overloaded
        own.take(now)
        self._bucket.take(now)

    def _provider_client(self) -> Provider:
        from .provider import Provider  # noqa: PLC0415 - see above

        if self._provider is None:
            self._provider = Provider(self.settings, self._clock)
        return self._provider


def token_hash(token: str) -> bytes:
    """Return the hash of what is signed: the same signature can be written in several ways."""
    return hashlib.sha256(token.rpartition(".")[0].encode()).digest()
