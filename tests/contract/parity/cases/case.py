"""What a case is, and the words to write one down in a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.kit.stack import EXAMPLE

from .twins import USERS, Typed, twin_of, typed

__all__ = ["Case", "accepted", "invalid", "refused", "user", "with_json"]


@dataclass(frozen=True)
class Case:
    """One call, to be made by every way in. `reason` is empty if it is accepted."""

    name: str
    body: object
    campaign: object = 44
    """As gRPC sends it; the URL has it percent-encoded."""
    authorization: str | None = "Bearer {good}"
    """The header; names in braces stand for the secrets of `conftest.Keys`."""
    reason: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    twin: Typed | None = None
    """The typed call that says the same."""
    path_id: str | None = None
    """How the URL spells the campaign, if that is the point."""

    @property
    def content(self) -> bytes:
        """The body as sent."""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()

    @property
    def path(self) -> str:
        """The URL's path."""
        number = self.path_id or quote(str(self.campaign), safe="")
        return f"/api/client/campaigns/{number}/trigger"


def refused(name: str, reason: str, body: object = EXAMPLE, *fields: tuple[str, str], **how: Any) -> Case:
    """Return a case that is refused for this reason, with these violations and no others."""
    twin = twin_of(body, how.get("campaign", 44))
    return Case(name, body, reason=reason, fields=fields, twin=twin, **how)


def invalid(name: str, body: object, *fields: tuple[str, str], **how: Any) -> Case:
    """Return a case that breaks the contract."""
    return refused(name, "INVALID_REQUEST", body, *fields, **how)


def accepted(name: str, body: object = EXAMPLE, **how: Any) -> Case:
    """Return a case that is accepted."""
    return Case(name, body, twin=twin_of(body, how.get("campaign", 44)), **how)


def user(campaign: int = 44, /, **changes: object) -> dict[str, object]:
    """Return a good body with members of `user` changed; `...` takes one away."""
    members = {**USERS[campaign], **changes}
    return {"user": {name: one for name, one in members.items() if one is not ...}, "event": {"a": "b"}}


def with_json(name: str, text: str, *fields: tuple[str, str], member: str = "event") -> Case:
    """Return a case whose `event` or `user.data` is this JSON text, byte for byte."""
    whole = {**USERS[44], "data": {}} if member == "data" else USERS[44]
    body = json.dumps({"user": whole, "event": {}})
    at = body.rindex("{}" if member == "event" else "{}}, ")
    body = f"{body[:at]}{text}{body[at + 2 :]}"
    reason = "INVALID_REQUEST" if fields else ""
    return Case(name, body, reason=reason, fields=fields, twin=typed(**{"event": "{}", member: text}))
