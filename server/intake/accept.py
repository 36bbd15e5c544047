"""Accepts the triggers of all calls: on the fast path if possible, otherwise after a full validation.

The full validation raises an error that names every violation.
"""

from __future__ import annotations

from collections.abc import Awaitable

from ..domain.placement import ValidTrigger
from . import fast
from .caller import Caller
from .offload import run_in_thread
from .strict_body import parse_body, parse_campaign_id, parse_item
from .typed import TriggerRequest
from .validate import validate_body, validate_item, validate_message

__all__ = ["accept_body", "accept_item", "accept_message"]

_LARGE = 16 * 1024
"""Size in bytes above which an item is parsed in a thread. The slowest items of this size take 10 ms."""


def accept_body(caller: Caller, campaign_id: str, data: bytes, header: str | None) -> ValidTrigger:
    """Return the trigger of a REST call.

    Args:
        caller: The caller and the time of the call.
        campaign_id: The campaign, as it is in the path.
        data: The JSON body.
        header: The header `idempotency-key`, if the call has it.

    Raises:
        RequestError: The call is invalid; every violation is included.
    """
    number = parse_campaign_id(campaign_id)
    valid = fast.accept_body(caller, number, data, header)
    return valid or validate_body(caller, number, parse_body(data), header)


def accept_message(caller: Caller, request: TriggerRequest, header: str | None = None) -> ValidTrigger:
    """Return the trigger of a typed request, which was called alone or is an item of a batch.

    Raises:
        RequestError: The call is invalid; every violation is included.
    """
    return fast.accept_message(caller, request, header) or validate_message(caller, request, header)


def accept_item(caller: Caller, data: bytes) -> ValidTrigger | Awaitable[ValidTrigger]:
    """Return the trigger of an item of a REST batch. For a large item, return an awaitable of the trigger.

    Raises:
        RequestError: The call is invalid; every violation is included.
    """
    if valid := fast.accept_item(caller, data):
        return valid
    return _validate_large(caller, data) if len(data) > _LARGE else validate_item(caller, parse_item(data))


async def _validate_large(caller: Caller, data: bytes) -> ValidTrigger:
    return validate_item(caller, await run_in_thread(parse_item, data))
