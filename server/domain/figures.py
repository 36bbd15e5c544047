"""Figures of the queue and the database, which a dispatcher reports as metrics."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .campaign import Channel

__all__ = ["Crowd", "DatabaseFigures", "QueueFigures", "QueueState", "TableRows"]


class QueueState(enum.StrEnum):
    """What a queued trigger waits for."""

    DUE = "due"
    LATER = "later"
    """A schedule, a send window or a retry."""
    SENDING = "sending"


@dataclass(frozen=True, slots=True)
class Crowd:
    """A project whose due triggers delay those of others.

    Attributes:
        channel: The channel.
        project: The name of the project.
        share: Its share of the triggers that are due first, from 0 to 1.
        behind: The names of projects whose triggers wait behind them.
    """

    channel: Channel
    project: str
    share: float
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """The queue at one moment, without tests.

    Attributes:
        oldest_due: Seconds since the oldest due trigger became due, by channel.
        queued: How many triggers are queued, by channel and state; an upper bound limits each lane's part.
        dead_letters: The number of dead letters.
        webhooks_waiting: The number of queued webhook messages.
        crowds: The projects that delay others.
        held: Whether all sending is held.
    """

    oldest_due: Mapping[Channel, float]
    queued: Mapping[tuple[Channel, QueueState], int]
    dead_letters: int
    webhooks_waiting: int
    crowds: Sequence[Crowd] = ()
    held: bool = False


@dataclass(frozen=True, slots=True)
class TableRows:
    """PostgreSQL's estimate of a table's rows. Dead ones are versions that vacuum has yet to remove."""

    live: int
    dead: int


@dataclass(frozen=True, slots=True)
class DatabaseFigures:
    """The database at one moment.

    Attributes:
        connections: Connections to the cluster, including those of other programs.
        max_connections: How many the cluster allows.
        size: Bytes on disk.
        wal: Position in the write-ahead log, in bytes.
        oldest_transaction: Seconds since the oldest open transaction of the database began.
        rows: The rows of the queues, by table.
    """

    connections: int
    max_connections: int
    size: int
    wal: float
    oldest_transaction: float
    rows: Mapping[str, TableRows] = field(default_factory=dict)
