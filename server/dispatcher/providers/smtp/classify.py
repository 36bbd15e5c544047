"""Classifies SMTP replies: the verdict on a message for each reply.

Codes: RFC 5321 section 4.2.3, RFC 4954 section 6 (login), RFC 7504 (521, 556). Enhanced codes: RFC 3463 and
the IANA registry of SMTP enhanced status codes. Where the enhanced code contradicts the class of the basic
code, the basic code alone decides.

A recipient is suppressed only if an enhanced code or the words are about its mailbox, and no words blame
something else: 550 alone is also the reply to a missing login, a blocklist and a rejected sender.
"""

from __future__ import annotations

import enum
import re

import aiosmtplib

from ....domain.delivery_errors import ProviderError, Verdict
from ...redact import scrub
from .phrases import verdict_of_phrases

__all__ = ["CLOSING", "Stage", "classify", "is_lost", "is_refusal"]

CLOSING = 421
_FIRST_REFUSAL, _FIRST_PERMANENT, _FIRST_UNKNOWN = 400, 500, 600
_TOO_BIG = 552
# Cisco's servers write `#5.1.1`; qmail writes `(#5.1.1)` at the end, and its chkuser `(#5.1.1 - chkuser)`.
_ENHANCED = re.compile(r"\s*#?(([45]\.\d{1,3})\.\d{1,3})\b")
_ENHANCED_AT_END = re.compile(r"\(#(([45]\.\d{1,3})\.\d{1,3})\b[^()]*\)\W*\Z")


class Stage(enum.StrEnum):
    """How far a message got, as in errors. Before `CONTENT`, nothing of it has been sent."""

    CONNECT = "connecting"
    SENDER = "at MAIL FROM"
    RECIPIENT = "at RCPT TO"
    DATA = "at DATA"
    CONTENT = "sending the content"


_REFUSED, _NEVER, _LATER, _DOWN = (
    Verdict.RECIPIENT_REFUSED,
    Verdict.NEVER,
    Verdict.LATER,
    Verdict.PROVIDER_DOWN,
)

_BY_STATUS = {
    # Unspecific: must neither suppress a recipient nor open the breaker.
    "4.0": _LATER,
    "5.0": _NEVER,
    # Address. x.1.0, x.1.7 and x.1.8 are often about the sender, even in the reply to RCPT.
    "4.1": _LATER,
    "5.1": _NEVER,
    "5.1.1": _REFUSED,  # no such mailbox
    "5.1.2": _REFUSED,  # no such domain
    "5.1.3": _REFUSED,  # not an address
    "5.1.6": _REFUSED,  # moved, no forwarding address
    "5.1.10": _REFUSED,  # the domain accepts no mail (null MX)
    "5.1.90": _DOWN,  # Exchange Online: our daily limit is reached
    # Mailbox: full (x.2.2), busy, or the message exceeds its size limit.
    "4.2": _LATER,
    "5.2": _NEVER,
    "5.2.1": _REFUSED,  # disabled
    # Mail system. Even a permanent failure of the server will be repaired.
    "4.3": _DOWN,
    "5.3": _NEVER,
    "5.3.1": _DOWN,  # its disk is full
    "5.3.2": _DOWN,  # not accepting mail now
    "5.3.5": _DOWN,  # misconfigured
    # Network and routing. Exchange Online also uses 5.4.1 for unknown recipients.
    "4.4": _DOWN,
    "5.4": _NEVER,
    "5.4.3": _DOWN,  # its directory server is down
    "5.4.5": _DOWN,  # congested, or our account is over its limit (Google's daily limit)
    # Protocol: the server rejects our commands or greeting (`local_hostname`), or lost its state.
    "4.5": _DOWN,
    "5.5": _DOWN,
    "5.5.0": _NEVER,  # unspecific: Outlook.com uses it for unknown mailboxes
    # Content.
    "4.6": _LATER,
    "5.6": _NEVER,
    # Policy. Greylisting uses 4.7.x.
    "4.7": _LATER,
    "5.7": _NEVER,
    # Login, encryption and throttling: about our account, whatever the class. 9 and 12 are left out: Yahoo
    # and Exchange use them for policies, and those of a login come with a code in _OURS.
    **{f"{kind}.7.{detail}": _DOWN for kind in (4, 5) for detail in (8, 10, 11, 13, 14, 28)},
    # Exchange: we may not relay, are not logged in, or have sent too much.
    **{f"5.7.{detail}": _DOWN for detail in (54, 57, 64, 705)},
    # Our DKIM, SPF, DMARC or reverse DNS fails: can be corrected, and another server may accept it.
    **{f"5.7.{detail}": _LATER for detail in (20, 21, 22, 23, 24, 25, 26, 27, 29)},
}

_OURS = frozenset({CLOSING, 432, 454, 500, 502, 503, 504, 521, 523, 525, 530, 534, 535, 538, 555})
"""Codes about the server, our commands or our login, whatever the enhanced code."""

_BY_CODE = {
    # Replies without an enhanced code. Greylisting uses 450 or 451 for a recipient.
    (Stage.RECIPIENT, 450): _LATER,
    (Stage.RECIPIENT, 451): _LATER,
    (Stage.DATA, 450): _LATER,
    (Stage.CONTENT, 450): _LATER,
}


def is_refusal(code: int) -> bool:
    """Return whether a reply code refuses a command and leaves the connection usable."""
    return _FIRST_REFUSAL <= code < _FIRST_UNKNOWN and code != CLOSING


def is_lost(error: Exception) -> bool:
    """Return whether the connection was lost, rather than the message refused."""
    return isinstance(error, OSError) or getattr(error, "code", None) == CLOSING


def classify(error: Exception, stage: Stage, recipient: str) -> ProviderError:
    """Return the provider error for an SMTP, TLS or network error.

    A refused login or a missing STARTTLS can be corrected, so no message is given up for it.

    Args:
        error: From aiosmtplib or the network.
        stage: The stage at which it occurred.
        recipient: The address that the error's text must not contain.
    """
    if not isinstance(error, aiosmtplib.SMTPResponseException):
        return ProviderError(_DOWN, scrub(f"{error or type(error).__name__} ({stage})", recipient))
    code = f"SMTP {error.code} " if error.code > 0 else ""
    text = scrub(f"{code}{error.message} ({stage})", recipient)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return ProviderError(_DOWN, f"the server refuses the login: {text}")
    return ProviderError(_verdict(error.code, error.message, stage), text)


def _verdict(code: int, text: str, stage: Stage) -> Verdict:
    """Return the most specific verdict in the tables; an unknown code gets the verdict of its class."""
    if stage is Stage.CONNECT or not is_refusal(code) or code in _OURS:
        return _DOWN
    status, subject = _enhanced(code, text)
    known = _BY_STATUS.get(status) or _BY_STATUS.get(subject) if status else _BY_CODE.get((stage, code))
    known = known or (_NEVER if code >= _FIRST_PERMANENT else _DOWN)
    verdict = _with_words(known, status, verdict_of_phrases(text))
    return _of_sender(verdict, code, subject) if stage is Stage.SENDER else verdict


def _enhanced(code: int, text: str) -> tuple[str, str]:
    """Return the enhanced code and its first two numbers, both empty if missing or of another class."""
    match = _ENHANCED.match(text) or _ENHANCED_AT_END.search(text)
    if match is None or match[1][0] != str(code)[0]:
        return "", ""
    return match[1], match[2]


def _with_words(known: Verdict, status: str, worded: Verdict | None) -> Verdict:
    """Return the verdict of the codes, made more precise by that of the words.

    A code that is about something other than the recipient takes precedence over the words. The exception is
    words about our access to the server, such as `454 4.7.1 Relay access denied`.
    """
    if known is _DOWN or worded is None:
        return known
    if known is _LATER:
        return _DOWN if worded is _DOWN else _LATER
    is_unspecific = not status or (status.endswith(".0") and status != "5.7.0")
    if known is _NEVER and worded is _REFUSED and not is_unspecific:
        return _NEVER
    return worded


def _of_sender(verdict: Verdict, code: int, subject: str) -> Verdict:
    """Return the verdict for a refused sender, which is never the recipient's fault.

    The sender is a setting of one campaign, so its refusal is retried, but does not stop other campaigns.
    Most temporary refusals at this stage are throttling.
    """
    if verdict is _DOWN or code == _TOO_BIG:
        return verdict
    if code < _FIRST_PERMANENT:
        return _LATER if subject == "4.1" else _DOWN
    return _LATER
