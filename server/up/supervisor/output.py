"""Keeps a child's output in a bounded log file, and the last lines in memory for reports."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path

__all__ = ["LineReader", "Output"]

LONGEST_LINE = 8192
"""Bytes; longer lines are split, so that output without line breaks cannot exhaust memory."""

_LONGEST_SHOWN = 300
_LINES_SHOWN = 10


class Output:
    """The log of one child across restarts: three files of at most 10 MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = _LogFile(path, maxBytes=10 * 1024 * 1024, backupCount=2, encoding="utf-8", delay=True)
        self._last: deque[str] = deque(maxlen=_LINES_SHOWN)

    def write(self, line: str) -> None:
        """Write one line."""
        self._log.handle(logging.makeLogRecord({"msg": line}))
        if line.strip():
            self._last.append(line)

    def last_lines(self) -> list[str]:
        """Return the last lines for a terminal: shortened, without control characters."""
        return [_printable(line) for line in self._last]

    def clear_last_lines(self) -> None:
        """Forget the last lines, because the child is started again."""
        self._last.clear()

    def close(self) -> None:
        """Close the file."""
        self._log.close()


class LineReader(asyncio.Protocol):
    """Copies a pipe to an `Output`, line by line, until every process has closed the pipe."""

    def __init__(self, output: Output) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._output = output
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Write the complete lines among the new data."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._write(line)
        if len(self._rest) >= LONGEST_LINE:
            whole = len(self._rest) // LONGEST_LINE * LONGEST_LINE
            self._write(self._rest[:whole])
            self._rest = self._rest[whole:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Write the last line if it has no line break."""
        if self._rest:
            self._write(self._rest)
        self._rest = b""
        if not self.ended.done():
            self.ended.set_result(None)

    def _write(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        for start in range(0, max(len(line), 1), LONGEST_LINE):
            self._output.write(line[start : start + LONGEST_LINE].decode("utf-8", "backslashreplace"))


class _LogFile(RotatingFileHandler):
    """A log file that only its owner can read. Errors, such as a full disk, do not stop the supervisor."""

    def _open(self) -> io.TextIOWrapper:
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Drop the line; a report may still show it."""


def _printable(line: str) -> str:
    shown = "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in line[:_LONGEST_SHOWN])
    return shown + (" …" if len(line) > _LONGEST_SHOWN else "")
