"""Keys of every kind, and what is judged before what."""

from __future__ import annotations

from tests.contract.conftest import OTHERS_CAMPAIGN
from tests.kit.stack import EXAMPLE

from .case import Case, accepted, refused, user

__all__ = ["ACCEPTED", "REFUSED"]

MALFORMED = [
    "Bearer",
    "Bearer nonsense",
    "Bearer sk_",
    "Bearer sk_1 sk_2",
    "Bearer {good} {good}",
    "Bearer {good}x",
    "Bearer x{good}",
    "Bearer {good},",
    'Bearer "{good}"',
    "Bearer{good}",
    "Basic c2tfOng=",
    "Basic {good}",
    "Token {good}",
    "{good}",
    "sk_dbf68c87-e579-4dac-b083-77fed0294e67",
    "Bearer pk_dbf68c87-e579-4dac-b083-77fed0294e67",
    "Bearer sk_dbf68c87e5794dacb08377fed0294e67",
    "Bearer sk_dbf68c87-e579-4dac-b083-77fed0294e6g",
]
BODIES = {"a good body": EXAMPLE, "a wrong body": {"user": {}}, "no JSON": "not json", "nothing": b""}
INVALID, FORBIDDEN, SCOPE = "CREDENTIALS_INVALID", "CAMPAIGN_FORBIDDEN", "SCOPE_MISSING"


def with_key(kind: str, reason: str, what: str = "a good body", campaign: object = 44) -> Case:
    """Return a case with a key of this kind."""
    name = f"a key that is {kind} and {what} for campaign {campaign}"
    authorization = f"Bearer {{{kind}}}"
    return refused(name, reason, BODIES[what], campaign=campaign, authorization=authorization)


REFUSED = [
    *(
        refused(f"no key and {what}", "CREDENTIALS_MISSING", body, authorization=None)
        for what, body in BODIES.items()
    ),
    *(refused(f"authorization {text!r}", INVALID, authorization=text) for text in MALFORMED),
    *(with_key(kind, INVALID, what) for kind in ("expired", "revoked", "unknown") for what in BODIES),
    *(with_key("unknown", INVALID, campaign=number) for number in (999, OTHERS_CAMPAIGN)),
    *(with_key("without_scope", SCOPE, what) for what in BODIES),
    *(with_key("without_scope", SCOPE, campaign=number) for number in (999, OTHERS_CAMPAIGN, "x")),
    *(with_key("of_another_project", "CAMPAIGN_NOT_FOUND", what) for what in BODIES),
    with_key("of_another_project", "CAMPAIGN_NOT_FOUND", campaign=999),
    *(with_key("held_to_45", FORBIDDEN, what) for what in BODIES),
    *(with_key("held_to_45", FORBIDDEN, campaign=number) for number in (46, 999, OTHERS_CAMPAIGN)),
]

ACCEPTED = [
    accepted("bearer in small letters", authorization="bearer {good}"),
    accepted("BEARER in capitals", authorization="BEARER {good}"),
    accepted("several spaces before the key", authorization="Bearer   {good}"),
    accepted("a key of all scopes", authorization="Bearer {reads}"),
    accepted("a key held to its campaign", user(45), campaign=45, authorization="Bearer {held_to_45}"),
    accepted(
        "another project's key for its own",
        campaign=OTHERS_CAMPAIGN,
        authorization="Bearer {of_another_project}",
    ),
]
