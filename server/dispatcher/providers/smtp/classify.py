"""What an SMTP server's answers mean for a message: try again, or never.

Codes: RFC 5321 section 4.2.3, RFC 4954 section 6 (login), RFC 7504 (521, 556). Enhanced codes: RFC 3463
and IANA's registry of them. The basic code alone decides where an enhanced one contradicts its class.
"""

from __future__ import annotations

import enum
import re

import aiosmtplib

from ....errors import Permanent, ProviderError, RecipientRefused, Transient
from ...redact import scrub

__all__ = ["CLOSING", "Stage", "classify", "is_lost", "is_refusal"]

CLOSING = 421
_FIRST_REFUSAL, _FIRST_PERMANENT, _FIRST_UNKNOWN = 400, 500, 600
# Cisco's servers write `#5.1.1`.
_ENHANCED = re.compile(r"\s*#?(([45]\.\d{1,3})\.\d{1,3})\b")


class Stage(enum.StrEnum):
    """How far a message had come. Until `CONTENT` nothing of it has left."""

    CONNECT = "connecting"
    SENDER = "naming the sender"
    RECIPIENT = "naming the recipient"
    DATA = "announcing the content"
    CONTENT = "sending the content"


class _Verdict(enum.Enum):
    RECIPIENT = enum.auto()
    """Never, and nothing else for this recipient either."""
    MESSAGE = enum.auto()
    """Never this message."""
    LATER = enum.auto()
    """Again; it is about this recipient or message alone."""
    PROVIDER = enum.auto()
    """Again; others fare no better now: the server, the network, or a setting that can be corrected."""


_R, _M, _L, _P = _Verdict.RECIPIENT, _Verdict.MESSAGE, _Verdict.LATER, _Verdict.PROVIDER

_BY_STATUS = {
    # It says no more than the basic code: no reason to suppress a recipient, nor to leave the server alone.
    "4.0": _L,
    "5.0": _M,
    # An address. x.1.0, x.1.7 and x.1.8 are often about the sender, though said late.
    "4.1": _L,
    "5.1": _M,
    "5.1.1": _R,  # no such mailbox
    "5.1.2": _R,  # no such domain
    "5.1.3": _R,  # not an address
    "5.1.6": _R,  # moved, nobody knows where
    "5.1.10": _R,  # the domain takes no mail
    # The mailbox: full (x.2.2), busy, no room for a message of this size.
    "4.2": _L,
    "5.2": _M,
    "5.2.1": _R,  # disabled
    # The server. Even if it calls that permanent, somebody will repair it.
    "4.3": _P,
    "5.3": _M,
    "5.3.1": _P,  # its disk is full
    "5.3.2": _P,  # it takes no mail now
    "5.3.5": _P,  # it is not set up rightly
    # The network and routes. 5.4.1 is also how Exchange Online says "unknown recipient".
    "4.4": _P,
    "5.4": _M,
    "5.4.3": _P,  # its directory is away
    "5.4.5": _P,  # too much for it, or for our account (Google's daily limit)
    # The protocol: our commands or greeting (`local_hostname`) displease it, or it has lost its state.
    "4.5": _P,
    "5.5": _P,
    "5.5.0": _M,  # anything: Outlook.com says it of unknown mailboxes
    # The content.
    "4.6": _L,
    "5.6": _M,
    # Policy. 4.7.x is how greylisting speaks.
    "4.7": _L,
    "5.7": _M,
    # Logins, encryption and throttles: ours, whatever the class.
    **{f"{kind}.7.{detail}": _P for kind in (4, 5) for detail in (8, 9, 10, 11, 12, 13, 14, 28)},
    # DKIM, SPF, DMARC, reverse DNS of ours do not please: soon corrected, and the next server may not mind.
    **{f"5.7.{detail}": _L for detail in (20, 21, 22, 23, 24, 25, 26, 27, 29)},
}

_OURS = frozenset({CLOSING, 432, 454, 500, 502, 503, 504, 521, 523, 525, 530, 534, 535, 538})
"""Codes that are about the server, our commands or our login, whatever the enhanced code adds."""

_BY_CODE = {
    # Without an enhanced code. Greylisting says 450 or 451 to a recipient.
    (Stage.RECIPIENT, 450): _L,
    (Stage.RECIPIENT, 451): _L,
    (Stage.RECIPIENT, 550): _R,
    (Stage.RECIPIENT, 551): _R,
    (Stage.RECIPIENT, 553): _R,
    (Stage.RECIPIENT, 556): _R,
    (Stage.DATA, 450): _L,
    (Stage.CONTENT, 450): _L,
}


def is_refusal(code: int) -> bool:
    """Tell whether an answer's code refuses a command, with the connection none the worse."""
    return _FIRST_REFUSAL <= code < _FIRST_UNKNOWN and code != CLOSING


def is_lost(error: Exception) -> bool:
    """Tell whether the connection is gone, rather than the message refused."""
    return isinstance(error, OSError) or getattr(error, "code", None) == CLOSING


def classify(error: Exception, stage: Stage, recipient: str) -> ProviderError:
    """Return the delivery error for an SMTP, TLS or network error.

    A refused login or a missing STARTTLS is somebody's setting, soon corrected: transient, so
    that no mail is lost over it.

    Args:
        error: From aiosmtplib or the network.
        stage: Where it happened.
        recipient: Whose address the error's text must not hold.
    """
    if not isinstance(error, aiosmtplib.SMTPResponseException):
        return Transient(scrub(f"{error or type(error).__name__} ({stage})", recipient))
    code = f"SMTP {error.code} " if error.code > 0 else ""
    words = scrub(f"{code}{error.message} ({stage})", recipient)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return Transient(f"the server refuses the login: {words}")
    match _verdict(error.code, error.message, stage):
        case _Verdict.RECIPIENT:
            return RecipientRefused(words)
        case _Verdict.MESSAGE:
            return Permanent(words)
        case verdict:
            return Transient(words, of_provider=verdict is _Verdict.PROVIDER)


def _verdict(code: int, words: str, stage: Stage) -> _Verdict:
    """The most exact that the tables know; unknown codes go by their class."""
    if stage is Stage.CONNECT or not is_refusal(code) or code in _OURS:
        return _P
    status, subject = _enhanced(code, words)
    known = _BY_STATUS.get(status) or _BY_STATUS.get(subject) if status else _BY_CODE.get((stage, code))
    verdict = known or (_M if code >= _FIRST_PERMANENT else _P)
    return _of_sender(verdict, subject) if stage is Stage.SENDER else verdict


def _enhanced(code: int, words: str) -> tuple[str, str]:
    """Return the enhanced code and its first two numbers; nothing, if there is none to believe."""
    match = _ENHANCED.match(words)
    if match is None or match[1][0] != str(code)[0]:
        return "", ""
    return match[1], match[2]


def _of_sender(verdict: _Verdict, subject: str) -> _Verdict:
    """Judge a refusal at the sender's name, where the server knows nothing of a recipient yet.

    Policy there is about who a campaign may send as: a setting, but one campaign's alone.
    """
    if subject == "5.7" and verdict is _M:
        return _L
    if verdict is _L:
        return _P
    return _M if verdict is _R else verdict
