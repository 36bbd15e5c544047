"""Describes a child process to the supervisor."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

__all__ = ["Child"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """A process to keep running. Timeouts in seconds.

    Attributes:
        name: used in messages; the child's output goes to `<name>.log`.
        command: the program, by name or path, and its arguments.
        env: the whole environment; None: that of the supervisor.
        prepare: awaited before each start.
        ready: returns when the child is ready, or raises an error. None: ready once started.
        ready_timeout: for `ready`.
        stop_signal: stops the child.
        stop_timeout: between `stop_signal` and SIGKILL.
        extra_stop_timeout: added to `stop_timeout` for a child whose interrupted work would be repeated.
        restart_signal: stops the child in a requested restart; None: the child keeps running.
        restart_timeout: between `restart_signal` and SIGKILL.
        restarts_itself: on `restart_signal`, the child restarts its own work instead of ending.
        in_use: returns when other processes use the child; a restart waits for it before the next child.
        death_signal: sent to the child if the supervisor is killed (Linux only), but not to the child's own
            children.
    """

    name: str
    command: list[str]
    env: Mapping[str, str] | None = None
    prepare: Callable[[], Awaitable[None]] | None = None
    ready: Callable[[], Awaitable[None]] | None = None
    ready_timeout: float = 30.0
    stop_signal: int = signal.SIGTERM
    stop_timeout: float = 3.0
    extra_stop_timeout: float = 0.0
    restart_signal: int | None = None
    restart_timeout: float = 10.0
    restarts_itself: bool = False
    in_use: Callable[[], Awaitable[None]] | None = None
    death_signal: int = signal.SIGKILL
