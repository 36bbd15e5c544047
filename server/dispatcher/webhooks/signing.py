"""Signatures by Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks). Pure."""

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
    """Return the three headers of a message: its id, when it is sent, and a signature by each secret.

    Args:
        message_id: The same at each attempt, so that a receiver knows what it has had.
        timestamp: Seconds since 1970, of this attempt.
        body: Exactly what is sent.
        secrets: `whsec_` and base64; several while a rotation overlaps.
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
