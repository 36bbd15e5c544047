"""A person, as an OpenID provider describes them."""

from __future__ import annotations

import uuid

import msgspec

__all__ = ["Identity", "printable"]

_MAX_NAME = 200
_MAX_CHOSEN = 60
"""Characters of a name, so that the subject behind it is not cut off."""


class Identity(msgspec.Struct, frozen=True):
    """A person, as the provider describes them. It is stored with the session.

    Attributes:
        issuer: The provider.
        subject: What the provider calls the person, for ever.
        name: What the person is called there. Some providers let people choose it, so it grants nothing.
        email: The email address, if the provider has verified it; empty otherwise.
        groups: The groups.
    """

    issuer: str
    subject: str
    name: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()

    @property
    def display_name(self) -> str:
        """Return what identifies the person to other people: not a name alone, which is not unique."""
        unique = f"{self.name[:_MAX_CHOSEN]} ({self.subject})" if self.name else self.subject
        return printable(self.email or unique, _MAX_NAME)

    @property
    def person_id(self) -> uuid.UUID:
        """Return what identifies the person in all of their sessions."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{self.issuer} {self.subject}")


def printable(text: str, most: int) -> str:
    """Return a text of the provider without control characters, and not longer than `most`."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:most])
