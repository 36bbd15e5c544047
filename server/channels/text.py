"""Text messages: their address is a phone number in E.164 form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import phonenumbers
from phonenumbers import PhoneMetadata, ValidationResult

from ..domain.campaign import Campaign, Channel
from ..domain.trigger import Trigger
from ..domain.wording import at_position
from .base import Address, ChannelSpec, Message
from .sms_segments import Segments, segments

__all__ = ["CHANNEL", "Text", "phone_pattern_problem", "phone_problem"]

_NOT_DIGIT = re.compile("[^0-9]")
# Formatted dates and amounts contain non-breaking spaces. A single one would move the message out of the GSM
# alphabet and halve what fits into an SMS.
_PLAIN_SPACES = str.maketrans("\u00a0\u202f", "  ")


@dataclass(frozen=True, slots=True, repr=False)
class Text(Message):
    """A text message. `to` is an E.164 number; `sender` a number or a name, or empty."""

    channel: ClassVar[Channel] = Channel.TEXT

    sender: str
    to: str
    body: str

    @classmethod
    def build(cls, campaign: Campaign, trigger: Trigger, parts: Mapping[str, str]) -> Self:
        """Return the text message, with plain spaces only."""
        body = parts["text"].strip().translate(_PLAIN_SPACES)
        return cls(trigger.id, campaign.sender, trigger.address, body)

    @property
    def segments(self) -> Segments:
        """How many SMS the message becomes."""
        return segments(self.body)


def phone_pattern_problem(number: str) -> str:
    """Return how a number fails to be in E.164 form."""
    odd = _NOT_DIGIT.search(number, 1)
    if number[0] != "+":
        found = "has no + at its start"
    elif odd:
        found = f"holds {at_position(number, odd.start())}"
    elif number[1:2] == "0":
        found = "has a 0 after the +"
    else:
        found = f"has {len(number) - 1} digits, which must be 7 to 15"
    return f"is not a phone number in E.164 form, such as +12345678900: {found}"


def phone_problem(number: str) -> str | None:
    """Return why no phone can have a number that is in E.164 form: its length is wrong for its country."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return "is not a possible phone number: no country code begins it"
    code = parsed.country_code or 0  # never 0: the parser refuses numbers without one
    digits = phonenumbers.national_significant_number(parsed)
    if number != f"+{code}{digits}":
        prefix = f"drop the prefix after +{code}, it only works inside the country"
        return f"is not a possible phone number: {prefix}"
    if phonenumbers.is_possible_number_with_reason(parsed) == ValidationResult.IS_POSSIBLE:
        return None
    has = f"has {len(digits)} digits after +{code}"
    return f"is not a possible phone number: it {has}, numbers there have {_lengths(code)}"


def _lengths(code: int) -> str:
    """Return how many digits a country's numbers have: `10`, `4 to 11` or `5, 7 or 9`."""
    region = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    lengths = metadata.general_desc.possible_length if metadata and metadata.general_desc else ()
    if not lengths:
        return "another count"
    first, last = lengths[0], lengths[-1]
    if len(lengths) > 2 and last - first == len(lengths) - 1:  # noqa: PLR2004 - "or" reads better for two
        return f"{first} to {last}"
    others = ", ".join(map(str, lengths[:-1]))
    return f"{others} or {last}" if others else str(last)


def _is_plain(number: str) -> bool:
    return not phone_problem(number)


CHANNEL = ChannelSpec(
    name=Channel.TEXT,
    noun="text message",
    address=Address(
        field="phone",
        sample="+12345678900",
        is_plain=_is_plain,
        problem=phone_problem,
        pattern_problem=phone_pattern_problem,
    ),
    parts=("text",),
    message=Text,
)
