"""How many SMS a text becomes, which is what it costs. Pure.

Alphabet: 3GPP TS 23.038, 6.2.1 and 6.2.1.1 (GSM 03.38). Room in one SMS, and in a part of a longer message,
whose header takes six of the 140 octets: 3GPP TS 23.040, 9.2.3.24.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Segments", "segments"]

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"  # each behind an escape
_SEPTETS = dict.fromkeys(_BASIC, 1) | dict.fromkeys(_EXTENSION, 2)
_LAST_OF_BMP = 0xFFFF


@dataclass(frozen=True, slots=True)
class Segments:
    """What a text is on the air: `count` SMS holding `units`, septets of GSM-7 or 16-bit units of UCS-2."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    count: int


def segments(text: str) -> Segments:
    """Return how a text is sent: in GSM-7 if all its characters are in that alphabet, in UCS-2 if not.

    No character is split: neither an escape from what it escapes, nor a surrogate from its pair. An empty
    text is one SMS.
    """
    septets = [_SEPTETS.get(character, 0) for character in text]
    if all(septets):
        return Segments("GSM-7", sum(septets), _count(septets, single=160, part=153))
    units = [2 if ord(character) > _LAST_OF_BMP else 1 for character in text]
    return Segments("UCS-2", sum(units), _count(units, single=70, part=67))


def _count(widths: list[int], *, single: int, part: int) -> int:
    return 1 if sum(widths) <= single else _parts(widths, part)


def _parts(widths: Iterable[int], room: int) -> int:
    """Count the parts, filled one after the other."""
    count, used = 1, 0
    for width in widths:
        if used + width > room:
            count, used = count + 1, 0
        used += width
    return count
