"""Text messages, addressed by a phone number in E.164 form."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, ValidationResult

from ..domain.campaign import Campaign, Channel
from ..domain.trigger import Trigger
from ..domain.wording import at_position, quoted
from .base import Address, ChannelSpec, Message
from .sms_segments import Segments, segments

__all__ = ["CHANNEL", "Text", "is_plain_phone", "phone_pattern_problem", "phone_problem"]

_NOT_DIGIT = re.compile("[^0-9]")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# GSM 03.40 (9.1.2.5) limits names to 11 characters; all networks accept printable ASCII.
_SENDER_NAME = re.compile(r"[!-~](?:[ -~]{0,9}[!-~])?")
_MAX_SHORT_CODE = 8
# Formatted dates and amounts contain non-breaking spaces. A single one would force UCS-2, which halves
# the capacity of an SMS.
_PLAIN_SPACES = str.maketrans("\u00a0\u202f", "  ")


@dataclass(frozen=True, slots=True, repr=False)
class Text(Message):
    """A text message. `to` is an E.164 number; `sender` is a number, a name, or empty."""

    channel: ClassVar[Channel] = Channel.TEXT

    sender: str
    to: str
    body: str

    @classmethod
    def build(cls, campaign: Campaign, trigger: Trigger, parts: Mapping[str, str]) -> Self:
        """Return the text message, with non-breaking spaces replaced."""
        body = parts["text"].strip().translate(_PLAIN_SPACES)
        return cls(trigger.id, campaign.sender, trigger.address, body)

    @property
    def segments(self) -> Segments:
        """The SMS segments that the message needs."""
        return segments(self.body)


def phone_pattern_problem(number: str) -> str:
    """Describe why a number is not in E.164 form."""
    odd = _NOT_DIGIT.search(number, 1)
    if number[0] != "+":
        found = "does not start with +"
    elif odd:
        found = f"contains {at_position(number, odd.start())}"
    elif number[1:2] == "0":
        found = "has a 0 after the +"
    else:
        found = f"has {len(number) - 1} digits; 7 to 15 are allowed"
    return f"is not a phone number in E.164 form, such as +12345678900: {found}"


def phone_problem(number: str) -> str | None:
    """Return why a number in E.164 form is impossible, such as a wrong length for its country, or None."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return "is not a possible phone number: it does not start with a country code"
    code = parsed.country_code or 0  # never 0: the parser rejects numbers without one
    digits = phonenumbers.national_significant_number(parsed)
    if number != f"+{code}{digits}":
        prefix = f"drop the prefix after +{code}, which is only for calls within the country"
        return f"is not a possible phone number: {prefix}"
    if phonenumbers.is_possible_number_with_reason(parsed) == ValidationResult.IS_POSSIBLE:
        return None
    has = f"has {len(digits)} digits after +{code}"
    return f"is not a possible phone number: it {has}; numbers there have {_lengths(code)}"


def _lengths(code: int) -> str:
    """Return how many digits a country's numbers have: `10`, `4 to 11` or `5, 7 or 9`."""
    region = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    lengths = metadata.general_desc.possible_length if metadata and metadata.general_desc else ()
    if not lengths:
        return "a different length"
    first, last = lengths[0], lengths[-1]
    if len(lengths) > 2 and last - first == len(lengths) - 1:  # noqa: PLR2004 - "or" reads better for two
        return f"{first} to {last}"
    others = ", ".join(map(str, lengths[:-1]))
    return f"{others} or {last}" if others else str(last)


def _campaign_problems(campaign: Campaign) -> list[str]:
    """Check the sender. A campaign without one uses the provider's."""
    sender = campaign.sender
    problem = _sender_problem(sender) if sender else None
    return [f"sender: {quoted(sender)} {problem}"] if problem else []


def _sender_problem(sender: str) -> str | None:
    """Return why no provider can send text messages from this sender, or None."""
    if sender.startswith("+"):
        return phone_problem(sender) if _E164.fullmatch(sender) else phone_pattern_problem(sender)
    if sender.isascii() and sender.isdecimal():
        return None if len(sender) <= _MAX_SHORT_CODE else phone_pattern_problem(sender)
    if _SENDER_NAME.fullmatch(sender):
        return None
    return "is not a phone number, such as +12025550100, a short code, or a name of at most 11 characters"


class _Numbering(NamedTuple):
    """The parts of a country's numbering plan that a cheap check needs."""

    start: int
    """The position in `+49301234567` of the first digit after the country code."""
    lengths: frozenset[int]
    """How many digits may follow the country code."""
    prefix: re.Pattern[str]
    """Matches a prefix of these digits that the library would drop."""


@functools.lru_cache(maxsize=1024)
def _numbering(beginning: str) -> _Numbering | None:
    """Return the numbering plan for the first four characters of a number, such as `+491`, or None."""
    codes = (int(beginning[1:end]) for end in (2, 3, 4))
    code = next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), 0)
    region = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if not metadata or not metadata.general_desc:
        return None
    lengths = {*metadata.general_desc.possible_length} - {*metadata.general_desc.possible_length_local_only}
    # A leading zero is kept in some countries and dropped in others.
    prefix = re.compile(f"0|{metadata.national_prefix_for_parsing or '0'}")
    return _Numbering(1 + len(str(code)), frozenset(lengths), prefix)


def is_plain_phone(number: str) -> bool:
    """Return whether a number in E.164 form is possible.

    Most numbers are recognised by country code and length, in a twentieth of the time of `phone_problem`.
    """
    plan = _numbering(number[:4])
    if plan and len(number) - plan.start in plan.lengths:
        dropped = plan.prefix.match(number, plan.start)
        if not (dropped and dropped[0]):
            return True
    return not phone_problem(number)


CHANNEL = ChannelSpec(
    name=Channel.TEXT,
    noun="text message",
    address=Address(
        field="phone",
        sample="+12345678900",
        is_plain=is_plain_phone,
        problem=phone_problem,
        pattern_problem=phone_pattern_problem,
    ),
    parts=("text",),
    message=Text,
    campaign_problems=_campaign_problems,
)
