"""The recipients with which callers choose the outcome of a test; see docs/reference/test-recipients.md."""

from __future__ import annotations

import enum

from ..domain.campaign import Channel, RetryPolicy
from ..domain.delivery_errors import ProviderError, Verdict
from .providers.base import SendingPolicy

__all__ = ["TEST_RETRIES", "Scenario", "SimulatedProvider", "answer", "scenario_of"]

TEST_RETRIES = RetryPolicy(max_attempts=3, first_delay=0.5, factor=2.0, max_delay=1.0)
"""The retry policy of all tests, so that every test ends within seconds."""
THROTTLED_SECONDS = 1.0


class Scenario(enum.StrEnum):
    """What happens to the message of a test."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The provider refuses the recipient for good."""
    BOUNCED = "bounced"
    """The provider accepts the message. Clarion does not receive bounces, so they change nothing."""
    THROTTLED = "throttled"
    """The provider asks to wait a second, and then accepts the message."""
    DEAD = "dead"
    """The provider fails until no attempts are left."""


_EMAIL_DOMAIN = "clarion.test"  # RFC 6761, 6.2: no domain below .test exists
_PHONES = {f"+1202555010{number}": scenario for number, scenario in enumerate(Scenario)}
"""Numbers that are reserved for fiction (https://nationalnanpa.com/number_resource_info/555_numbers.html)."""
_TOKENS = {f"clarion-test-{scenario}": scenario for scenario in Scenario}


def scenario_of(channel: Channel, address: str) -> Scenario:
    """Return what happens to a message to this address; for all other addresses, it is delivered."""
    if channel is Channel.TEXT:
        return _PHONES.get(address, Scenario.DELIVERED)
    if channel is Channel.PUSH:
        return _TOKENS.get(address, Scenario.DELIVERED)
    local, _, domain = address.lower().rpartition("@")
    name = local.partition("+")[0]
    known = domain == _EMAIL_DOMAIN and name in {*Scenario}
    return Scenario(name) if known else Scenario.DELIVERED


def answer(channel: Channel, address: str, tries: int) -> None:
    """Answer like a provider to which a message was sent.

    Args:
        channel: The channel.
        address: The recipient.
        tries: The number of this attempt since acceptance or the last redrive, from 1.

    Raises:
        ProviderError: The provider of this scenario does not accept the message.
    """
    scenario = scenario_of(channel, address)
    if scenario is Scenario.REFUSED:
        # Not RECIPIENT_REFUSED: a test must not suppress anyone, and the next test must be refused again.
        raise ProviderError(Verdict.NEVER, "test: the recipient does not exist")
    if scenario is Scenario.THROTTLED and tries == 1:
        raise ProviderError(Verdict.LATER, "test: too many messages", retry_after=THROTTLED_SECONDS)
    if scenario is Scenario.DEAD:
        raise ProviderError(Verdict.LATER, "test: the provider does not work")


class SimulatedProvider:
    """The slots that tests have in the router, so that they take none of a real provider's."""

    timeout = 5.0
    concurrency = 16
    policy = SendingPolicy(breaker_failures=0)
