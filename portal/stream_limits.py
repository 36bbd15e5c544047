"""Limits the concurrent streams (live tails and downloads) of one session and of one person.

The gateway limits those of all people together (gateway/config/portal.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .errors import TooManyStreams

__all__ = ["Owner", "StreamLimits"]

_MOST = {"session": 10, "person": 20}


class Owner(NamedTuple):
    """The session and the person that a stream counts for.

    Attributes:
        session: The ID of the session.
        person: The ID of the person or admin key, who may have several sessions; names are not unique.
    """

    session: str
    person: str


class StreamLimits:
    """Counts the streams of each session and of each person."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, str]] = Counter()

    def require(self, owner: Owner) -> None:
        """Check that the owner may have another stream.

        Raises:
            TooManyStreams: The session or the person has as many as allowed.
        """
        if any(self._open[kind, name] >= _MOST[kind] for kind, name in owner._asdict().items()):
            raise TooManyStreams

    def take(self, owner: Owner) -> None:
        """Count a stream until `release`.

        Raises:
            TooManyStreams: See `require`.
        """
        self.require(owner)
        self._open.update(owner._asdict().items())

    def release(self, owner: Owner) -> None:
        """Stop counting a stream."""
        self._open.subtract(owner._asdict().items())
        self._open = +self._open  # without those that have none left

    @contextmanager
    def taken(self, owner: Owner) -> Iterator[None]:
        """Count a stream during the block.

        Raises:
            TooManyStreams: See `require`.
        """
        self.take(owner)
        try:
            yield
        finally:
            self.release(owner)

    def __len__(self) -> int:
        """Return the number of sessions and persons with streams."""
        return len(self._open)
