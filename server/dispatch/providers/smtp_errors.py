"""What an SMTP server's answers mean for a message: try again, or never.

Codes: RFC 5321 section 4.2.3; enhanced codes: RFC 3463.
"""

from __future__ import annotations

import enum
import re

import aiosmtplib

from ...errors import Permanent, ProviderError, RecipientRefused, Transient
from ..scrub import scrub

__all__ = ["Stage", "classify", "is_lost"]

CLOSING = 421
_FIRST_PERMANENT = 500
_OUR_FAULT = frozenset({503, 530, 534, 535, 538})
"""Bad sequence, or something about our login: no reason to give a message up."""
_RECIPIENT_UNKNOWN = frozenset({550, 551, 553})
_ENHANCED = re.compile(r"\s*([245]\.\d{1,3})\.\d{1,3}\b")


class Stage(enum.StrEnum):
    """How far a message had come."""

    CONNECT = "connecting"
    SENDER = "naming the sender"
    RECIPIENT = "naming the recipient"
    CONTENT = "sending the content"


def is_lost(error: Exception) -> bool:
    """Tell whether the connection is gone, rather than the message refused."""
    return isinstance(error, OSError) or getattr(error, "code", None) == CLOSING


def classify(error: Exception, stage: Stage, recipient: str) -> ProviderError:
    """Return the delivery error for an SMTP, TLS or network error.

    A refused login or a missing STARTTLS is somebody's setting, soon corrected: transient, so
    that no mail is lost over it.
    """
    if not isinstance(error, aiosmtplib.SMTPResponseException):
        return Transient(scrub(f"{error or type(error).__name__} ({stage})", recipient))
    words = scrub(f"SMTP {error.code} {error.message} ({stage})", recipient)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return Transient(f"the server refuses the login: {words}")
    if error.code < _FIRST_PERMANENT or error.code in _OUR_FAULT or stage is Stage.CONNECT:
        return Transient(words)
    if isinstance(error, aiosmtplib.SMTPHeloError):
        return Transient(words)
    return _permanent_kind(error, stage)(words)


def _permanent_kind(error: aiosmtplib.SMTPResponseException, stage: Stage) -> type[Permanent]:
    """Tell a bad recipient from a bad message or sender; the enhanced code knows best."""
    enhanced = _ENHANCED.match(error.message)
    if stage is Stage.SENDER:
        return Permanent
    if enhanced:
        return RecipientRefused if enhanced[1] == "5.1" else Permanent
    unknown = stage is Stage.RECIPIENT and error.code in _RECIPIENT_UNKNOWN
    return RecipientRefused if unknown else Permanent
