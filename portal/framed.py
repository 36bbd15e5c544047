"""HTML of messages for frames.

A frame whose document is part of the page (`srcdoc`) or of its address (`data:`) gets the policy of the page,
which forbids inline styles, so that most messages would not look as in a mail program. Frames therefore load
their document from its own address, with its own policy (`SANDBOX` in security.py). It was rendered for the
page and is not stored, so it is kept here until the frame has loaded it.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["FramedMessages"]

_MAX_CHARACTERS = 16 * 1024 * 1024
"""The size of all messages together; one has at most 1 MiB (server/templates/limits.py)."""
_SECONDS = 600.0


class _Kept(NamedTuple):
    session: str
    html: str
    until: float


class FramedMessages:
    """Keeps the newest messages for a short time, each for the session that it was rendered for.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._characters = 0

    def put(self, session: str, html: str) -> str:
        """Keep a message, and return its ID."""
        message_id = secrets.token_urlsafe()
        self._kept[message_id] = _Kept(session, html, self._clock() + _SECONDS)
        self._characters += len(html)
        self._drop()
        return message_id

    def get(self, session: str, message_id: str) -> str | None:
        """Return a message of this session; None if it is not kept any more."""
        self._drop()
        kept = self._kept.get(message_id)
        return kept.html if kept and kept.session == session else None

    def _drop(self) -> None:
        """Forget the oldest messages: those that are too old, and while there are too many."""
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if oldest.until > self._clock() and self._characters <= _MAX_CHARACTERS:
                return
            self._characters -= len(oldest.html)
            self._kept.popitem(last=False)
