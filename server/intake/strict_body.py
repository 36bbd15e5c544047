"""The strict decoder of REST bodies. It finds every violation in the JSON, and builds the typed request.

It is only used for bodies that `decode` does not accept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import msgspec

from ..channels import BY_ADDRESS_FIELD
from ..domain.campaign import Channel
from ..domain.json_limits import exceeds_values, is_deep_first, path_of_excess
from ..domain.wording import quoted
from ..errors import Violation
from . import strict_json
from .contract import BODY_FIELDS, MAX_CAMPAIGN_ID, OBJECTS, REQUEST_FIELDS, USER_FIELDS, Kind, ProtoField
from .explain import EMPTY_KEY, required, type_problem, unknown_field, wrong_type
from .send_at import parse_send_at
from .typed import TYPED, TriggerRequest

__all__ = ["StrictBody", "parse_body", "parse_campaign_id", "parse_item", "to_request"]

# `event` and `user.data` begin one and two levels below the body. Their own depth is limited with the other
# rules. One more level is read, so that those rules can find that they are too deep.
_MAX_DEPTH = strict_json.MAX_DEPTH + 3
# Known fields outside of JSON objects, and room for unknown ones.
_MAX_OTHER_VALUES = 500
_ID = re.compile("[1-9][0-9]{0,18}")
Values: TypeAlias = dict[str, Any]


_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class StrictBody(msgspec.Struct, frozen=True):
    """A decoded body: its well-typed fields, and what was wrong with the others."""

    fields: Values
    """The fields of the typed request, except `user`."""
    user: Values
    violations: tuple[Violation, ...]
    campaign_id: int | Violation = 0
    """The campaign of an item, or what is wrong with it."""
    is_unread: bool = False
    """Whether the rest of the body was not read, so that nothing is known about its fields."""

    @property
    def given_channel(self) -> Channel | None:
        """The channel whose address was given, if one was."""
        return next((spec.name for name, spec in BY_ADDRESS_FIELD.items() if self.user.get(name)), None)


def parse_campaign_id(text: str) -> int | Violation:
    """Return the campaign id in a path, or what is wrong with it."""
    if _ID.fullmatch(text) and (number := int(text)) <= MAX_CAMPAIGN_ID:
        return number
    description = f"must be an integer from 1 to {MAX_CAMPAIGN_ID}, found {quoted(text)}"
    return Violation("campaign_id", description, "WRONG_TYPE")


def parse_body(data: bytes) -> StrictBody:
    """Decode the body of a REST call. Never raises: every problem is in `violations`."""
    return _parse(data, BODY_FIELDS)


def parse_item(data: bytes) -> StrictBody:
    """Decode an item of a REST batch. Never raises: every problem is in `violations` or `campaign_id`."""
    return _parse(data, REQUEST_FIELDS)


def to_request(campaign_id: int, channel: Channel, body: StrictBody) -> TriggerRequest:
    """Return the typed request of the campaign's channel. Addresses of other channels are left out."""
    user = {
        name: value
        for name, value in body.user.items()
        if name not in BY_ADDRESS_FIELD or BY_ADDRESS_FIELD[name].name is channel
    }
    return TYPED[channel].request(campaign_id=campaign_id, user=user, **body.fields)


def _parse(data: bytes, known: Mapping[str, ProtoField]) -> StrictBody:
    try:
        text = strict_json.text_of(data)
        if is_deep_first(text, _MAX_DEPTH, _MAX_OTHER_VALUES):
            strict_json.check_not_excessive(text)
            text = strict_json.blank_below(text, _MAX_DEPTH)
        text, violations = _without_large_objects(text)
        text = strict_json.blank_below(text, _MAX_DEPTH)
        text, value = strict_json.decode_leniently(text, partial(strict_json.decode, depth=_MAX_DEPTH))
    except strict_json.TooDeep as error:
        return _unreadable(str(error), error.reason, _object_of(path_of_excess(text)))
    except strict_json.JsonError as error:
        return _unreadable(str(error), error.reason)
    if not isinstance(value, dict):
        return _unreadable(type_problem("a JSON object", value), "WRONG_TYPE")
    return _checked(text, value, known, violations)


def _without_large_objects(text: str) -> tuple[str, list[Violation]]:
    """Return the text without the content of JSON objects that have too many values, and their violations.

    Blanks take the place of their content, so that positions in the rest stay the same. The content is not
    decoded, which would take milliseconds.

    Raises:
        TooManyValues: The rest of the body has too many values.
    """
    violations: list[Violation] = []
    if not exceeds_values(text, _MAX_OTHER_VALUES):
        return text, violations
    rest = text
    for path in OBJECTS:
        content = _object_text(text, path)
        blank = f"{{{' ' * (len(content) - 2)}}}"
        rest = rest.replace(content, blank) if content else rest
        try:
            strict_json.check_values(content)
        except strict_json.TooManyValues as error:
            violations.append(Violation(path, str(error), error.reason))
            text = text.replace(content, blank)
    strict_json.check_values(rest, _MAX_OTHER_VALUES)
    return text, violations


def _object_text(text: str, path: str) -> str:
    """Return the text of a JSON object in a body; an empty text if there is none, or the body is not JSON."""
    value: Any = text
    try:
        for name in path.split("."):
            value = _raw_decoder.decode(value)[name]
    except (msgspec.DecodeError, KeyError, RecursionError):
        return ""
    found = str(value, "utf-8")
    return found if found.startswith("{") else ""


def _object_of(path: str) -> str:
    """Return the JSON object of a trigger that contains a path; an empty text if none does."""
    return next((one for one in OBJECTS if f"{path}.".startswith(f"{one}.")), "")


def _unreadable(description: str, reason: str = "MALFORMED_JSON", field: str = "") -> StrictBody:
    return StrictBody({}, {}, (Violation(field, description, reason),), is_unread=True)


def _checked(
    text: str, value: Values, known: Mapping[str, ProtoField], violations: list[Violation]
) -> StrictBody:
    violations = [*violations, *(unknown_field(name) for name in value if name not in known)]
    value = _without_nulls(value)
    user = value.get("user")
    if not isinstance(user, dict):
        violations.append(required("user") if "user" not in value else wrong_type("user", "an object", user))
        user = {}
    violations += [unknown_field(f"user.{name}") for name in user if name not in USER_FIELDS]
    user = _without_nulls(user)
    members = _well_typed(user, USER_FIELDS, violations, prefix="user.")
    fields = _well_typed(value, BODY_FIELDS, violations)
    campaign_id: int | Violation = 0
    if "campaign_id" in known:
        campaign_id = _campaign_id(value)
        fields |= _request_id(value, violations)
    if not violations:
        raw = _raw_decoder.decode(text)
        fields |= _objects(raw, value, BODY_FIELDS)
        members |= _objects(_raw_decoder.decode(raw["user"]), user, USER_FIELDS)
    return StrictBody(fields, members, tuple(violations), campaign_id)


def _without_nulls(value: Values) -> Values:
    """Return the members that are set: null means absent (https://protobuf.dev/programming-guides/json)."""
    return {name: member for name, member in value.items() if member is not None}


def _well_typed(
    value: Values, known: Mapping[str, ProtoField], violations: list[Violation], *, prefix: str = ""
) -> Values:
    """Return the texts and times of an object. Append the problems of its known fields to `violations`."""
    found: Values = {}
    for name, member in value.items():
        field = known.get(name)
        if field is None or field.kind is Kind.USER:
            continue
        parsed = _parsed(prefix + name, member, field.kind)
        if isinstance(parsed, Violation):
            violations.append(parsed)
        elif field.kind is not Kind.OBJECT:
            found[name] = parsed
    return found


def _parsed(path: str, value: object, kind: Kind) -> object:
    """Return the value of a field, or what is wrong with it."""
    if kind is Kind.OBJECT:
        return value if isinstance(value, dict) else wrong_type(path, "an object", value)
    if not isinstance(value, str):
        return wrong_type(path, "a string", value)
    return parse_send_at(value) if kind is Kind.TIME else value


def _objects(raw: Mapping[str, msgspec.Raw], value: Values, known: Mapping[str, ProtoField]) -> Values:
    """Return the JSON objects as they were written.

    Args:
        raw: The members as they were written.
        value: The members that are set, decoded.
        known: The fields.
    """
    return {
        name: str(raw[name], "utf-8") for name in value if name in known and known[name].kind is Kind.OBJECT
    }


def _campaign_id(value: Values) -> int | Violation:
    """Return the campaign ID of an item: a number, or a string as in responses (JSON of proto3)."""
    found = value.get("campaign_id")
    if found is None:
        return required("campaign_id")
    if isinstance(found, str):
        return parse_campaign_id(found)
    if type(found) is not int:
        return wrong_type("campaign_id", "an integer", found)
    if not 1 <= found <= MAX_CAMPAIGN_ID:
        return Violation("campaign_id", f"must be an integer from 1 to {MAX_CAMPAIGN_ID}", "WRONG_TYPE")
    return found


def _request_id(value: Values, violations: list[Violation]) -> Values:
    """Return the idempotency key of an item, if it has one. Append its problems to `violations`."""
    found = value.get("request_id")
    if found is None:
        return {}
    if isinstance(found, str) and found:
        return {"request_id": found}
    violations.append(EMPTY_KEY if found == "" else wrong_type("request_id", "a string", found))
    return {}
