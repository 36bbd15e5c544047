"""What can be triggered, and how it is written for the wire."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from clarion.v1 import trigger_pb2 as pb

from .arguments import checked_integer, checked_moment, checked_text

__all__ = ["Email", "Json", "Message", "Prepared", "Push", "Text", "portion", "prepare", "prepare_all"]

Json: TypeAlias = Mapping[str, Any] | str
"""A JSON object: as a mapping, or as text that is sent as it is."""

# Of a batch, what the contract takes at most: 1,000 items and 2 MiB, with room for what frames each item.
_ITEMS = 1000
_BYTES = 2_000_000
_FRAME = 8
# An item larger than this might be refused for its size if it came alone; so it does.
_ALONE = 200_000
_TEXTS = ("external_id", "timezone", "locale", "request_id")


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What all channels have."""

    campaign_id: int = field(kw_only=False)
    external_id: str
    """The caller's own id of the user."""
    event: Json | None = field(default=None, repr=False)
    """What the templates can read. Integers of any size arrive exactly."""
    data: Json | None = field(default=None, repr=False)
    """More about the user, which templates read as `user.data`."""
    timezone: str = ""
    """IANA, such as `America/Chicago`."""
    locale: str = ""
    """BCP 47, such as `pt-BR`."""
    send_at: dt.datetime | None = None
    """When to send it, with its time zone; at once if None."""
    request_id: str = field(default_factory=_new_id)
    """What makes it this message: printable ASCII without spaces. Best an id of the caller's own, such as the
    order's; by default a new UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Email(_Common):
    """One email. The object is the message: sent again, it is the same trigger, and nothing is sent twice."""

    email: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(_Common):
    """One text message; see Email."""

    phone: str = field(repr=False)
    """E.164: `+12345678900`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push(_Common):
    """One push notification; see Email."""

    device_token: str = field(repr=False)


Message: TypeAlias = Email | Text | Push


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message as it travels."""

    kind: str
    """`email`, `text` or `push`: the item's one field."""
    item: pb.BatchItem
    size: int
    """Bytes in a batch."""

    @property
    def request(self) -> Any:
        """The typed request that triggers it alone."""
        return getattr(self.item, self.kind)

    @property
    def request_id(self) -> str:
        """The id that all tries share."""
        return str(self.request.request_id)


_KINDS: dict[type[Any], tuple[str, str]] = {
    Email: ("email", "email"),
    Text: ("text", "phone"),
    Push: ("push", "device_token"),
}
"""The item's field, and the user's field that holds the address."""


def prepare(message: Message) -> Prepared:
    """Return the message as it travels.

    Raises:
        TypeError: an argument is of the wrong type, or holds what JSON cannot.
        ValueError: an argument cannot be sent.
    """
    kind, address = _kind(message)
    _check(message, address)
    user = {address: getattr(message, address), "external_id": message.external_id}
    user |= {"timezone": message.timezone, "locale": message.locale, "data": _json("data", message.data)}
    fields: dict[str, Any] = {"campaign_id": message.campaign_id, "request_id": message.request_id}
    if message.send_at is not None:
        fields["send_at"] = checked_moment("send_at", message.send_at)
    item = pb.BatchItem(**{kind: {**fields, "user": user, "event": _json("event", message.event)}})
    return Prepared(kind, item, item.ByteSize() + _FRAME)


def prepare_all(messages: Iterable[Message]) -> list[Prepared]:
    """Return the messages as they travel.

    Raises:
        TypeError: as `prepare`, with the message's place.
        ValueError: as well.
    """
    if not isinstance(messages, Iterable):
        raise TypeError(f"messages: must be several, such as a list, not {type(messages).__name__}")
    return [_prepare_at(place, message) for place, message in enumerate(messages)]


def portion(sizes: Iterable[int]) -> int:
    """Return how many of those that wait travel in the next call: the first, and what fits beside it."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and (count == _ITEMS or total > _BYTES or size > _ALONE):
            return count
        if size > _ALONE:
            return 1
    return count + 1


def _prepare_at(place: int, message: Message) -> Prepared:
    try:
        return prepare(message)
    except TypeError as error:
        raise TypeError(f"messages[{place}]: {error}") from None
    except ValueError as error:
        raise ValueError(f"messages[{place}]: {error}") from None


def _kind(message: Message) -> tuple[str, str]:
    try:
        return _KINDS[type(message)]
    except KeyError:
        raise TypeError(f"must be an Email, a Text or a Push, not {type(message).__name__}") from None


def _check(message: Message, address: str) -> None:
    """Refuse what no message can be made of; all else is for the server to judge."""
    checked_integer("campaign_id", message.campaign_id)
    for name in (address, *_TEXTS):
        checked_text(name, getattr(message, name))
    if not message.request_id:
        raise ValueError("request_id: must not be empty: leave it out, and the client makes one")


def _json(name: str, given: Json | None) -> str:
    """Return JSON text. Text passes as it is: the server says what is wrong with it."""
    if given is None or isinstance(given, str):
        return checked_text(name, given or "")
    if not isinstance(given, Mapping):
        raise TypeError(f"{name}: must be a mapping or JSON text, not {type(given).__name__}")
    try:
        text = json.dumps(dict(given), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    except RecursionError:
        raise ValueError(f"{name}: is nested too deep") from None
    except ValueError as error:  # NaN, an infinity, an object within itself
        raise ValueError(f"{name}: {error}") from None
    return checked_text(name, text)
