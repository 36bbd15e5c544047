"""`python -m lab.faults.wrong_clock …`: `clarion …` on a machine whose clock is five minutes ahead.

It shifts the clock that dispatchers use: only root can set a machine's clock, which affects every process.
"""

from __future__ import annotations

import datetime as dt

from server.cli import main
from server.domain import clock

__all__ = ["AHEAD"]

AHEAD = dt.timedelta(minutes=5)


def _utc() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + AHEAD


if __name__ == "__main__":
    type(clock.SYSTEM_CLOCK).utc = staticmethod(_utc)  # type: ignore[method-assign, assignment]
    main()
