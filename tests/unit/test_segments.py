"""SMS segments of texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.channels.sms_segments import Segments, segments
from tests.kit.cases import each_case

# 3GPP TS 23.038, table 6.2.1, row by row as printed: a row has the lower four bits of the code in common.
TABLE = [
    ["@", "Δ", " ", "0", "¡", "P", "¿", "p"],
    ["£", "_", "!", "1", "A", "Q", "a", "q"],
    ["$", "Φ", '"', "2", "B", "R", "b", "r"],
    ["¥", "Γ", "#", "3", "C", "S", "c", "s"],
    ["è", "Λ", "¤", "4", "D", "T", "d", "t"],
    ["é", "Ω", "%", "5", "E", "U", "e", "u"],
    ["ù", "Π", "&", "6", "F", "V", "f", "v"],
    ["ì", "Ψ", "'", "7", "G", "W", "g", "w"],
    ["ò", "Σ", "(", "8", "H", "X", "h", "x"],
    ["Ç", "Θ", ")", "9", "I", "Y", "i", "y"],
    ["\n", "Ξ", "*", ":", "J", "Z", "j", "z"],
    ["Ø", "", "+", ";", "K", "Ä", "k", "ä"],  # the escape has this place
    ["ø", "Æ", ",", "<", "L", "Ö", "l", "ö"],
    ["\r", "æ", "-", "=", "M", "Ñ", "m", "ñ"],
    ["Å", "ß", ".", ">", "N", "Ü", "n", "ü"],
    ["å", "É", "/", "?", "O", "§", "o", "à"],
]
BASIC = [character for row in TABLE for character in row if character]
EXTENSION = ["\f", "^", "{", "}", "\\", "[", "~", "]", "|", "€"]


@each_case(
    ("text", "expected"),
    [
        ("", Segments("GSM-7", 0, 1)),
        ("Your code is 1234.", Segments("GSM-7", 18, 1)),
        ("x" * 160, Segments("GSM-7", 160, 1)),
        ("x" * 161, Segments("GSM-7", 161, 2)),
        ("x" * 306, Segments("GSM-7", 306, 2)),
        ("x" * 307, Segments("GSM-7", 307, 3)),
        ("€" * 80, Segments("GSM-7", 160, 1)),
        ("€" * 81, Segments("GSM-7", 162, 2)),
        ("x" * 159 + "€", Segments("GSM-7", 161, 2)),
        ("x" * 152 + "€" + "x" * 152, Segments("GSM-7", 306, 3)),  # an escape is not split from its character
        ("x" * 151 + "€" + "x" * 153, Segments("GSM-7", 306, 2)),
        ("ж" * 70, Segments("UCS-2", 70, 1)),
        ("ж" * 71, Segments("UCS-2", 71, 2)),
        ("ж" * 134, Segments("UCS-2", 134, 2)),
        ("ж" * 135, Segments("UCS-2", 135, 3)),
        ("x" * 70 + "ж", Segments("UCS-2", 71, 2)),  # one such character forces UCS-2
        ("😀" * 35, Segments("UCS-2", 70, 1)),
        ("😀" * 36, Segments("UCS-2", 72, 2)),
        ("😀" * 66, Segments("UCS-2", 132, 2)),
        ("😀" * 67, Segments("UCS-2", 134, 3)),  # 33 pairs per segment: the 67th unit would split one
        ("ж" + "😀" * 66, Segments("UCS-2", 133, 2)),
        ("ç", Segments("UCS-2", 1, 1)),  # only the capital is in the alphabet
        ("`", Segments("UCS-2", 1, 1)),
        ("\x1b", Segments("UCS-2", 1, 1)),  # the escape is not a character
        ("\u2019", Segments("UCS-2", 1, 1)),
    ],
)
def test_segments_of_a_text(text: str, expected: Segments) -> None:
    assert segments(text) == expected


def test_basic_characters_take_one_septet() -> None:
    assert len(BASIC) == 127
    assert segments("".join(BASIC)) == Segments("GSM-7", 127, 1)


def test_extension_characters_take_two_septets() -> None:
    assert segments("".join(EXTENSION)) == Segments("GSM-7", 20, 1)


def test_all_other_characters_need_ucs2() -> None:
    every = {chr(code) for code in range(0x3000)}
    assert {one for one in every if segments(one).encoding == "GSM-7"} == {*BASIC, *EXTENSION}


@given(st.text(max_size=400))
def test_units_match_the_encoding_and_fill_segments(text: str) -> None:
    found = segments(text)
    single, part = (160, 153) if found.encoding == "GSM-7" else (70, 67)
    if found.encoding == "UCS-2":
        assert found.units == len(text.encode("utf-16-be")) // 2
    if found.units <= single:
        assert found.count == 1
    else:
        assert (found.count - 1) * (part - 1) < found.units <= found.count * part
