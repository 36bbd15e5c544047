"""`python -m lab.strangers.busy SHARE`: use a share of one CPU until terminated, and nothing else.

It takes the place of an attacker on the same machine: what is faster then was slowed by the attack itself,
and not by the attacker's use of the CPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

__all__ = ["be_busy"]

_STEP = 0.002
"""Seconds of CPU after which it sleeps, if it is ahead of its share."""
_NUMBERS = range(1000)


def be_busy(share: float) -> Iterator[float]:
    """Use this share of one CPU. Yield the seconds of CPU used, after each step.

    Args:
        share: 1.0 is a whole CPU.
    """
    began, used_before = time.monotonic(), time.process_time()
    while True:
        used = time.process_time() - used_before
        ahead = used / share - (time.monotonic() - began) if share else 1.0
        if ahead > 0:
            time.sleep(ahead)
        until = time.process_time() + _STEP
        while share and time.process_time() < until:
            sum(_NUMBERS)
        yield used


if __name__ == "__main__":
    steps = be_busy(float(sys.argv[1]))
    print("busy", flush=True)
    for _ in steps:
        pass
