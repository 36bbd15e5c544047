"""Signatures as in Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping, Sequence

__all__ = ["signed_headers"]

_PREFIX = "whsec_"


def signed_headers(
    message_id: uuid.UUID | str, timestamp: int, body: bytes, secrets: Sequence[str]
) -> Mapping[str, str]:
    """Return the three headers of a message: its ID, its timestamp, and one signature per secret.

    Args:
        message_id: The same in each attempt, so that receivers recognise duplicates.
        timestamp: Seconds since 1970 at this attempt.
        body: The request body, byte for byte.
        secrets: The endpoint's secrets, `whsec_` followed by base64. After a rotation, for a while, two.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": str(message_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(content, secret)}" for secret in secrets),
    }


def _signature(content: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
