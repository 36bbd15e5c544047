"""Generates an open load with h2load: requests at a fixed rate, whether or not earlier ones were answered.

Many independent callers behave like that. A closed loop would slow down with the server.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .load import BODY, PATH
from .process import output_of
from .report import percentile

__all__ = ["Answers", "H2Load"]

MISSING = (
    "h2load is not installed; install the Debian package nghttp2-client (apt-get install nghttp2-client)"
)
CONNECTIONS, STREAMS = 100, 100
"""HTTP/2 connections, and concurrent calls on each: enough that no call waits for an earlier response."""
SETTLE_SECONDS = 1.0
"""Start of each run that is reported separately: the gateway's limit adapts within tenths of a second."""
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answers:
    """Latencies in milliseconds by HTTP status, once the limit has settled."""

    by_status: dict[str, list[float]]
    settling: dict[str, list[float]]
    """Those of the first second."""
    seconds: float

    def rate(self, status: str) -> float:
        """Return the answers with this status per second."""
        return len(self.by_status.get(status, ())) / self.seconds

    def latency(self, status: str, percent: int) -> float:
        """Return a percentile of the latencies of this status."""
        return percentile(self.by_status.get(status, []), percent)


class H2Load:
    """Sends the documented example with h2load."""

    def __init__(self, folder: Path, key: str) -> None:
        """Prepare the load.

        Args:
            folder: for the request's body and the log.
            key: the API key's secret.

        Raises:
            LabError: h2load is not installed.
        """
        if shutil.which("h2load") is None:
            raise LabError(MISSING)
        self._folder = folder
        # h2load accepts headers only on its command line, where other users can see them. This key exists
        # only for the run, on the loopback.
        self._headers = ("-H", f"authorization: Bearer {key}", "-H", "content-type: application/json")
        self._body = folder / "body.json"
        self._body.write_text(BODY)

    async def closed(self, port: int, seconds: float, connections: int) -> Answers:
        """Send on each connection as soon as its last request was answered."""
        return await self._run(port, seconds, "-D", str(round(seconds)), "-c", str(connections), "-m", "1")

    async def open(self, port: int, seconds: float, rate: float) -> Answers:
        """Send `rate` requests per second."""
        each = max(1, round(rate / CONNECTIONS))
        calls = each * CONNECTIONS * round(seconds)
        # Open one connection after the other; otherwise all would send at the same moments.
        spread = ("-r", "1", "--rate-period=1ms")
        pace = ("-c", str(CONNECTIONS), "-m", str(STREAMS), f"--rps={each}")
        return await self._run(port, seconds, "-n", str(calls), *pace, *spread)

    async def _run(self, port: int, seconds: float, *options: str) -> Answers:
        log = self._folder / "answers.log"
        log.unlink(missing_ok=True)
        command = (
            *("h2load", f"--log-file={log}", "-d", str(self._body)),
            *(*self._headers, *options, f"http://127.0.0.1:{port}{PATH}"),
        )
        await output_of("h2load", command, seconds + _GRACE_SECONDS)
        return _read(log.read_text())


def _read(log: str) -> Answers:
    """Read h2load's log: start in µs, status, duration in µs."""
    lines = [line.split("\t") for line in log.splitlines()]
    if not lines:
        raise LabError("h2load received no answer")
    starts = [int(start) for start, _, _ in lines]
    settled = min(starts) + SETTLE_SECONDS * 1e6
    by_status: dict[str, list[float]] = {}
    settling: dict[str, list[float]] = {}
    for start, status, micros in lines:
        part = by_status if int(start) >= settled else settling
        part.setdefault(status, []).append(int(micros) / 1000)
    return Answers(by_status, settling, (max(starts) - settled) / 1e6)
