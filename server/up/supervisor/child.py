"""What the supervisor needs to know about one child."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

__all__ = ["Child"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """One process to keep alive.

    Attributes:
        name: how the child is called in messages; its output goes to `<name>.log`.
        command: the program, by name or path, and its arguments.
        env: the whole environment; None hands on the supervisor's.
        prepare: awaited before each start, also before a restart.
        ready: returns when the child answers; raises what went wrong. None: ready once started.
        ready_timeout: seconds for `ready`.
        stop_signal: the signal that asks the child to end.
        stop_timeout: seconds between `stop_signal` and SIGKILL.
        patience: seconds more, if the child has work to end that would else be done twice.
        restart_signal: what asks the child to end when a restart was asked for; None: it is left alone then.
        restart_timeout: seconds between `restart_signal` and SIGKILL.
        renews_itself: `restart_signal` does not end the child; it does what is needed by itself.
        used: returns when others make use of the child; awaited in a restart before the next child's.
        death_signal: what the child gets when the supervisor itself is killed (Linux only). It reaches the
            child, not the child's own children.
    """

    name: str
    command: list[str]
    env: Mapping[str, str] | None = None
    prepare: Callable[[], Awaitable[None]] | None = None
    ready: Callable[[], Awaitable[None]] | None = None
    ready_timeout: float = 30.0
    stop_signal: int = signal.SIGTERM
    stop_timeout: float = 3.0
    patience: float = 0.0
    restart_signal: int | None = None
    restart_timeout: float = 10.0
    renews_itself: bool = False
    used: Callable[[], Awaitable[None]] | None = None
    death_signal: int = signal.SIGKILL
