"""Replies of real mail servers, and what follows for the message and its recipient."""

from __future__ import annotations

import aiosmtplib
import pytest

from server.dispatcher.providers.smtp.classify import Stage, classify
from server.domain.delivery_errors import Verdict
from tests.kit.cases import each_case

RECIPIENT = "zoe.sommer@example.org"

THE_MAILBOX_DOES_NOT_EXIST = [
    # With an enhanced code about the mailbox or its domain.
    "550 5.1.1 <z@b.example>: Recipient address rejected: User unknown in relay recipient table",  # Postfix
    "550 5.1.1 <z@b.example>: undeliverable address: host mx.b.example said: 550 5.1.1 No such user",
    "550 5.1.2 <z@b.example>: Recipient address rejected: Domain not found",
    "556 5.1.10 <z@b.example>: Recipient address rejected: Domain b.example does not accept mail (nullMX)",
    "550 5.1.1 <z@b.example>... User unknown",  # Sendmail
    "550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 Try again.",  # Gmail
    "550 5.2.1 The email account that you tried to reach is disabled. a1-gsmtp",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",  # Exchange
    "550 5.1.1 User z (z@b.example) not listed in public Name & Address Book",  # Domino
    "550 #5.1.0 Address rejected. No such user",  # Cisco
    "550 #5.1.1 Address rejected.",
    # qmail and its relatives write the code at the end.
    "550 sorry, no mailbox here by that name. (#5.1.1)",
    "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
    "550 Requested action not taken (#5.1.1).",
    # Words alone.
    "550 No such user here",  # Exim
    "550 Unknown user",
    "550-Verification failed\n550 Unknown local part z in <z@b.example>",
    "550 No Such User Here",  # cPanel
    "553 5.0.0 <z@b.example>... User unknown",
    "554 delivery error: dd This user doesn't have a yahoo.com account (z@yahoo.com) [0] - mta1234.mail",
    "550 5.0.0 Unknown recipient",
    "550 <z@b.example> User does not exist",
    "550 Mailbox not found",
    "550 recipient unknown",
]

OUR_ACCESS = [
    # Relaying denied for want of a login.
    "550 relay not permitted",  # Exim
    "550 5.7.1 Relaying denied",  # Sendmail
    "550 Relaying denied",
    "550 5.7.1 <z@b.example>... Relaying denied. Proper authentication required.",
    "554 5.7.1 <z@b.example>: Relay access denied",  # Postfix
    "454 4.7.1 <z@b.example>: Relay access denied",
    "554 <z@b.example>: Recipient address rejected: Relay access denied",
    "550 5.1.1 Relay not permitted",
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",  # qmail
    "553 you don't authenticate or the domain isn't in my list of allowed rcpthosts (#5.7.1)",
    "550 5.7.1 Unable to relay for z@b.example",  # Exchange
    "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
    "550 5.7.64 TenantAttribution; Relay Access Denied [AM0EUR.prod.protection.outlook.com]",
    "550 5.7.64 TenantAttribution",
    "551 we do not relay",
    "550 This system is not configured to relay mail from 192.0.2.1 to <z@b.example>",
    "450 4.4.0 Relaying temporarily denied. Try again",
    "550 5.1.2 Relay not allowed.",  # Stalwart
    "554 Relay rejected for policy reasons.",  # Domino
    "554 relaying to <z@b.example> prohibited by administrator",  # CommuniGate
    "553 Relaying disallowed as shop@a.example",  # Zoho
    "550 5.7.0 Mail relay denied [192.0.2.1]. Invalid credentials for relay [192.0.2.1].",  # Google
    # The login itself.
    "550 SMTP AUTH is required for message submission on port 587",  # Exim
    "550 Authentication required",
    "530 5.7.57 Client not authenticated to send mail",
    "550 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
    "553 5.7.1 <shop@a.example>: Sender address rejected: not logged in",
    "550 5.7.1 Please authenticate first",
    "550 Unauthenticated senders not allowed",  # SendGrid
    "505 Authentication is required: log in first",
    "550 5.7.3 Requested action aborted; user not authenticated",
    # Greeting, encryption, address and quota.
    "550 Invalid HELO name (See RFC2821 4.1.1.1)",  # Exim
    "550 5.7.1 <localhost>: Helo command rejected: Host not found",
    "450 4.7.1 <localhost>: Helo command rejected: Host not found",
    "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname",
    "554 5.7.1 Encryption is required",
    "550 5.7.10 Encryption needed",
    "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
    "550 5.4.5 Daily user sending limit exceeded. a1-gsmtp",
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    "550 Domain a.example has exceeded the max emails per hour (100/100 (100%)) allowed.",  # cPanel
    "550 5.7.705 Access denied, tenant has exceeded threshold",
    "554 Message rejected: Sending suspended for this account.",  # Amazon SES
    "550 Your account has been temporarily suspended",
]

CAN_BE_CORRECTED = [
    # The address that we send from, and the records of our domain.
    "550 192.0.2.1 is in a black list at zen.spamhaus.org",  # Exim
    "550 5.1.1 192.0.2.1 is in a black list at zen.spamhaus.org",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",  # Postfix
    "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
    "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP",
    "554 Message rejected: Address blacklisted.",  # Amazon SES, which keeps a list itself
    "550 SPF check failed",
    "550 5.7.23 The message was rejected because of Sender Policy Framework violation",
    "550 5.1.1 <z@b.example>: Recipient address rejected: SPF fail - not authorized",
    "550 5.7.1 Unauthenticated email from example.com is not accepted due to domain's DMARC policy",
    "550-5.7.26 Your email has been blocked.\n550 5.7.26 Gmail requires all senders to authenticate.",
    "550 5.7.25 The IP address sending this message does not have a PTR record",
    "554 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
    "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required",  # the recipient accepts only colleagues
    # The campaign's sender, rejected in the reply to RCPT in the words of an unknown user.
    "550 Sender verify failed",
    "550-Verification failed for <shop@a.example>\n550-Unknown user\n550 Sender verify failed",
    "550 5.1.0 <shop@a.example>: Sender address rejected: User unknown in virtual mailbox table",
    "550 5.1.1 <shop@a.example>: Sender address rejected: User unknown in local recipient table",
    "550 5.1.8 <shop@a.example>: Sender address rejected: Domain not found",
    "450 4.1.8 <shop@a.example>: Sender address rejected: Domain not found",
    "553 5.7.1 <shop@a.example>: Sender address rejected: not owned by user mailer",
    "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)",
    "550 The from address does not match a verified Sender Identity.",  # SendGrid
    "554 Message rejected: The following identities failed the check in region EU-WEST-1: a@a.example",  # SES
    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    # Quoted from the recipient's server: nothing about our login.
    "550 5.1.1 <z@b.example>: undeliverable address: host mx.b.example said: 554 5.7.1 Relay access denied",
    "451 Greylisted, try again later",
    "450 4.2.1 The user you are trying to contact is receiving mail too quickly.",
]

DEAD_LETTER = [
    "550 Administrative prohibition",  # Exim
    "550 5.1.1 Administrative prohibition",
    "550 Requested action not taken: mailbox unavailable",
    "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)",
    "550 Invalid recipient: <z@b.example>",  # OpenSMTPD, also if it does not relay
    "550 Unrouteable address",  # Exim, also if its own routing is wrong
    "551 User not local; please try <z@example.net>",
    "553 Mailbox name not allowed",
    "556 Domain takes no mail",
    "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents delivery",
    "552 5.2.2 The email account that you tried to reach is over quota",
    "550 5.1.1 <z@b.example>: mailbox is full",
    "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
    "550 5.1.1 This message violates our policy",
    "554 5.7.9 Message not accepted for policy reasons.",  # Yahoo
    "550 5.7.1 User unknown",
    "550 5.3.4 No such user",
    "550 5.7.1 This message was blocked because its content presents a potential security issue.",
    "554 Blocked <user-unknown@example.org>",
    "554 See https://example.com/no-such-user",
    "571 Blocked",
    "550",
]

TABLE = [
    (reply, verdict)
    for replies, verdict in (
        (THE_MAILBOX_DOES_NOT_EXIST, Verdict.RECIPIENT_REFUSED),
        (OUR_ACCESS, Verdict.PROVIDER_DOWN),
        (CAN_BE_CORRECTED, Verdict.LATER),
        (DEAD_LETTER, Verdict.NEVER),
    )
    for reply in replies
]


def verdict(reply: str, stage: Stage) -> Verdict:
    lines = [line.removeprefix(f"{reply[:3]}-").removeprefix(f"{reply[:3]} ") for line in reply.split("\n")]
    error = aiosmtplib.SMTPResponseException(int(reply[:3]), "\n".join(lines))
    return classify(error, stage, RECIPIENT).verdict


@each_case(("reply", "expected"), TABLE, ids=lambda value: str(value)[:50])
def test_a_reply_to_rcpt(reply: str, expected: Verdict) -> None:
    assert verdict(reply, Stage.RECIPIENT) is expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("550 5.1.1 No such user", Verdict.RECIPIENT_REFUSED),
        ("550 Unknown user", Verdict.RECIPIENT_REFUSED),
        ("550 relay not permitted", Verdict.PROVIDER_DOWN),
        ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", Verdict.LATER),
        ("554 5.7.1 Spam message rejected", Verdict.NEVER),
        ("554 The mail server detected your message as spam and has prevented delivery.", Verdict.NEVER),
    ],
)
def test_a_reply_to_the_content(reply: str, expected: Verdict) -> None:
    assert verdict(reply, Stage.CONTENT) is expected


@each_case("reply", THE_MAILBOX_DOES_NOT_EXIST)
def test_a_refused_sender_suppresses_no_recipient(reply: str) -> None:
    assert verdict(reply, Stage.SENDER) is Verdict.LATER


def test_only_the_start_of_a_long_reply_counts() -> None:
    assert verdict("550 " + "." * 100 + " no such user", Stage.RECIPIENT) is Verdict.RECIPIENT_REFUSED
    assert verdict("550 " + "." * 32_000 + " no such user", Stage.RECIPIENT) is Verdict.NEVER
