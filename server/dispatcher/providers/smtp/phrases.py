"""The verdict that the words of an SMTP reply imply, where its codes leave the cause open.

Servers use 550 for everything, and the same enhanced code for a missing mailbox, a missing login and a
blocklist. The phrases are those of Postfix, Exim, Sendmail, qmail, OpenSMTPD, Exchange, Domino and the large
mailbox providers.
"""

from __future__ import annotations

import re

from ....domain.delivery_errors import Verdict

__all__ = ["verdict_of_phrases"]

_MAX_READ = 2000
"""Characters of a reply that are searched, because the time for it grows with the square of the length."""
# Addresses could contain any phrase, and links to help pages often do.
_NOT_WORDS = re.compile(r"<[^<>]*>|\S+@\S+|https?://\S+")

# A server that verifies recipients, or passes messages on while it receives them, quotes the next server.
# Those words say nothing about the settings of this provider.
_QUOTES_ANOTHER = re.compile(r"\bsaid:|\bin reply to\b|\bresponse:", re.IGNORECASE)

_REPUTATION = (
    r"\b(spf|dkim|dmarc|dnsbl|rbl|ptr|rdns)\b",
    r"\breverse (dns|hostname)",
    r"\bfind your (reverse )?hostname",
    r"\b(black|block)[ -]?list",
    r"\bblocked (using|by|at)\b",
    r"(?<!not )\blisted (at|in|on|by)\b",
    r"\b(spamhaus|spamcop)",
    r"\breputation",
    r"\bbanned (sending )?ip\b",
    r"\bnot accepted from this ip\b",
    r"\bunauthenticated (e-?mail|message)",
    r"\bresolver\.rst\b",  # Exchange: the recipient accepts only some senders
)
"""Our address, our domain's records, or the sender's right to write to this recipient. All can be corrected,
and another server may accept the message."""

_ACCESS = (
    r"\brelay(ing)?( (access|mail|to))?( (is|was))?( temporarily)? (denied|disallowed|refused|rejected)\b",
    r"\brelay(ing)?( (access|mail|to))?( (is|was))? (prohibited|restricted|blocked)\b",
    r"\brelay(ing)?( (is|was))? not (permitted|allowed|authori[sz]ed|supported)",
    r"\b(unable|not (permitted|allowed|authori[sz]ed|configured)) to relay\b",
    r"\b(do|does|will|can) ?not relay\b",
    r"\b(open|insecure mail) relay\b",
    r"\ballowed rcpthosts\b",
    r"\bnon-accepted domain\b",
    r"\bauth\w* (is )?(required|needed)\b",
    r"\bauth\w* (first|failed|unsuccessful)\b",
    r"\binvalid credentials\b",
    r"\brequires? (\w+ )?auth",
    r"\b(must|please|need to|have to|don't|not) (first )?(authenticate\b|log ?in\b|sign in\b|logged in\b)",
    r"\bnot (been )?authenticated\b",
    r"\bunauthenticated (sender|client|user|connection)",
    r"\bpop before smtp\b",
    r"\b(starttls|tls|encryption|secure connection)\b.{0,30}\b(required|needed)\b",
    r"\b(requires?|must (use|issue)) (a )?(starttls|tls|encryption)\b",
    r"\b(helo|ehlo)\b",
    r"\bclient host rejected\b",
    r"\byour (ip|host)\b.{0,40}\bnot (allowed|permitted|authori[sz]ed)\b",
    r"\b(sending|daily|hourly|outgoing|outbound)\b.{0,30}\b(limit|quota)",
    r"\be?mails? per (hour|day|minute)\b",
    r"\bsending (is )?(suspended|paused|disabled)\b",
    r"\byour account\b.{0,30}\b(suspended|disabled|blocked|locked|not active)",
)
"""Our login, greeting, encryption, address or quota at this server: settings of the provider, so no message
can be sent now."""

_SENDER = (
    r"\bsenders?\b",
    r"\bmail ?from\b",
    r"\benvelope from\b",
    r"\bfrom (address|header|domain)\b",
    r"\breturn[ -]?path\b",
    r"\bsend (\w+ )?as\b",
    r"\bbadmailfrom\b",
    r"\bfailed the check\b",  # Amazon SES: an identity is not verified
)
"""The campaign's sender: a setting of one campaign."""

_POLICY = (
    r"\bpolic(y|ies)\b",
    r"\bprohibit",
    r"\baccess denied\b",
    r"\b(spam|virus)",
    r"\b(quota|full|insufficient)\b",
    r"\btoo (many|much|quickly|fast|large|big|long)\b",
    r"\b(rate|temporar|throttl|limit)",
)
"""The server's policy or load, or the message: never proof that a mailbox does not exist."""

_NO_MAILBOX = (
    r"\bunknown (or \w+ )?((virtual|local) )?(user|recipient|mailbox|local[ -]part|e-?mail address)\b",
    r"\b(user|recipient|mailbox|addressee)( address)?( is)? (unknown|not (found|known|present))\b",
    r"\bno such ((local|virtual) )?(user|recipient|mailbox|person|e-?mail|address)\b",
    r"\bno (mail ?box|account|user)( here)? (by|with) that name\b",
    r"\b(user|recipient|mailbox|e-?mail (address|account))\b[^.;:]{0,60} (does not|doesn't) exist\b",
    r"\bnon-?existent (user|recipient|mailbox)\b",
    r"\bnot a known user\b",
    r"\brecip(ient)?notfound\b",
    r"\buser doesn't have an? \S+ account\b",
    r"\bnot listed in (public name|domino)\b",
)
"""The mailbox does not exist."""

_BY_PHRASE = tuple(
    (re.compile("|".join(phrases), re.IGNORECASE), verdict)
    for phrases, verdict in (
        (_REPUTATION, Verdict.LATER),
        (_ACCESS, Verdict.PROVIDER_DOWN),
        (_SENDER, Verdict.LATER),  # also "Sender address rejected: User unknown"
        (_POLICY, Verdict.NEVER),
        (_NO_MAILBOX, Verdict.RECIPIENT_REFUSED),
    )
)
"""In this order, so that a mailbox counts as missing only if nothing else explains the refusal."""


def verdict_of_phrases(text: str) -> Verdict | None:
    """Return the verdict that the words of a refusal imply, or None if they imply none."""
    words = " ".join(_NOT_WORDS.sub(" ", text[:_MAX_READ]).split())
    verdict = next((verdict for phrases, verdict in _BY_PHRASE if phrases.search(words)), None)
    if verdict is Verdict.PROVIDER_DOWN and _QUOTES_ANOTHER.search(words):
        return Verdict.LATER
    return verdict
