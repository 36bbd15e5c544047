"""The JSON body of the REST call → the typed request that gRPC callers send, or all its violations."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import msgspec

from ..channels import BY_ADDRESS_FIELD
from ..domain.campaign import Channel
from ..domain.wording import shown
from ..errors import Violation
from . import strict_json
from .idempotency_key import FIELD
from .rules import required
from .send_at import parse_send_at
from .typed import TYPED, TriggerRequest

__all__ = ["MAX_ID", "Body", "parse_any", "parse_body", "parse_campaign_id", "to_request", "wrong_type"]

_ADDRESSES = {field: spec.name for field, spec in BY_ADDRESS_FIELD.items()}
_USER_TEXTS = {"external_id", *_ADDRESSES, "timezone", "locale"}
_FIELDS = ["event", "send_at", "user", "user.data", *(f"user.{name}" for name in sorted(_USER_TEXTS))]
_NEVER_LEFT_OUT = {"user", "user.external_id"}
# The names that other APIs and generated clients would use, and names that stand at the wrong place.
_MEANT = {path.rpartition(".")[2].replace("_", ""): path for path in _FIELDS} | {"events": "event"}
# `user.data` and `event` have their own limit, which the rules check and name. They stand two levels down and
# one; one level more is read, and shows them to be too deep.
_MAX_DEPTH = strict_json.MAX_DEPTH + 3
_HEADER = "Idempotency-Key"  # as people write it
_PLAIN_OBJECTS = 3  # the body, user, event
MAX_ID = 2**63 - 1
_ID = re.compile("[1-9][0-9]{0,18}")


class _RawUser(msgspec.Struct, frozen=True):
    data: msgspec.Raw = msgspec.Raw(b"")


class _RawBody(msgspec.Struct, frozen=True):
    user: _RawUser = _RawUser()
    event: msgspec.Raw = msgspec.Raw(b"")


class _PlainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: dict[str, str]
    event: msgspec.Raw = msgspec.Raw(b"")
    send_at: str | None = None


_raw_decoder = msgspec.json.Decoder(_RawBody)
_plain_decoder = msgspec.json.Decoder(_PlainBody)
_flat_decoder = msgspec.json.Decoder(dict[str, str | int | float | bool | None])


class Body(msgspec.Struct, frozen=True):
    """A decoded body: the well-typed members of `user`, the raw objects, and what was wrong."""

    user: Mapping[str, str]
    data: str
    event: str
    violations: tuple[Violation, ...]
    is_plain: bool = False
    """Whether `event` is known to be a flat JSON object, so that it need not be parsed again."""
    send_at: dt.datetime | None = None
    more: Mapping[str, Any] = {}
    """Members that stand beside these in an item of a batch, as decoded."""

    @property
    def given_channel(self) -> Channel | None:
        """The channel of the address that was given, if one was."""
        return next((channel for name, channel in _ADDRESSES.items() if self.user.get(name)), None)


def parse_campaign_id(text: str) -> int | Violation:
    """Return the path's campaign id, or what is wrong with it."""
    if _ID.fullmatch(text) and int(text) <= MAX_ID:
        return int(text)
    description = f"must be an integer from 1 to {MAX_ID}, found {shown(text)}"
    return Violation("campaign_id", description, "WRONG_TYPE")


def parse_body(data: bytes) -> Body:
    """Decode a body strictly. Never raises: what is wrong is in `violations`."""
    return _parse_plain(data) or parse_any(data)


def _parse_plain(data: bytes) -> Body | None:
    """Decode the everyday body, flat and without escapes, at a fifth of the cost; None for any other.

    A body whose names are as many as its colons has no name twice, and no colon inside a string.
    """
    if b"\\" in data or b"[" in data or data.count(b"{") > _PLAIN_OBJECTS:
        return None
    try:
        body = _plain_decoder.decode(data)
        event = _flat_decoder.decode(body.event) if body.event else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    names = 1 + len(body.user) + (0 if event is None else 1 + len(event))
    send_at = None
    if body.send_at is not None:
        send_at = parse_send_at(body.send_at)
        names += 1 + body.send_at.count(":")
    if data.count(b":") != names or not _USER_TEXTS.issuperset(body.user) or isinstance(send_at, Violation):
        return None
    return Body(body.user, "", bytes(body.event).decode(), (), is_plain=True, send_at=send_at)


def parse_any(data: bytes, more: Collection[str] = ()) -> Body:
    """Decode any body strictly, one that may have `more` members too."""
    try:
        text = strict_json.blank_below(data.decode("utf-8"), _MAX_DEPTH)
        text, value = strict_json.forgiving(text, partial(strict_json.decode, depth=_MAX_DEPTH))
    except UnicodeDecodeError as error:
        return _nothing(f"is not UTF-8: byte {error.start} is not part of a character")
    except strict_json.JsonError as error:
        return _nothing(str(error))
    if not isinstance(value, dict):
        return _nothing(f"must be a JSON object, found {strict_json.type_name(value)}", "WRONG_TYPE")
    return _checked(text, value, more)


def to_request(campaign_id: int, channel: Channel, body: Body, request_id: str = "") -> TriggerRequest:
    """Build the typed request of the campaign's channel; addresses of other channels are left out."""
    members = {name: text for name, text in body.user.items() if _ADDRESSES.get(name, channel) is channel}
    if body.data:
        members["data"] = body.data
    request = TYPED[channel].request(
        campaign_id=campaign_id, user=members, event=body.event, request_id=request_id
    )
    if body.send_at is not None:
        request.send_at.FromDatetime(body.send_at)
    return request


def _nothing(description: str, reason: str = "MALFORMED_JSON") -> Body:
    return Body({}, "", "", (Violation("", description, reason),))


def _checked(text: str, value: dict[str, Any], more: Collection[str]) -> Body:
    known = {"user", "event", "send_at", *more}
    violations = [_unknown(name) for name in value if name not in known]
    user = value.get("user")
    if user is None or not isinstance(user, dict):
        violations.append(required("user") if "user" not in value else wrong_type("user", "an object", user))
        user = {}
    texts = {name: member for name, member in user.items() if name in _USER_TEXTS and type(member) is str}
    violations += _wrong_members(user)
    event = value.get("event", {})
    if not isinstance(event, dict):
        violations.append(wrong_type("event", "an object", event))
    send_at = _send_at(value, violations)
    raw = _raw_decoder.decode(text) if not violations else _RawBody()
    data, given = bytes(raw.user.data).decode(), bytes(raw.event).decode()
    others = {name: value[name] for name in more if name in value}
    return Body(texts, data, given, tuple(violations), send_at=send_at, more=others)


def _send_at(value: Mapping[str, Any], violations: list[Violation]) -> dt.datetime | None:
    """Return the moment that the body names; tell what is wrong with it."""
    if "send_at" not in value:
        return None
    given = value["send_at"]
    found = parse_send_at(given) if isinstance(given, str) else wrong_type("send_at", "a string", given)
    if isinstance(found, Violation):
        violations.append(found)
        return None
    return found


def _wrong_members(user: Mapping[str, Any]) -> list[Violation]:
    violations = []
    for name, member in user.items():
        if name == "data":
            if not isinstance(member, dict):
                violations.append(wrong_type("user.data", "an object", member))
        elif name not in _USER_TEXTS:
            violations.append(_unknown(f"user.{name}"))
        elif type(member) is not str:
            violations.append(wrong_type(f"user.{name}", "a string", member))
    return violations


def _unknown(field: str) -> Violation:
    if field == FIELD:
        return Violation(
            field, f"is not a field of this call: send it as the header {_HEADER}", "UNKNOWN_FIELD"
        )
    meant = _MEANT.get(field.rpartition(".")[2].replace("_", "").replace("-", "").casefold())
    if meant:
        hint = f", did you mean {meant}?"
    else:
        hint = "; put facts of your own under user.data" if field.startswith("user.") else ""
    return Violation(field, f"is not a field of this call{hint}", "UNKNOWN_FIELD")


def wrong_type(field: str, expected: str, found: object) -> Violation:
    """Return the violation of a member that has a value of another type."""
    hint = "; leave it out instead" if found is None and field not in _NEVER_LEFT_OUT else ""
    return Violation(field, f"must be {expected}, found {strict_json.type_name(found)}{hint}", "WRONG_TYPE")
