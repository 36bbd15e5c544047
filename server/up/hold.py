"""Holds all sending before the dispatcher of `clarion up --hold` starts."""

from __future__ import annotations

from clarion.admin.v1 import system_pb2 as pb

from ..admin.client import LocalAdmin
from ..config import Settings
from ..wiring.common import opened_pool
from ..wiring.operators import build_backend

__all__ = ["hold_sending"]

_REASON = "clarion up --hold"


async def hold_sending(settings: Settings) -> str:
    """Hold all sending, and return a message for the operator.

    Args:
        settings: The settings, with the database's URL.
    """
    async with opened_pool(settings) as pool:
        admin = LocalAdmin(build_backend(settings, pool))
        await admin.call("system", "HoldSending", pb.HoldSendingRequest(hold_reason=_REASON))
    return "all sending is held; `clarion release` ends the hold"
