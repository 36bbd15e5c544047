"""Logs rejected keys, revoked keys and cancelled triggers, with the key's ID and the caller's address."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import structlog

from ..domain.key import ApiKey
from ..domain.wording import printable
from .call import CALLER, Call

__all__ = ["MAX_LINES", "WINDOW_SECONDS", "RejectedKeys", "log_change"]

WINDOW_SECONDS = 60.0
MAX_LINES = 100
"""Maximum lines about rejected keys in a window, so that callers without a key cannot fill a disk."""
_MAX_ADDRESS = 64
_MAX_CERTIFICATE = 500
_UNKNOWN = "unknown"

log = structlog.get_logger("clarion.access")


class RejectedKeys:
    """Logs calls without a working key: at most one line in each window for each key and address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._logged: set[tuple[uuid.UUID | None, str]] = set()
        self._left_out = 0

    def log(self, key: ApiKey | None, caller: str | None, certificate: str | None = None) -> None:
        """Log a call with a key that is unknown (None), revoked or expired.

        Args:
            key: The key.
            caller: The header `CALLER`, if the call has it.
            certificate: What identifies the caller's certificate, if it was used instead of a secret.
        """
        self._begin_window()
        entry = (key.id if key else None, _address(caller))
        if entry in self._logged or len(self._logged) >= MAX_LINES:
            self._left_out += 1
            return
        self._logged.add(entry)
        state = "unknown" if key is None else "revoked" if key.revoked_at else "expired"
        more = {"certificate": printable(certificate[:_MAX_CERTIFICATE])} if certificate else {}
        log.warning("key rejected", key_id=str(key.id) if key else None, state=state, caller=entry[1], **more)

    def _begin_window(self) -> None:
        """Begin a new window if the last one is over, and log how many calls it left out."""
        now = self._clock()
        if now - self._began < WINDOW_SECONDS:
            return
        if self._left_out:
            log.warning("more keys rejected", calls=self._left_out, seconds=round(now - self._began))
        self._began, self._left_out = now, 0
        self._logged.clear()


def log_change(event: str, call: Call, **what: str) -> None:
    """Log a change that a caller made, such as `trigger cancelled`, with the ID of the caller's key."""
    log.info(event, by_key_id=str(call.key.id), caller=_address(call.headers.get(CALLER)), **what)


def _address(caller: str | None) -> str:
    return printable(caller[:_MAX_ADDRESS]) if caller else _UNKNOWN
