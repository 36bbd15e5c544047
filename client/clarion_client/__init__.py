"""The Python client of Clarion: `Client` for threads, `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8080", key=key) as clarion:
        accepted = clarion.trigger_email(44, external_id="u-1", email="ada@example.com", event={"order": 7})

Every call has a deadline, retries temporary failures, and returns a result or raises a `ClarionError`.
"""

from __future__ import annotations

from .aio import AsyncClient
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
from .results import Accepted, Violation

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
