"""The campaign: its number as it is written, its channel, state and project."""

from __future__ import annotations

from tests.contract.conftest import OTHERS_CAMPAIGN, PAUSED_CAMPAIGN
from tests.kit.stack import EXAMPLE

from .case import Case, accepted, invalid, refused, user
from .twins import EMAIL, PHONE, TOKEN

__all__ = ["ACCEPTED", "REFUSED"]

NUMBER = ("campaign_id", "WRONG_TYPE")
MISMATCH = "CHANNEL_MISMATCH"
NO_NUMBERS = [
    *("0", "-1", "+1", "+44", "01", "044", "1.0", "44.0", "1e3", "4_4", "0x2C", "44L", "NaN", "abc", "null"),
    *("٤٤", "４４", "Ⅳ", "44\u200b"),  # noqa: RUF001 - digits to a person are the point
    *(" 44", "44 ", "4 4", "44\n", "44;", "44,45", "44'--", "{}", "%34%34"),
    *(str(2**63), str(2**64 + 44), "9" * 30, "1" * 500),
]


def numbers() -> list[Case]:
    """Return invalid campaign ids."""
    return [invalid(f"campaign {text[:24]!r}", EXAMPLE, NUMBER, campaign=text) for text in NO_NUMBERS]


def mixed(name: str, number: int, needed: str, **members: str) -> Case:
    """Return a case with an address of another channel than the campaign's."""
    body = {"user": {"external_id": "a", **members}}
    return invalid(name, body, (f"user.{needed}", MISMATCH), campaign=number)


REFUSED = [
    *numbers(),
    mixed("a phone for email", 44, "email", phone=PHONE),
    mixed("a device for email", 44, "email", device_token=TOKEN),
    mixed("an email for text", 45, "phone", email=EMAIL),
    mixed("a device for text", 45, "phone", device_token=TOKEN),
    mixed("an email for push", 46, "device_token", email=EMAIL),
    mixed("a phone for push", 46, "device_token", phone=PHONE),
    invalid(
        "an email for text and more",
        {"user": {"email": EMAIL, "timezone": "x"}},
        ("user.external_id", "REQUIRED"),
        ("user.phone", MISMATCH),
        ("user.timezone", "UNKNOWN_VALUE"),
        campaign=45,
    ),
    invalid(
        "a wrong number and a wrong body",
        {"user": {"email": "x"}},
        NUMBER,
        ("user.email", "INVALID_FORMAT"),
        ("user.external_id", "REQUIRED"),
        campaign="1.5",
    ),
    invalid("a wrong number and no JSON", "x", NUMBER, ("", "MALFORMED_JSON"), campaign="x"),
    invalid("a wrong number and an array", [], NUMBER, ("", "WRONG_TYPE"), campaign="x"),
    refused(
        "a paused campaign",
        "CAMPAIGN_PAUSED",
        EXAMPLE,
        ("campaign_id", "CAMPAIGN_STATE"),
        campaign=PAUSED_CAMPAIGN,
    ),
    invalid(
        "a paused campaign and a wrong body",
        user(external_id=""),
        ("user.external_id", "REQUIRED"),
        campaign=PAUSED_CAMPAIGN,
    ),
    *(
        refused(f"campaign {number}", "CAMPAIGN_NOT_FOUND", campaign=number)
        for number in (1, 9, 999, 440, 2**31, 2**53 + 1, 2**63 - 1)
    ),
    refused("an unknown campaign and a wrong body", "CAMPAIGN_NOT_FOUND", {"user": {}}, campaign=999),
    refused("an unknown campaign and no JSON", "CAMPAIGN_NOT_FOUND", "x", campaign=999),
    refused("another project's campaign", "CAMPAIGN_NOT_FOUND", campaign=OTHERS_CAMPAIGN),
    refused("another project's and no JSON", "CAMPAIGN_NOT_FOUND", "x", campaign=OTHERS_CAMPAIGN),
]

ACCEPTED = [
    accepted("a campaign as text", campaign="44"),
    accepted("a campaign percent-encoded", campaign="44", path_id="%344"),
    accepted("a campaign all percent-encoded", campaign="44", path_id="%34%34"),
]
