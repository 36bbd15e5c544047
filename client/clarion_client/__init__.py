"""The client of Clarion: `Client` for threads, `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8080", key=key) as clarion:
        accepted = clarion.trigger_email(44, external_id="u-1", email="ada@example.com", event={"order": 7})

Every call has a deadline, tries again where that is safe, and ends in an answer or in a `ClarionError`.
"""

from __future__ import annotations

from .aio import AsyncClient
from .answers import Accepted, Violation
from .client import Client
from .deliveries import Attempt, Change, Delivery, DeliveryState
from .errors import (
    CampaignPaused,
    ClarionError,
    Conflict,
    CredentialsRefused,
    Forbidden,
    InternalFault,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestIdReused,
    TimedOut,
    TooLarge,
    TooLateToCancel,
    Unavailable,
)
from .messages import Email, Message, Push, Text

__all__ = [
    "Accepted",
    "AsyncClient",
    "Attempt",
    "CampaignPaused",
    "Change",
    "ClarionError",
    "Client",
    "Conflict",
    "CredentialsRefused",
    "Delivery",
    "DeliveryState",
    "Email",
    "Forbidden",
    "InternalFault",
    "InvalidRequest",
    "Message",
    "NotFound",
    "Push",
    "RateLimited",
    "RequestIdReused",
    "Text",
    "TimedOut",
    "TooLarge",
    "TooLateToCancel",
    "Unavailable",
    "Violation",
]

__version__ = "0.2.0.dev0"
