"""Counts the SMS segments of a text, which determine its price.

Alphabet: 3GPP TS 23.038, 6.2.1 and 6.2.1.1 (GSM 03.38). Capacity of one SMS, and of a segment of a longer
message, whose header uses six of the 140 octets: 3GPP TS 23.040, 9.2.3.24.
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
_EXTENSION = "\f^{}\\[~]|€"  # each follows an escape character
_SEPTETS = dict.fromkeys(_BASIC, 1) | dict.fromkeys(_EXTENSION, 2)
_LAST_OF_BMP = 0xFFFF


@dataclass(frozen=True, slots=True)
class Segments:
    """A text as SMS: `count` segments with `units` septets of GSM-7 or 16-bit units of UCS-2 in total."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    count: int


def segments(text: str) -> Segments:
    """Return the segments of a text: in GSM-7 if that alphabet has all its characters, otherwise in UCS-2.

    Escape sequences and surrogate pairs are not split across segments. An empty text is one SMS.
    """
    septets = [_SEPTETS.get(character, 0) for character in text]
    if all(septets):
        return Segments("GSM-7", sum(septets), _count(septets, single=160, part=153))
    units = [2 if ord(character) > _LAST_OF_BMP else 1 for character in text]
    return Segments("UCS-2", sum(units), _count(units, single=70, part=67))


def _count(widths: list[int], *, single: int, part: int) -> int:
    return 1 if sum(widths) <= single else _parts(widths, part)


def _parts(widths: Iterable[int], room: int) -> int:
    """Return the number of segments, filled in order."""
    count, used = 1, 0
    for width in widths:
        if used + width > room:
            count, used = count + 1, 0
        used += width
    return count
