"""The sandbox provider: writes messages to files, for development and for testing campaigns."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec

from ...channels.base import Message
from ...domain.campaign import Channel
from ...domain.delivery_errors import ProviderError, Verdict
from .base import SendingPolicy

__all__ = ["SandboxProvider", "SandboxSettings"]

_CLEANING_INTERVAL = 3_600.0  # seconds
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class SandboxSettings(SendingPolicy, frozen=True, kw_only=True):
    """Settings of a sandbox provider."""

    outbox: Annotated[str, msgspec.Meta(min_length=1)] = "outbox"
    """The folder for the messages. A relative path is relative to the data folder."""
    concurrency: Count = 64
    keep: Annotated[float, msgspec.Meta(ge=60, le=315_360_000)] = 2_592_000.0
    """How long files are kept, in seconds. They contain addresses, like the content of triggers."""


class SandboxProvider:
    """Writes each message to a file named after its trigger, so a duplicate replaces the first file.

    Files are written in the event loop, because passing a few kilobytes to a thread would cost more.

    Args:
        name: The provider's name.
        settings: Its settings.
        data_dir: The data folder.
        clock: Returns monotonic seconds.
    """

    channels = frozenset(Channel)
    timeout = 5.0

    def __init__(
        self,
        name: str,
        settings: SandboxSettings,
        data_dir: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.policy = settings
        self.concurrency = settings.concurrency
        self.outbox = data_dir / settings.outbox
        self._keep = settings.keep
        self._clock = clock
        self._cleaning_at = clock()
        self._cleaning: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> str:
        """Write the message to `CHANNEL/TRIGGER_ID.SUFFIX` in the outbox, such as `text/….json`.

        Of a message of which no copy may be kept, the file has neither the recipient nor the content.
        """
        self._clean_if_due()
        suffix, content = message.to_file()
        if message.retain:
            content = _without_content(message, suffix)
        path = self.outbox / message.channel / f"{message.trigger_id}{suffix}"
        try:
            try:
                _write(path, content)
            except FileNotFoundError:
                _make_folder(path.parent)
                _write(path, content)
        except OSError as error:
            problem = f"cannot write to the outbox {path.parent}: {error.strerror}"
            raise ProviderError(Verdict.PROVIDER_DOWN, problem) from None
        return path.name

    async def aclose(self) -> None:
        """Wait until old files are deleted."""
        if self._cleaning:
            await self._cleaning

    def _clean_if_due(self) -> None:
        """Delete old files once an hour, while messages are sent."""
        if self._clock() >= self._cleaning_at:
            self._cleaning_at = self._clock() + _CLEANING_INTERVAL
            self._cleaning = asyncio.create_task(
                asyncio.to_thread(_delete_old, self.outbox, time.time() - self._keep)
            )


def _without_content(message: Message, suffix: str) -> bytes:
    """Return the file of a message of which no copy may be kept, in the format of the suffix."""
    if suffix == ".eml":
        return f"X-Trigger-ID: {message.trigger_id}\nX-Retain: {message.retain}\n\n".encode()
    return msgspec.json.encode({"trigger_id": message.trigger_id, "retain": message.retain}) + b"\n"


def _delete_old(outbox: Path, before: float) -> None:
    """Delete the files that were last written before a time, in seconds since the epoch."""
    for channel in Channel:
        with suppress(OSError), os.scandir(outbox / channel) as entries:  # the folder may not exist yet
            for entry in entries:
                with suppress(OSError):  # another dispatcher deletes files, too
                    if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < before:
                        Path(entry.path).unlink()


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents with access for the owner only, unlike `parents=True`."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
